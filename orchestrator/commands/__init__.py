"""The commands of the command line, a module for each, imported only when the command is typed."""

from __future__ import annotations

import shlex

COMMAND_FILES = {
    name: "status" if name == "watch" else name
    for name in (
        *("run", "validate", "plan", "diagnose", "status", "watch", "report", "trial"),
        *("export", "verify", "repair", "transcribe", "dashboard", "init"),
        *("compare", "table", "stop", "clean", "listen", "manifest"),
    )
}
"""The module that defines each command."""
COMMANDS = tuple(COMMAND_FILES)


def running_command(spec: str, *words: str) -> str:
    """The command that runs or continues a sweep, quoted for a shell: `orchestrate SPEC`, and with
    `run` where the study is called as a command is.
    """
    return shlex.join(["orchestrate", *(["run"] if spec in COMMANDS else []), spec, *words])
