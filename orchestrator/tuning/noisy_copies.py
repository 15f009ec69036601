"""Noisy copies of manifests: each utterance at another speed, in a narrower band and with noise
added, drawn from a seed of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio.functional
from torch import Tensor

from orchestrator.corpus.channel_names import channel_keys
from orchestrator.corpus.manifest_errors import Fault, UnusableError, manifest_error
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.manifests.manifest_writing import (
    audio_folder,
    line_of,
    own_seed,
    relative,
    shuffled,
)
from orchestrator.corpus.manifests.unread_times import time_keys
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.loudness import level
from orchestrator.corpus.samples import SAMPLE_RATE, SILENCE_RMS, SILENT, Samples
from orchestrator.corpus.sets.overlap import told_speed
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from orchestrator.tuning.training.augmentation import at_speed

PEAK = 0.99
"""A copy with a higher peak is scaled down to this one, because 16-bit FLAC would clip it."""

_ROOM = 1024
"""By what sound is divided before the filters and multiplied after them, which is exact for a power
of two: they cut what comes out of them at -1 and 1, which white noise and loud speech exceed.
"""

_OF_THE_SOURCE = ("offset", "audio", "sampling_rate", "sample_rate")
"""Keys of a manifest line that describe the original recording and not the copy, which is mono and
may be faster. Keys of times and channels are left out, too.
"""

Range = tuple[float, float]


@dataclass(frozen=True)
class Channel:
    """The simulated channel that copies go through; None leaves a part out."""

    snr: Range | None
    """Signal-to-noise ratio in decibels, drawn evenly."""
    band: Range | None
    """Cut-off frequencies in Hz of the high pass and of the low pass."""
    speed: Range | None
    """Speed factor, drawn evenly and rounded to hundredths; the pitch changes with it."""


def noisy_lines(manifest: Manifest, out: Path, channel: Channel, seed: int) -> list[dict[str, Any]]:
    """Write the copies beside `out` as 16-bit FLAC at 16 kHz, and return the lines of their
    manifest, shuffled. Ids stay as they are, so that a copy of a training clip is still recognised
    as one. Raises ManifestError, which names all clips that cannot be copied.
    """
    folder = audio_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[Fault] = []
    lines = []
    for number, utterance in enumerate(manifest.utterances):
        try:
            copy, drawn = _noisy_copy(utterance, channel, seed)
        except ManifestError as error:
            faults.append(utterance.fault(str(error)))
            continue
        path = folder / f"{number:06d}.flac"
        soundfile.write(path, copy, SAMPLE_RATE, subtype="PCM_16")
        sound = {
            "audio_filepath": relative(path, out.parent),
            "duration": round(len(copy) / SAMPLE_RATE, 4),
        }
        kept = line_of(utterance, out.parent)
        of_the_source = {*_OF_THE_SOURCE, *time_keys(kept), *channel_keys(kept)}
        lines.append({key: kept[key] for key in kept if key not in of_the_source} | sound | drawn)
    if faults:
        raise manifest_error(manifest.path, faults)
    return shuffled(lines, seed)


def _noisy_copy(
    utterance: Utterance, channel: Channel, seed: int
) -> tuple[Samples, dict[str, Any]]:
    """Return the samples of a copy, and what was drawn for it by the keys of its manifest line.
    Raises UnusableError for a silent clip that is to get noise.
    """
    samples = load_audio(utterance).samples
    if channel.snr and level(samples) < SILENCE_RMS:
        raise UnusableError(f"the clip is {SILENT}: noise has no ratio to it")
    draws = np.random.default_rng(own_seed(seed, utterance.id))
    drawn: dict[str, Any] = {}
    wave = torch.from_numpy(np.array(samples))[None]
    if channel.speed:
        speed = round(float(draws.uniform(*channel.speed)), 2)
        wave = at_speed(wave, speed)
        # a copy of a copy tells how much faster than the recording it is, which finds that again
        drawn["speed"] = round(speed * told_speed(utterance), 4)
    if channel.band:
        drawn["band_hz"] = list(channel.band)
        wave = within_band(wave, channel.band)
    if channel.snr:
        drawn["snr_db"] = round(float(draws.uniform(*channel.snr)), 2)
        noise = torch.from_numpy(draws.standard_normal(wave.shape).astype(np.float32))
        noise = within_band(noise, channel.band) if channel.band else noise
        wave = torchaudio.functional.add_noise(wave, noise, torch.tensor([drawn["snr_db"]]))
    peak = wave.abs().max().item()
    return (wave * (PEAK / peak) if peak > PEAK else wave)[0].numpy(), drawn


def within_band(wave: Tensor, band: Range) -> Tensor:
    """Return a sound (1, n) float32 limited to a band in Hz, as a telephone or radio channel limits
    it: by a high pass and a low pass of second order, each applied twice.
    """
    wave = wave / _ROOM
    for _ in range(2):
        wave = torchaudio.functional.highpass_biquad(wave, SAMPLE_RATE, band[0])
        wave = torchaudio.functional.lowpass_biquad(wave, SAMPLE_RATE, band[1])
    return wave * _ROOM
