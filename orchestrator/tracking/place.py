"""What a tracker is told of the study whose runs it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Which study's runs are sent, and where a tracker may keep files of its own."""

    study: str
    id: str
    """Identifies this study, whatever its name."""
    project: Path
    """The project's folder."""
    own: Path
    """A folder in the study for the tracker's own files."""
