"""Decoding of utterances to what the models take: mono, 16 kHz, float32.

Every check that needs the whole file decoded happens here, once, before anything trains;
`cache.preparing` says what is kept of it. Files are read with soundfile (torchaudio no longer
decodes by itself); torchaudio, which is imported when the first clip needs it, resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import soundfile

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.recordings.containers import (
    open_audio,
    refuse_joined,
    whole_content,
)
from orchestrator.corpus.recordings.loudness import level
from orchestrator.corpus.recordings.transfer_damage import conversion_of
from orchestrator.corpus.samples import FLOAT_PEAK, SAMPLE_RATE, SILENCE_RMS, Samples
from orchestrator.corpus.utterance import Utterance

_MAX_KERNEL = 2_000_000
"""Bound on the resampler's filter bank, which grows with the product of the two rates after their
ratio is reduced.
"""

OPPOSITE = 0.5
"""Channels are taken to cancel each other when the level of their mean is below this share of what
it would be if all channels but the loudest were silent.
"""

CONSTANT = 0.25
"""The share of a clip's power in its mean (DC offset) from which on scaling to a level mostly
scales the mean: the speech is left more than a decibel too quiet.
"""


@dataclass(frozen=True)
class Audio:
    """One decoded utterance, mono 16 kHz float32 of shape (samples,), and what decoding had to do
    for it.
    """

    samples: Samples
    resampled: bool
    mixed_down: bool
    opposite: bool = False
    """Whether its channels cancel each other, so that the loudest is taken alone."""
    mended: bool = False
    """Whether its file does not say how long it is, and was read to its end."""
    offset: bool = False
    """Whether a constant part (DC offset) carries more than `CONSTANT` of its power."""


def load_audio(utterance: Utterance) -> Audio:
    """Decode one utterance, a whole file or a segment of it, without scaling its level.

    Channels are averaged, except those that cancel each other, and rates other than 16 kHz are
    resampled (torchaudio's windowed sinc). Raises ManifestError, without the manifest's name and
    line, where the file cannot be decoded to its end or holds values that are no sound.
    """
    frames, rate, mended, name = _decoded_frames(utterance)
    peak = float(np.abs(frames).max(initial=0.0))
    if not math.isfinite(peak):
        raise UnusableError(
            f"{name} holds NaN or infinite samples; write it anew from the recording"
        )
    if peak > FLOAT_PEAK:
        raise UnusableError(
            f"{name} reaches {peak:g}; float samples must lie within -1 and 1: where they are 16-bit numbers, "
            "divide them by 32768"
        )
    mono, opposite = _to_mono(frames)
    return Audio(
        _to_sample_rate(mono, rate),
        resampled=rate != SAMPLE_RATE,
        mixed_down=frames.shape[1] > 1 and not opposite,
        opposite=opposite,
        mended=mended,
        offset=_has_offset(mono),
    )


def _has_offset(mono: Samples) -> bool:
    """Whether the mean of samples of shape (n,) carries more than `CONSTANT` of their power."""
    loud = level(mono)
    mean = abs(float(mono.mean(dtype=np.float64))) if len(mono) else 0.0
    return loud >= SILENCE_RMS and mean**2 > CONSTANT * loud**2


def load_original(utterance: Utterance) -> tuple[Samples, int]:
    """Decode one utterance as it was recorded, for a person to listen to: mono float32 samples at
    the recording's own rate, and that rate in Hz.

    Raises ManifestError where the file cannot be decoded to its end.
    """
    frames, rate, *_ = _decoded_frames(utterance)
    return _to_mono(frames)[0], rate


def _decoded_frames(utterance: Utterance) -> tuple[Samples, int, bool, str]:
    """Return what `_read_frames` does, also for an utterance whose samples are inline in the
    manifest.
    """
    if utterance.samples is None:
        return _read_frames(utterance)
    rate = utterance.sample_rate or SAMPLE_RATE
    start, count = _frame_span(utterance, rate, len(utterance.samples))
    frames = np.array(utterance.samples[start : start + count], dtype=np.float32)[:, None]
    return frames, rate, False, "the inline audio"


def _to_mono(frames: Samples) -> tuple[Samples, bool]:
    """Reduce frames of shape (n, channels) to shape (n,): to the mean of the channels, or to the
    loudest channel where they cancel each other. Also returns whether they do.
    """
    if frames.shape[1] == 1:
        return frames[:, 0], False
    mean: Samples = frames.mean(axis=1, dtype=np.float32)
    levels = [level(channel) for channel in frames.T]
    loudest = max(range(len(levels)), key=levels.__getitem__)
    # the level that the mean would have if the other channels were silent
    alone = levels[loudest] / frames.shape[1]
    opposite = levels[loudest] >= SILENCE_RMS and level(mean) < OPPOSITE * alone
    return (frames[:, loudest], True) if opposite else (mean, False)


def _read_frames(utterance: Utterance) -> tuple[Samples, int, bool, str]:
    """Read the frames of an utterance from its file. Returns them in shape (n, channels), their
    rate in Hz, whether the file does not say how long it is, and the file's name for messages.
    """
    name = audio_name(utterance)
    source = utterance.audio or utterance.encoded or b""
    try:
        refuse_joined(source, name)
        found = open_audio(source, name)
        with soundfile.SoundFile(found.source) as stream:
            start, count = _frame_span(utterance, stream.samplerate, stream.frames)
            _go_to(stream, start)
            frames = stream.read(count, dtype="float32", always_2d=True)
            rate = stream.samplerate
    except UnusableError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        reason = _conversion(utterance) or getattr(error, "error_string", None) or error
        raise UnusableError(f"{name} cannot be decoded: {reason}") from error
    if len(frames) != count:
        if damage := _conversion(utterance):
            raise UnusableError(f"{name} is damaged: {damage}")
        raise UnusableError(
            f"{name} is cut off: {len(frames)} of {count} frames could be decoded; copy it again, or where that is all "
            "there is, as in MPEG layer 2, convert it (ffmpeg -i IN OUT.flac) and name that"
        )
    return frames, rate, found.mended, name


def _conversion(utterance: Utterance) -> str:
    """Say which text conversion damaged a file that cannot be decoded (see `transfer_damage`);
    empty where there is no trace of one.
    """
    try:
        return conversion_of(whole_content(utterance.audio or utterance.encoded or b""))
    except OSError:
        return ""


def _go_to(stream: soundfile.SoundFile, start: int) -> None:
    """Move to the frame `start`; in a coding that does not seek, such as GSM, by reading
    up to it.
    """
    if stream.seekable():
        stream.seek(start)
        return
    while start > 0 and len(skipped := stream.read(min(start, 1 << 20))):
        start -= len(skipped)


def audio_name(utterance: Utterance) -> str:
    """Name the audio of an utterance in a message."""
    if utterance.audio is None:
        return "the inline audio"
    return f"audio file {show(str(utterance.audio))}"


def _frame_span(utterance: Utterance, rate: int, frames: int) -> tuple[int, int]:
    """Return the first frame and the number of frames of the utterance, in a file of `frames`
    frames at `rate` Hz. The number may exceed what the file has; the caller then finds it cut off.
    """
    start = min(round(utterance.offset * rate), frames)
    there = frames - start
    wanted = there if utterance.duration is None else round(utterance.duration * rate)
    # start and length were rounded separately
    return start, there if wanted == there + 1 else wanted


def _to_sample_rate(mono: Samples, rate: int) -> Samples:
    """Resample samples of shape (n,) from `rate` Hz to 16 kHz."""
    if rate == SAMPLE_RATE:
        return np.ascontiguousarray(mono)
    import torch
    import torchaudio.functional

    ratio = _near_ratio(rate)
    # in float32 also where a sweep computes in bfloat16 and decodes a damaged clip again
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        wave = torch.from_numpy(np.ascontiguousarray(mono))
        resampled: Samples = torchaudio.functional.resample(
            wave, ratio.numerator, ratio.denominator
        ).numpy()
        return resampled


def _near_ratio(rate: int) -> Fraction:
    """Return the resampling ratio `rate` / 16 kHz. It is exact where the filter bank for it is
    small enough, as for all usual rates; otherwise, as for 44,056 Hz, it is the nearest ratio with
    a small filter bank. That differs by less than 1 in 3,000, a hundredth of a semitone.
    """
    exact = Fraction(rate, SAMPLE_RATE)
    if exact.numerator * exact.denominator <= _MAX_KERNEL:
        return exact
    # with denominator d the numerator is about d * exact; d <= sqrt(_MAX_KERNEL / exact) keeps
    # their product at about _MAX_KERNEL or below
    return exact.limit_denominator(math.isqrt(int(_MAX_KERNEL / exact)))
