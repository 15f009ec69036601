"""Augmentation of training utterances: speed, noise and dropped chunks, all in the time domain,
because the models take raw audio.

What happens to an utterance depends on (trial seed, epoch, utterance) alone, never on the packing,
so a pack trains each trial on the sound it would have had alone, and a continued run on the sound
that an uninterrupted one has.

Speed perturbation is Ko et al. 2015 (the pitch changes with the speed), dropped chunks are
SpeechBrain's DropChunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torchaudio.functional
from torch import Tensor

from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.samples import SAMPLE_RATE, SILENCE_RMS
from orchestrator.planning.trial_plan import TrialParams
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.tuning.model.encoder_cache import EncoderCache, Frames
from orchestrator.tuning.model.families import Family
from orchestrator.tuning.model.layout import RaggedLayout

CLEAN_SNR = 60.0
"""At this `noise_snr`, in decibels, and above no noise is added."""
SNR_SPAN = 15.0
"""The SNR of an utterance is drawn from `noise_snr` to this many decibels above it."""
CHUNK = (1000, 2000)
"""Fewest and most samples of a dropped chunk."""


@dataclass(frozen=True)
class Draw:
    """How one utterance is augmented. Equal draws give equal sounds, so trials of one pack that
    have the same draw share the sound.
    """

    clip: int
    """The clip of set "train"."""
    seed: int
    """The seed of its random numbers, derived from the trial's seed, the epoch and the clip."""
    speed: float
    """`speed_perturb`: the largest change of speed, as a share."""
    snr: float
    """`noise_snr`: the lowest signal-to-noise ratio, in decibels."""
    chunks: int
    """`drop_chunks`: the most chunks that are silenced."""


def at_speed(wave: Tensor, factor: float) -> Tensor:
    """(1, n) float32 -> (1, n / factor): the sound played faster or slower, so that its pitch
    changes with it. The factor is taken as a whole number of hundredths.
    """
    resampled: Tensor = torchaudio.functional.resample(wave, round(100 * factor), 100)
    return resampled


def augments_audio(params: TrialParams) -> bool:
    """Return whether a trial augments any utterance."""
    some = (
        round(100 * params.speed_perturb) > 0
        or params.noise_snr < CLEAN_SNR
        or params.drop_chunks > 0
    )
    return some and params.augment_prob > 0


def draw_for(params: TrialParams, clip: int, epoch: int) -> Draw | None:
    """Return how a trial augments a domain clip in an epoch; None leaves the clip as it is."""
    if derived_seed(params.seed, "augment_prob", epoch, clip) >= params.augment_prob * 2**32:
        return None
    seed = derived_seed(params.seed, "augment", epoch, clip)
    return Draw(clip, seed, params.speed_perturb, params.noise_snr, params.drop_chunks)


def augment_clip(clip: np.ndarray, draw: Draw, rms: float | None, family: Family) -> np.ndarray:
    """Return a clip (samples,) float32 at 16 kHz at another speed, with noise added, with chunks
    silenced, and scaled to the level `rms`.

    The speed is a whole number of hundredths, limited so that the clip is neither too short nor too
    long for the model. Noise is white, its SNR drawn evenly from `snr` to 15 dB more; silence gets
    none. From 1 to `chunks` chunks are silenced, but no more than would fit into half of the clip
    at their largest.
    """
    random = np.random.default_rng(draw.seed)
    # sound stays in float32 where trials train in bfloat16
    with torch.autocast("cpu", enabled=False):
        wave = _changed_wave(clip, draw, random, family)
    samples = wave[0].numpy()
    most = min(draw.chunks, len(samples) // (2 * CHUNK[1]))
    for _ in range(int(random.integers(1, most + 1)) if most else 0):
        length = int(random.integers(CHUNK[0], CHUNK[1] + 1))
        start = int(random.integers(0, len(samples) - length + 1))
        samples[start : start + length] = 0
    return samples if rms is None else scale_to_rms(samples, rms)[0]


def _changed_wave(
    clip: np.ndarray, draw: Draw, random: np.random.Generator, family: Family
) -> Tensor:
    """Return a clip (1, samples) float32 at another speed and with noise added."""
    wave = torch.from_numpy(np.array(clip))[None]
    if (reach := round(100 * draw.speed)) > 0:  # in percent, as all speeds here
        slowest = max(1, math.ceil(100 * len(clip) / (family.longest_seconds * SAMPLE_RATE)))
        fastest = 100 * len(clip) // family.shortest
        percent = 100 + int(random.integers(-reach, reach + 1))
        wave = at_speed(wave, max(slowest, min(fastest, percent)) / 100)
    if draw.snr < CLEAN_SNR and wave.square().mean().sqrt() >= SILENCE_RMS:
        snr = torch.tensor([random.uniform(draw.snr, draw.snr + SNR_SPAN)], dtype=torch.float32)
        noise = torch.from_numpy(random.standard_normal(wave.shape).astype(np.float32))
        wave = torchaudio.functional.add_noise(wave, noise, snr)
    return wave


def augmented_frames(
    store: EncoderCache,
    clips: Tensor,
    draws: Sequence[Draw | None],
    rms: float | None,
    depth: int,
    slots: int,
) -> tuple[Tensor, RaggedLayout]:
    """Return the frames (slots, F, width) at `depth` of clips (rows,) of set "train", and their
    layout: those of `store`, but of rows with a draw computed from the augmented sound."""
    order = {
        draw: index
        for index, draw in enumerate(dict.fromkeys(draw for draw in draws if draw is not None))
    }
    if not order:
        return store("train", clips, depth, slots)
    kept, index = store.look_up("train", clips, depth)
    changed = store.compute(
        [augment_clip(store.clips["train"][d.clip], d, rms, store.family) for d in order], depth
    )
    rows = [
        # under autocast the new frames may have another dtype than the kept ones, which may have
        # been computed without it
        kept.of_clip(clip) if draw is None else changed.of_clip(order[draw]).to(kept.flat)
        for clip, draw in zip(index.tolist(), draws, strict=True)
    ]
    return Frames.of(rows).laid_out(
        torch.arange(len(rows), device=clips.device), slots, store.family.block
    )
