"""The cache of a project, for all of its studies: where what is in it. No torch.

clips/        decoded sound, by content, see `clip_cache`
files.sqlite  lengths and hashes of audio files, words of sets, see `known_files`
labels/       what untuned models hear in replay
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LABELS = re.compile(r"[0-9a-f]{32}\.json")
"""The name of a file of labels."""


@dataclass(frozen=True)
class ProjectCache:
    """The folder of one cache; everything in it can be made again."""

    path: Path

    @property
    def clips(self) -> Path:
        """Segments of decoded sound."""
        return self.path / "clips"

    @property
    def files(self) -> Path:
        """The record of files that were read."""
        return self.path / "files.sqlite"

    @property
    def labels(self) -> Path:
        """Labels by untuned models."""
        return self.path / "labels"
