"""Sound as the models take it: mono, 16 kHz, float32, each clip at one root mean square; decoded
once and cached.

Every check that needs the whole file decoded happens here, once, before anything trains. Files are
read with soundfile (torchaudio no longer decodes by itself); torchaudio resamples, imported when
the first clip needs it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile

from orchestrator.corpus.clips import SAMPLE_RATE, AudioNotes, Clip, Clips, open_clips, write_clips
from orchestrator.corpus.containers import opened
from orchestrator.corpus.faults import Fault, UnusableError, manifest_error, show
from orchestrator.corpus.formats import FLOAT_PEAK, Samples
from orchestrator.corpus.manifest import Manifest, Utterance, audio_source
from orchestrator.errors import ManifestError
from orchestrator.progress import Counter

__all__ = [
    "SAMPLE_RATE",
    "Audio",
    "AudioNotes",
    "Clips",
    "load_audio",
    "load_original",
    "prepare",
    "prepare_training",
    "scale_to_rms",
]

SILENCE_RMS = 1e-4
"""-80 dB: below it a clip holds no speech, and scaling would only amplify noise."""

LOSSY_PEAK = 2.0
"""MP3, Vorbis and Opus may overshoot full scale when decoded to floats."""

_LOSSY = ("VORBIS", "OPUS", "MPEG")
_VERSION = 3
"""Of what this module does to sound; part of the cache's key."""

_MAX_KERNEL = 2_000_000
"""Bound on the resampler's filter bank, which grows with the product of the reduced rates."""

_BATCH = 256
"""Clips decoded ahead of the writer."""


OPPOSITE = 0.5
"""Of the level that the mean has where all channels but the loudest are silent: below it they
cancel each other.
"""


@dataclass(frozen=True)
class Audio:
    """One utterance decoded: mono 16 kHz float32, shape (samples,), and what that took."""

    samples: Samples
    resampled: bool
    mixed_down: bool
    opposite: bool = False
    """Its channels cancel each other, so the loudest is taken alone."""
    mended: bool = False
    """Its file does not say how long it is, and was read to its end."""


def load_audio(utterance: Utterance) -> Audio:
    """Decode one utterance, or its segment of a longer file, unscaled.

    Channels are averaged, but for those that cancel each other, and other rates resampled
    (torchaudio's windowed sinc). Raises ManifestError, without the manifest's name and line, where
    the file cannot be decoded to its end or holds values that are no sound.
    """
    frames, rate, lossy, mended, name = _frames(utterance)
    peak = float(np.abs(frames).max(initial=0.0))
    if not math.isfinite(peak):
        raise UnusableError(f"{name} holds NaN or infinite samples")
    if peak > (LOSSY_PEAK if lossy else FLOAT_PEAK):
        raise UnusableError(f"{name} reaches {peak:g}; float samples must lie within -1 and 1")
    mono, opposite = _mono(frames)
    mixed = frames.shape[1] > 1 and not opposite
    return Audio(_resampled(mono, rate, name), rate != SAMPLE_RATE, mixed, opposite, mended)


def load_original(utterance: Utterance) -> tuple[Samples, int]:
    """One utterance as it was recorded, for a listener: mono float32 at its own rate, and the rate
    in Hz.

    Raises ManifestError where the file cannot be decoded to its end.
    """
    frames, rate, *_ = _frames(utterance)
    return _mono(frames)[0], rate


def _frames(utterance: Utterance) -> tuple[Samples, int, bool, bool, str]:
    """As `_read`, of samples that stand in the manifest too."""
    if utterance.samples is None:
        return _read(utterance)
    rate = utterance.sample_rate or SAMPLE_RATE
    start, count = _span(utterance, rate, len(utterance.samples))
    frames = np.array(utterance.samples[start : start + count], dtype=np.float32)[:, None]
    return frames, rate, False, False, "the inline audio"


def _mono(frames: Samples) -> tuple[Samples, bool]:
    """One channel of (n, channels): their mean, or the loudest where they cancel each other, and
    whether they do.
    """
    if frames.shape[1] == 1:
        return frames[:, 0], False
    mean: Samples = frames.mean(axis=1, dtype=np.float32)
    levels = [_level(channel) for channel in frames.T]
    loudest = max(range(len(levels)), key=levels.__getitem__)
    # what the mean has where the other channels are silent
    alone = levels[loudest] / frames.shape[1]
    opposite = levels[loudest] >= SILENCE_RMS and _level(mean) < OPPOSITE * alone
    return (frames[:, loudest], True) if opposite else (mean, False)


def scale_to_rms(samples: Samples, rms: float) -> tuple[Samples, bool]:
    """`samples * rms / sqrt(mean(samples**2))`, cut at -1 and 1, and whether that happened. Silence
    is left alone.
    """
    level = _level(samples)
    if level < SILENCE_RMS:
        return samples, False
    scaled = samples * np.float32(rms / level)
    clipped = bool(np.abs(scaled).max() > 1)
    return (np.clip(scaled, -1, 1) if clipped else scaled), clipped


def prepare(manifest: Manifest, *, rms: float | None, cache: Path, multiple: int = 80) -> Clips:
    """Decode all of a manifest, scale each clip to `rms` (None: leave it), and keep it under
    `cache`.

    Clips keep their full length; one shorter than `multiple` samples, the least a model takes, is a
    fault. The cache is found again by the manifest's bytes, each file's size and time, and `rms`; a
    damaged one is built anew. Raises ManifestError with all faults that decoding found, each with
    its line. Silence is a fault in an evaluation set.
    """
    clips = _decoded_once(manifest, rms, cache)
    if faults := _faults(clips, multiple):
        raise manifest_error(manifest.path, faults)
    return clips


