"""Measuring how loud sound is, and scaling it to one level: the arithmetic of `evaluation.rms`."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.corpus.samples import SILENCE_RMS, Samples


def level(samples: Samples) -> float:
    """Return the root mean square of the samples, summed in float64; 0 where there are none."""
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def gain(own: float, rms: float | None) -> np.float32 | None:
    """Return the factor that brings sound of the root mean square `own` to `rms`; None where it
    stays as it is, because silence is never amplified.
    """
    return None if rms is None or own < SILENCE_RMS else np.float32(rms / own)


def scale_to_rms(samples: Samples, rms: float) -> tuple[Samples, bool]:
    """Return `samples * rms / sqrt(mean(samples**2))`, cut at -1 and 1, and whether anything was
    cut. Silence is left as it is.
    """
    factor = gain(level(samples), rms)
    if factor is None:
        return samples, False
    scaled = samples * factor
    clipped = bool(np.abs(scaled).max() > 1)
    return (np.clip(scaled, -1, 1) if clipped else scaled), clipped
