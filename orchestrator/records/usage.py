"""What a study takes on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What a study takes, in bytes; or what all of them share, under its folder's name."""

    study: str
    cache: int
    checkpoint: int
    rest: int
    unneeded: tuple[Path, ...]
    free: int
    """What `unneeded` takes."""
    kept: str
    """Why nothing of it may be removed; empty where something may, or nothing is left to remove."""