def prepare_training(
    manifest: Manifest, *, rms: float | None, cache: Path, multiple: int, max_bad_fraction: float
) -> tuple[Manifest, Clips]:
    """`prepare`, without the lines whose audio cannot be decoded: the manifest that is left, and
    its clips.

    Raises ManifestError when more than `max_bad_fraction` of all lines are bad.
    """
    clips = _decoded_once(manifest, rms, cache)
    faults = _faults(clips, multiple)
    if not faults:
        return manifest, clips
    rest = manifest.without(faults, max_bad_fraction)
    if rest is None:
        raise manifest_error(manifest.path, faults)
    return rest, clips.without({fault.line for fault in faults})


def _faults(clips: Clips, multiple: int) -> list[Fault]:
    """What decoding found, and the clips that are too short for the model."""
    lengths = [(line, len(clip)) for line, clip in zip(clips.lines, clips, strict=True)]
    short = [
        Fault(line, f"the clip has {length} samples; the model needs at least {multiple}")
        for line, length in lengths
        if length < multiple
    ]
    return [*clips.faults, *short]


def _decoded_once(manifest: Manifest, rms: float | None, cache: Path) -> Clips:
    """The cached clips, decoded now if they are not there: whatever asks first, a set is decoded
    once.
    """
    key = _key(manifest, rms)
    clips = open_clips(manifest, cache, key)
    if clips is None:
        write_clips(_decoded(manifest, rms), cache, key)
        clips = open_clips(manifest, cache, key)
    if clips is None:
        raise OSError(f"the audio cache in {cache} could not be read back after it was written")
    return clips


def _decoded(manifest: Manifest, rms: float | None) -> Iterator[Clip | Fault]:
    """Clips, or what is wrong with them, in order."""
    clip = partial(_clip, rms=rms, silence_is_fault=not manifest.for_training)
    utterances = manifest.utterances
    counter = Counter(f"decoding the audio of {manifest.path.name}", len(utterances))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(utterances), _BATCH):
            for decoded in pool.map(clip, utterances[start : start + _BATCH]):
                counter.add()
                yield decoded


def _clip(utterance: Utterance, *, rms: float | None, silence_is_fault: bool) -> Clip | Fault:
    try:
        audio = load_audio(utterance)
    except ManifestError as error:
        return Fault(utterance.line, str(error))
    samples = audio.samples
    silent = _level(samples) < SILENCE_RMS
    if silent and silence_is_fault:
        return Fault(
            utterance.line, "the clip is silent (rms below 1e-4) but its text is not empty"
        )
    pcm_sha256 = hashlib.sha256(samples.astype("<f4", copy=False).tobytes()).hexdigest()
    scaled, clipped = (samples, False) if rms is None else scale_to_rms(samples, rms)
    done = (audio.resampled, audio.mixed_down, silent, clipped, audio.opposite, audio.mended)
    return Clip(
        scaled,
        pcm_sha256,
        AudioNotes(*((utterance.line,) if happened else () for happened in done)),
    )


def _level(samples: Samples) -> float:
    """Root mean square, summed in float64."""
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def _read(utterance: Utterance) -> tuple[Samples, int, bool, bool, str]:
    """Frames of shape (n, channels), their rate, whether the codec is lossy, whether the file does
    not say how long it is, and the name for messages."""
    name = (
        "the inline audio"
        if utterance.audio is None
        else f"audio file {show(str(utterance.audio))}"
    )
    try:
        found = opened(utterance.audio or utterance.encoded or b"", name)
        with soundfile.SoundFile(found.source) as stream:
            start, count = _span(utterance, stream.samplerate, stream.frames)
            stream.seek(start)
            frames = stream.read(count, dtype="float32", always_2d=True)
            rate, lossy = stream.samplerate, stream.subtype.startswith(_LOSSY)
    except UnusableError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", None) or error
        raise UnusableError(f"{name} cannot be decoded: {reason}") from error
    if len(frames) != count:
        raise UnusableError(f"{name} is cut off: {len(frames)} of {count} frames could be decoded")
    return frames, rate, lossy, found.mended, name


def _span(utterance: Utterance, rate: int, frames: int) -> tuple[int, int]:
    """First frame and number of frames of the utterance within `frames`."""
    start = min(round(utterance.offset * rate), frames)
    there = frames - start
    wanted = there if utterance.duration is None else round(utterance.duration * rate)
    return start, there if wanted == there + 1 else wanted  # start and length were rounded apart


def _resampled(mono: Samples, rate: int, name: str) -> Samples:
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(mono)
    shared = math.gcd(rate, SAMPLE_RATE)
    if (rate // shared) * (SAMPLE_RATE // shared) > _MAX_KERNEL:
        raise UnusableError(
            f"{name} has the sampling rate {rate} Hz; convert it to {SAMPLE_RATE} Hz first"
        )
    import torch
    import torchaudio.functional

    with torch.inference_mode():
        wave = torch.from_numpy(np.ascontiguousarray(mono))
        resampled: Samples = torchaudio.functional.resample(wave, rate, SAMPLE_RATE).numpy()
        return resampled


def _key(manifest: Manifest, rms: float | None) -> str:
    """What the cached samples depend on. Subsets of one manifest differ in their lines."""
    sources = [
        [utterance.line, *_source(utterance), utterance.offset, utterance.duration]
        for utterance in manifest.utterances
    ]
    libraries = [soundfile.__libsndfile_version__, version("torchaudio")]
    parts = [_VERSION, libraries, manifest.sha256, manifest.for_training, rms, sources]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _source(utterance: Utterance) -> list[str | int]:
    source = audio_source(utterance)
    if utterance.audio is None:
        return [source]
    try:
        found = os.stat(source)
    except OSError:
        return [source]
    return [source, found.st_size, found.st_mtime_ns]
