"""Sound as numbers: what an array of samples is, and which rates and peaks it can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""A name alone: numpy is imported where sound is read, for the commands that read none."""

SAMPLE_RATE = 16_000
"""Hz; of every clip once it is decoded."""

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
"""Hz; what recorders and codecs have lies within."""

FLOAT_PEAK = 2.0
"""Resampling and lossy codecs overshoot full scale, by less than this; float samples beyond it are
on another scale (16-bit integers, or a mistaken gain).
"""
