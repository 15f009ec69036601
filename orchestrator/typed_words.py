"""Paths in commands that messages advise, written so that the command works when it is copied."""

from __future__ import annotations

import shlex
from pathlib import Path


def path_word(path: Path | str) -> str:
    """Return a path as a command's argument: with `./` where it begins with `-`, as it would be
    read as an option.
    """
    word = str(path)
    return f"./{word}" if word.startswith("-") else word


def quoted_path(path: Path | str) -> str:
    """Return `path_word(path)`, quoted for a shell."""
    return shlex.quote(path_word(path))
