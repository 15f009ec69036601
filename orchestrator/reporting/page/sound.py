"""The audio of utterances: found in the manifest of its set, and encoded as small MP3 clips for a
page in one file, or unchanged for `listen`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import soundfile

from orchestrator.corpus.recordings.audio import load_audio, load_original
from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError
from orchestrator.records.readiness.reading_sets import read_evaluation_set
from orchestrator.sweepfile.sweep import SweepSpec

AUDIO_BYTES = 2_000_000
"""Most characters of all clips in one page, as data URIs."""
_MP3 = ("MP3", "MPEG_LAYER_III", "audio/mpeg")
PACKED_KIND = _MP3[2]
_COMPRESSION = 0.9
"""Compression level for libsndfile, where 1 gives the smallest files: about 4 kB per second of
speech at 16 kHz.
"""
_AT_ONCE = 32
"""Number of clips that are encoded before checking whether there is room for more."""
_MP3_RATES = frozenset((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000))
"""Hz. The rates of MP3."""
_PLAYED_CODINGS = frozenset(
    "PCM_U8 PCM_S8 PCM_16 PCM_24 PCM_32 FLOAT ULAW ALAW VORBIS OPUS MPEG_LAYER_III".split()
)
"""The codings that browsers play, by libsndfile's names; they play no ADPCM and no GSM in a WAV."""
_PLAYED_AS_IT_IS = {
    ".wav": "audio/wav",
    ".wave": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
}


@dataclass(frozen=True)
class Sound:
    """The audio of one utterance, for a browser."""

    kind: str
    """The media type."""
    data: bytes | Path
    """The encoded audio, or the file that holds this utterance and nothing else."""


def read_utterances(spec: SweepSpec, name: str, manifest_sha256: str) -> dict[str, Utterance]:
    """Return the utterances of an evaluated set by id; empty where its manifest is missing, cannot
    be read, or was changed since it was measured.
    """
    source = spec.data.all_evaluated.get(name)
    if source is None:
        return {}
    try:
        manifest = read_evaluation_set(spec, source)
    except (ManifestError, OSError):
        return {}
    if manifest.sha256 != manifest_sha256:
        return {}
    return {utterance.id: utterance for utterance in manifest.utterances}


def embed_clips(
    wanted: Iterable[tuple[str, Utterance]], budget: int = AUDIO_BYTES
) -> Mapping[str, str]:
    """Map keys to data URIs of MP3 clips, for as many of `wanted`, in order, as fit in `budget`
    characters.

    Empty where libsndfile cannot write MP3 (before 1.1). Clips that can no longer be decoded are
    left out.
    """
    if not can_pack():
        return {}
    clips: dict[str, str] = {}
    left, rest = budget, iter(wanted)
    # libsndfile releases the GIL, so threads encode several clips at once
    with ThreadPoolExecutor() as pool:
        while some := list(islice(rest, _AT_ONCE)):
            packed = pool.map(_packed_or_none, (utterance for _, utterance in some))
            for (key, _), data in zip(some, packed, strict=True):
                if data is None:
                    continue
                uri = f"data:{_MP3[2]};base64,{base64.b64encode(data).decode()}"
                if len(uri) > left:
                    return clips
                clips[key] = uri
                left -= len(uri)
    return clips


def _packed_or_none(utterance: Utterance) -> bytes | None:
    try:
        return packed_mp3(utterance)
    except (ManifestError, soundfile.SoundFileError):
        return None


def can_pack() -> bool:
    """Whether the installed libsndfile can write MP3 (from 1.1 on)."""
    return _MP3[0] in soundfile.available_formats()


def packed_mp3(utterance: Utterance) -> bytes:
    """Encode a clip as a small MP3, whose media type is `PACKED_KIND`. Raises ManifestError,
    SoundFileError.
    """
    samples, rate = load_original(utterance)
    if rate not in _MP3_RATES:
        samples, rate = load_audio(utterance).samples, SAMPLE_RATE
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, 1, format=_MP3[0], subtype=_MP3[1], compression_level=_COMPRESSION,
        bitrate_mode="VARIABLE",
    ) as file:  # fmt: skip
        file.write(samples)
    return buffer.getvalue()


def original_sound(utterance: Utterance) -> Sound:
    """Return the recording itself where the utterance is all of it and a browser can play it, else
    the samples as WAV. Raises ManifestError.
    """
    path = utterance.audio
    if (
        path is not None
        and not utterance.offset
        and path.suffix.lower() in _PLAYED_AS_IT_IS
        and _is_whole(utterance)
    ):
        return Sound(_PLAYED_AS_IT_IS[path.suffix.lower()], path)
    samples, rate = load_original(utterance)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return Sound("audio/wav", buffer.getvalue())


def _is_whole(utterance: Utterance) -> bool:
    """Whether the utterance is all of its file, and the file has a format and a coding that browsers play."""
    try:
        info = soundfile.info(str(utterance.audio))
    except (soundfile.SoundFileError, OSError):
        return False
    plain = (
        info.format in ("WAV", "WAVEX", "FLAC", "OGG", "MP3") and info.subtype in _PLAYED_CODINGS
    )
    return (
        plain and utterance.duration is not None and abs(info.duration - utterance.duration) < 0.01
    )
