"""What a study takes on the disk."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What a study takes on the disk, in bytes; or what all of them share, under a name that no
    study has.
    """

    study: str
    cache: int
    checkpoint: int
    rest: int
    """Bytes of everything in the study but cache and checkpoint."""
    unneeded: tuple[Path, ...]
    """What can be removed."""
    free: int
    """Bytes of `unneeded`, which removing it would free."""
    kept: str
    """Why nothing of it may be removed; empty where something may, or nothing is left to remove."""


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of everything below a folder, without following links; 0 for
    what does not exist or may not be looked at.
    """
    if os.path.islink(path) or not os.path.isdir(path):
        return _size_of_file(path)
    return sum(
        _size_of_file(Path(folder, name)) for folder, _, names in os.walk(path) for name in names
    )


def _size_of_file(path: Path) -> int:
    """Return the bytes of a file; 0 for a link, and for one that is gone, as those of a running
    sweep may be at any moment.
    """
    try:
        state = path.lstat()
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(state.st_mode) else state.st_size
