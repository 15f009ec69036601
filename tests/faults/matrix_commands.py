"""The commands that are run on a damaged study, what they say, and what they do to its files."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from wsgiref.simple_server import WSGIServer

from orchestrator.commands import status
from orchestrator.errors import Interrupted
from orchestrator.host import loopback
from tests.faults.damage import MINE
from tests.faults.hearing import heard

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("SPEC", "--quiet"),
    "meanwhile": ("SPEC", "--quiet"),
    "check": ("repair", "SPEC", "--check"),
    "repair": ("repair", "SPEC"),
    "status": ("status", "SPEC"),
    "all": ("status", "--studies", "STUDIES"),
    "report": ("report", "SPEC"),
    "json": ("report", "SPEC", "--format", "json"),
    "html": ("report", "SPEC", "--format", "html"),
    "trial": ("trial", "SPEC", "0", "--quiet"),
    "export": ("export", "SPEC", "0", "--to", "OUT"),
    "final": ("export", "SPEC", "0", "--final", "--to", "OUT"),
    "compare": ("compare", "SPEC:0", "SPEC:1"),
    "table": ("table", "SPEC"),
    "utterances": ("table", "SPEC", "--of", "utterances", "--every-measurement"),
    "listen": ("listen", "SPEC", "--port", "0"),
    "dashboard": ("dashboard", "SPEC", "--port", "0"),
    "validate": ("validate", "SPEC"),
    "plan": ("plan", "SPEC"),
    "diagnose": ("diagnose", "SPEC"),
    "watch": ("watch", "SPEC"),
    "verify": ("verify", "SPEC", "0"),
    "clean": ("clean", "SPEC", "--yes"),
    "stop": ("stop", "SPEC", "0"),
}
"""Name -> command line; `words_of` puts paths in the place of SPEC, STUDIES and OUT."""
RUNS = ("run", "meanwhile")
"""The commands that run the sweep. In `run` the study is damaged before it goes on, in `meanwhile`
while it does.
"""
WRITING = (*RUNS, "repair", "verify", "clean", "stop")
"""Commands that write to the study."""
GETS = {
    "listen": ("", "sets/domain", "sets/domain/heard/0", "sets/confirm_domain"),
    "dashboard": ("", "api/studies", "api/studies/0"),
}
"""Command that serves pages -> the paths that are asked for."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, and what it printed, as `normal` returns it."""

    code: int
    said: str


def words_of(project: Path, name: str) -> tuple[str, ...]:
    """Return the words of one of `COMMANDS` for the study of a project."""
    places = {
        "SPEC": project / "sweeps" / "demo.yaml",
        "STUDIES": project / "studies",
        "OUT": project / "out",
    }
    return tuple(
        re.sub("SPEC|STUDIES|OUT", lambda found: str(places[found[0]]), word)
        for word in COMMANDS[name]
    )


_VARYING = (
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?", "DAY"),
    (r"(?<![\w.])\d+(\.\d+)? ?(ms|s|min|h|kB|MB|B|bytes)\b", "SIZE"),
    (r'("?seconds"?: ?|rtf: ?)[\d.]+', r"\1SECONDS"),
    (r"\.tmp-\d+(-[0-9a-f]{8})?", ".tmp-PID"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"- DAY: run with .*\n(.*uncommitted changes.*\n)?", ""),
)
"""Patterns of what differs from run to run, and what replaces them."""


def normal(said: str, project: Path) -> str:
    """Return a text in which what differs from run to run is replaced by fixed words."""
    said = said.replace(str(project), "PROJECT")
    for pattern, word in _VARYING:
        said = re.sub(pattern, word, said)
    return said


def without_times(said: str) -> str:
    """Return a text without what it says of the time spent. Without clock.json, which the next run
    makes again, commands show a dash in its place, and a plan says that it is not known.
    """
    said = re.sub(r"(?m)^(- )? *(about SIZE|time: not known)( .*|;.*)$", "", said)
    lines = said.replace("SIZE", "-").splitlines()
    return "\n".join(re.sub(r"[-─\s]+", " ", line) for line in lines)


