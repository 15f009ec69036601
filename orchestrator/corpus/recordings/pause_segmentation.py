"""Cutting a long recording, where it is quietest, into pieces that a model takes. No torch."""

from __future__ import annotations

import numpy as np

from orchestrator.corpus.samples import SAMPLE_RATE, Samples

WINDOW = SAMPLE_RATE // 10
"""The number of samples over which energy is summed: shorter than a pause between words, longer
than the closure of a stop consonant.
"""
_STEP = WINDOW // 10
"""The distance in samples between the windows that are compared."""


def split_at_pauses(samples: Samples, longest: int) -> list[Samples]:
    """Cut `samples` of shape (n,), in order, into pieces of at most `longest`: each but the last
    has at least half of that, and the last at least a quarter.
    """
    found = []
    while len(samples) > longest:
        # the upper bound leaves at least a quarter for the piece that follows
        end = _quietest_place(samples, longest // 2, min(longest, len(samples) - longest // 4))
        found.append(samples[:end])
        samples = samples[end:]
    return [*found, samples]


def _quietest_place(samples: Samples, low: int, high: int) -> int:
    """Return the middle of the window of least energy between the samples `low` and `high`."""
    # cumulative, so that the energy of a window is the difference of two of its values
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples[low:high], dtype=np.float64))))
    window = min(WINDOW, high - low)
    starts = np.arange(0, len(energy) - window, _STEP)
    return low + int(starts[np.argmin(energy[starts + window] - energy[starts])]) + window // 2
