"""Lending cores: packs that were forked from one process and compute may use the cores of those
that wait for their turn.
"""

from __future__ import annotations

import mmap

from orchestrator.sweepfile.execution import MOST_PACKS


class ComputingPacks:
    """Which packs of this machine compute at the moment, in memory that forked processes share."""

    def __init__(self, cores: int) -> None:
        """`cores` is how many all packs use together."""
        self._cores = cores
        self._marks = mmap.mmap(-1, MOST_PACKS)  # one byte a pack: 1 where it computes

    def mark(self, index: int, computes: bool) -> None:
        """Note whether the pack computes."""
        self._marks[index] = computes

    def cores_of_each(self) -> int:
        """Return how many cores each of the packs that compute may use now."""
        return max(1, self._cores // max(1, sum(self._marks[:])))