def names_file(said: str, name: str) -> bool:
    """Whether a message names a file of the study, or a file or folder above or below it."""
    parts = name.split("/")
    return (
        name in said
        or parts[-1] in said
        or (parts[0] == "checkpoint" and "checkpoint" in said)
        or (parts[0].startswith("study.db") and "study.db" in said)
        or (len(parts) > 2 and "/".join(parts[:2]) in said)
    )


def snapshot(project: Path) -> dict[str, str]:
    """Return all that lies below a folder, by name: the digest of a file's contents, or the kind of
    what is no file.
    """
    return {
        path.relative_to(project).as_posix(): _what(path) for path in sorted(project.rglob("*"))
    }


def _what(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    if not path.is_file():
        return "pipe"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def touched(
    command: str, name: str, before: Mapping[str, str], after: Mapping[str, str]
) -> str | None:
    """Return what a command did to files that it must leave alone, after a damage to `name`; None
    where it did nothing. `before` and `after` are snapshots.
    """
    left = [file for file in after if ".tmp-" in file and file not in before]
    if left:
        return f"left over: {left}"
    known = Counter(after.values())
    gone = [
        file
        for file, what in before.items()
        if file not in after and what != "folder" and not known[what]
    ]
    gone = [file for file in gone if not _OURS.search(file)]
    if gone:
        return f"gone: {gone}"
    if any(file.endswith(MINE) and file not in after for file in before):
        return "the file of somebody else is gone"
    # a database that was open when it was moved stays the one that SQLite writes to
    own = command == "meanwhile" and name.startswith("study.db")
    if before.get("aside") not in (None, "folder") and after.get("aside") != before["aside"]:
        return None if own else "what a link led to is another"
    if command in WRITING:
        return None
    changed = [file for file in {*before, *after} if before.get(file) != after.get(file)]
    changed = [file for file in changed if not _MADE.search(file)]
    return f"a command that reads changed {changed}" if changed else None


_MADE = re.compile(r"^out(/|$)|study\.db-(shm|wal)$|^studies/\.cache(/|$)")
"""Files that a command that only reads a study may write."""
_OURS = re.compile(r"/checkpoint/\d+|/cache/|study\.db-(shm|wal)$|/requests/|/final/|said-")
"""Files that a run, a repair or a cleaning may remove."""


def added_lines(usual: str, said: str) -> list[str]:
    """Return the lines that `said` has and `usual` has not, and those that it lacks, as a diff
    marks them.
    """
    lines = difflib.ndiff(usual.splitlines(), said.splitlines())
    return [line for line in lines if line[:2] in ("+ ", "- ") and line[2:].strip()]


@contextmanager
def served(command: str) -> Iterator[None]:
    """While the context lasts, let commands end by themselves that would not: one that serves pages
    answers those of `GETS`, printing their status and the text of errors, `watch` looks once, and
    `verify` hears a fake form.
    """

    def visit(server: WSGIServer, started: Callable[[str], None]) -> None:
        with server:
            for path in GETS[command]:
                print(_answer(server, path))

    with (
        mock.patch.object(loopback, "serve_until_interrupted", visit),
        mock.patch.object(status, "time", SimpleNamespace(sleep=_look_once)),
        heard(),
    ):
        yield


def _look_once(seconds: float) -> None:
    raise Interrupted("looked once")


def _answer(server: WSGIServer, path: str) -> str:
    statuses: list[str] = []

    def respond(status: str, *more: object) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    application = server.get_app()
    assert application is not None
    environ = {
        "HTTP_HOST": f"127.0.0.1:{server.server_port}",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/{path}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.server_port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    text = b"".join(application(environ, respond)).decode(errors="replace")
    return f"GET /{path}: {statuses[0]} {'' if statuses[0].startswith('200') else text}"
