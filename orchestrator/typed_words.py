"""Words of a command that a message advises, so that it does what is meant when it is copied."""

from __future__ import annotations

import shlex
from pathlib import Path


def path_word(path: Path | str) -> str:
    """A path as a command takes it: one that begins with `-` would be read as an option."""
    word = str(path)
    return f"./{word}" if word.startswith("-") else word


def quoted_path(path: Path | str) -> str:
    """The same as it is typed into a shell."""
    return shlex.quote(path_word(path))
