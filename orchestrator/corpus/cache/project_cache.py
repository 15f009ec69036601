"""The cache folder of a project, which all of its studies share: what it contains, and where. No
torch.

    clips/        decoded sound, by content, see `clip_cache`
    files.sqlite  lengths and hashes of audio files, word counts of sets, see `known_files`
    labels/       transcripts of the replay set by untuned models
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LABELS = re.compile(r"[0-9a-f]{32}\.json")
"""The pattern of the name of a file in labels/."""


@dataclass(frozen=True)
class ProjectCache:
    """The folder of one cache; everything in it can be made again."""

    path: Path

    @property
    def clips(self) -> Path:
        """The folder of the segments of decoded sound."""
        return self.path / "clips"

    @property
    def files(self) -> Path:
        """The database of what is known of files that were read before."""
        return self.path / "files.sqlite"

    @property
    def labels(self) -> Path:
        """The folder of the transcripts that untuned models made."""
        return self.path / "labels"
