"""Noisy copies of manifests: another speed, a narrower band, noise; each utterance with its own
seeded draw.
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

from orchestrator.corpus.manifest_errors import Fault, UnusableError, manifest_error
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.manifests.manifest_writing import (
    audio_folder,
    line_of,
    own_seed,
    relative,
    shuffled,
)
from orchestrator.corpus.manifests.one_channel import channel_keys
from orchestrator.corpus.manifests.unread_times import time_keys
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.loudness import SILENCE_RMS
from orchestrator.corpus.samples import SAMPLE_RATE, Samples
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError

PEAK = 0.99
"""A louder copy is scaled to this: 16-bit FLAC would cut it."""

_OF_THE_SOURCE = ("offset", "audio", "sampling_rate", "sample_rate")
"""Keys that say something of the recording that was copied, not of the copy, which is mono and may
be faster: so do times and channels.
"""

Range = tuple[float, float]


@dataclass(frozen=True)
class Channel:
    """What a copy goes through; None leaves that out."""

    snr: Range | None
    """Decibels, drawn evenly."""
    band: Range | None
    """Hz: high pass and low pass."""
    speed: Range | None
    """Factors, drawn evenly and rounded to hundredths; pitch goes along."""


def noisy_lines(manifest: Manifest, out: Path, channel: Channel, seed: int) -> list[dict[str, Any]]:
    """Write the copies beside `out` as 16-bit FLAC of 16 kHz and return its lines, shuffled; ids
    stay, so that a copy of a training clip is still found to be one. Raises ManifestError with all
    clips that cannot be copied."""
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
    samples = load_audio(utterance).samples
    if float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) < SILENCE_RMS:
        raise UnusableError("the clip is silent (rms below 1e-4): noise has no ratio to it")
    draws = np.random.default_rng(own_seed(seed, utterance.id))
    drawn: dict[str, Any] = {}
    wave = torch.from_numpy(np.array(samples))[None]
    if channel.speed:
        drawn["speed"] = round(float(draws.uniform(*channel.speed)), 2)
        wave = at_speed(wave, drawn["speed"])
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


def at_speed(wave: Tensor, factor: float) -> Tensor:
    """(1, n) float32 -> (1, n / factor): played faster or slower, pitch along with it; hundredths
    only.
    """
    resampled: Tensor = torchaudio.functional.resample(wave, round(100 * factor), 100)
    return resampled


def within_band(wave: Tensor, band: Range) -> Tensor:
    """(1, n) float32 through two second-order filters each way, as a telephone or radio channel
    would.
    """
    for _ in range(2):
        wave = torchaudio.functional.highpass_biquad(wave, SAMPLE_RATE, band[0])
        wave = torchaudio.functional.lowpass_biquad(wave, SAMPLE_RATE, band[1])
    return wave
