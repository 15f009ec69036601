"""A long recording in pieces that a model takes, cut where it is quietest. No torch."""

from __future__ import annotations

import numpy as np

from orchestrator.corpus.samples import SAMPLE_RATE, Samples

WINDOW = SAMPLE_RATE // 10
"""Samples over which loudness is summed: shorter than a pause between words, longer than the
closure of a stop.
"""
_STEP = WINDOW // 10


def split_at_pauses(samples: Samples, longest: int) -> list[Samples]:
    """All of `samples`, in order, in pieces of at most `longest`: each but the last at least half
    of it, the last at least a quarter."""
    found = []
    while len(samples) > longest:
        end = _quietest_place(samples, longest // 2, min(longest, len(samples) - longest // 4))
        found.append(samples[:end])
        samples = samples[end:]
    return [*found, samples]


def _quietest_place(samples: Samples, low: int, high: int) -> int:
    """The middle of the window of least energy that lies between two places."""
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples[low:high], dtype=np.float64))))
    window = min(WINDOW, high - low)
    starts = np.arange(0, len(energy) - window, _STEP)
    return low + int(starts[np.argmin(energy[starts + window] - energy[starts])]) + window // 2
