"""What a study takes on the disk."""

from __future__ import annotations

import os
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
    if os.path.islink(path) or not os.path.exists(path):
        return 0
    if not path.is_dir():
        return path.stat().st_size
    sizes = 0
    for folder, _, names in os.walk(path):
        files = [Path(folder, name) for name in names]
        sizes += sum(
            file.lstat().st_size
            for file in files
            if os.path.exists(file) and not os.path.islink(file)
        )
    return sizes
