"""The type of decoded audio, its sample rate, the range of rates, speeds and peak values that are
accepted, and what counts as silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Samples: TypeAlias = "npt.NDArray[np.float32]"
"""An array of float32 samples. Only a forward reference: numpy is imported where sound is read, so
that commands that read none do not wait for it.
"""

SAMPLE_RATE = 16_000
"""Hz. The rate of every clip once it is decoded."""

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
"""Hz. The range of sample rates that recorders and codecs use; a rate outside of it is an error in
the header.
"""

SLOWEST, FASTEST = 0.5, 2.0
"""The factors of speed that `manifest noisy` may draw. It writes them into the lines of its copies."""

FLOAT_PEAK = 2.0
"""The largest absolute value a float sample may have. Resampling and lossy codecs overshoot full
scale (1.0), by less than this; samples beyond it are on another scale (16-bit integers, or a
mistaken gain).
"""

SILENCE_RMS = 1e-4
"""The root mean square (-80 dB) below which a clip holds no speech, and scaling would only amplify
noise.
"""

SILENT = "silent (rms below 1e-4)"
"""What such a clip is called in a message."""
