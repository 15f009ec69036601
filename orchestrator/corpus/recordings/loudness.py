"""How loud sound is, and what brings it to one level: the arithmetic of `evaluation.rms`."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.corpus.samples import Samples

SILENCE_RMS = 1e-4
"""-80 dB: below it a clip holds no speech, and scaling would only amplify noise."""


def level(samples: Samples) -> float:
    """Root mean square, summed in float64."""
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def gain(own: float, rms: float | None) -> np.float32 | None:
    """What brings sound of the level `own` to `rms`; None where it stays as it is: silence is never
    amplified.
    """
    return None if rms is None or own < SILENCE_RMS else np.float32(rms / own)


def scale_to_rms(samples: Samples, rms: float) -> tuple[Samples, bool]:
    """`samples * rms / sqrt(mean(samples**2))`, cut at -1 and 1, and whether that happened. Silence
    is left alone.
    """
    factor = gain(level(samples), rms)
    if factor is None:
        return samples, False
    scaled = samples * factor
    clipped = bool(np.abs(scaled).max() > 1)
    return (np.clip(scaled, -1, 1) if clipped else scaled), clipped
