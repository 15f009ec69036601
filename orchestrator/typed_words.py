"""Words of messages: commands that they advise, and the paths in them, written so that they work
when they are copied; and addresses without their passwords.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

_CREDENTIALS = re.compile(r"(://?|//)\S*@")
"""User and password in an address, whose password may hold @ and / as they are. An address that was
taken for a path has one slash.
"""


def without_credentials(text: str) -> str:
    """Return text without the user and the password that an address in it may hold."""
    return _CREDENTIALS.sub(r"\1", text)


def path_word(path: Path | str) -> str:
    """Return a path as a command's argument: with `./` where it begins with `-`, as it would be
    read as an option.
    """
    word = str(path)
    return f"./{word}" if word.startswith("-") else word


def quoted_path(path: Path | str) -> str:
    """Return `path_word(path)`, quoted for a shell."""
    return shlex.quote(path_word(path))


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, with the Python that runs now.
    There this project is installed, so that pip adds the extra's packages alone; the pip of another
    environment would fetch another project of the same name from the package index.
    """
    return f"{shlex.quote(sys.executable)} -m pip install 'orchestrator[{extra}]'"
