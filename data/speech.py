"""Turn sentences into sound: synthesis by espeak-ng or flite, a radio channel, and Opus files whose
bytes can be reproduced.

Needs `espeak-ng` and `flite` on the PATH. Signals are mono, 16 kHz.
"""

from __future__ import annotations

import io
import struct
import subprocess
import tempfile
from dataclasses import dataclass

import numpy as np
import scipy.signal
import soundfile
import torch
import torchaudio.functional

RATE = 16000  # Hz
FLITE_VOICES = frozenset({"awb", "kal", "kal16", "rms", "slt"})
OPUS_LEVEL = (
    0.93  # libsndfile's scale: 256 kbit/s at 0 down to 6 kbit/s at 1; this is about 24 kbit/s
)


@dataclass(frozen=True)
class Utterance:
    """One utterance before it is spoken.

    `speaker` is the engine's voice: `accent+variant` for espeak-ng, a bare name for flite. `speed`
    is in words a minute, `pitch` is espeak-ng's 0-99 scale (flite ignores it), `snr_db` is None
    without a radio channel, and `seed` draws the channel's noise.
    """

    text: str
    speaker: str
    speed: int
    pitch: int
    seed: int
    snr_db: float | None


def render(utterance: Utterance, peak: float = 0.9) -> np.ndarray:
    """Synthesise an utterance as int16 samples of shape (samples,), the largest of which is at
    `peak` of full scale.
    """
    signal = _speak(utterance)
    if utterance.snr_db is not None:
        signal = radio(signal, utterance.snr_db, utterance.seed)
    return np.round(signal / max(1e-4, float(np.abs(signal).max())) * peak * 32767).astype(np.int16)


def _speak(utterance: Utterance) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(_command(utterance, file.name), check=True, stderr=subprocess.DEVNULL)
        signal, rate = soundfile.read(file.name, dtype="float32")
    if rate == RATE:
        return signal
    return torchaudio.functional.resample(torch.from_numpy(signal), rate, RATE).numpy()


def _command(utterance: Utterance, path: str) -> list[str]:
    voice, text = utterance.speaker, utterance.text
    if voice in FLITE_VOICES:
        stretch = f"duration_stretch={160 / utterance.speed:.3f}"
        return ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", path]
    return [
        "espeak-ng",
        "-v",
        voice,
        "-s",
        str(utterance.speed),
        "-p",
        str(utterance.pitch),
        "-w",
        path,
        text,
    ]


def radio(signal: np.ndarray, snr_db: float, seed: int) -> np.ndarray:
    """Band-limit to 350-3300 Hz, add noise of the same band at `snr_db`, clip softly. Shape
    (samples,) in and out.
    """
    band = scipy.signal.butter(4, [350, 3300], "bandpass", fs=RATE, output="sos")
    signal = scipy.signal.sosfilt(band, signal)
    noise = scipy.signal.sosfilt(band, np.random.default_rng(seed).standard_normal(len(signal)))
    noise *= np.sqrt((signal**2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))
    return np.tanh(3 * (signal + noise) / np.abs(signal).max())


def encode_opus(samples: np.ndarray, serial: int) -> bytes:
    """Encode int16 `samples` as an Ogg Opus file. libsndfile draws a new serial number for the
    stream of every file; with it set to `serial`, the same samples give the same bytes.
    """
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
    )
    return _with_serial(buffer.getvalue(), serial)


def _with_serial(ogg: bytes, serial: int) -> bytes:
    """Set the serial number of every Ogg page and renew its checksum (RFC 3533, section 6)."""
    pages, start = [], 0
    while start < len(ogg):
        # a header of 27 bytes, a table of the segments' lengths, then the segments
        segments = ogg[start + 26]
        end = start + 27 + segments + sum(ogg[start + 27 : start + 27 + segments])
        page = bytearray(ogg[start:end])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = bytes(4)  # the checksum is computed with its own field set to zero
        page[22:26] = struct.pack("<I", _ogg_checksum(page))
        pages.append(bytes(page))
        start = end
    return b"".join(pages)


def _checksum_table() -> list[int]:
    """Return the CRC-32 remainder of each byte, to compute a checksum byte by byte."""
    table = []
    for byte in range(256):
        remainder = byte << 24
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x04C11DB7 if remainder & 0x80000000 else 0)
        table.append(remainder & 0xFFFFFFFF)
    return table


_CHECKSUMS = _checksum_table()


def _ogg_checksum(page: bytes | bytearray) -> int:
    """CRC-32 as Ogg defines it: polynomial 0x04C11DB7, not reflected, zero start, zero end."""
    remainder = 0
    for byte in page:
        remainder = ((remainder << 8) & 0xFFFFFFFF) ^ _CHECKSUMS[(remainder >> 24) ^ byte]
    return remainder


def single_threaded() -> None:
    """Keep torch's resampler from starting a pool of threads in each of the synthesis threads."""
    torch.set_num_threads(1)
