"""The clips of a manifest: texts, speakers, and sound that is read from the cache when it is asked
for. No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np

from orchestrator.corpus.cache.clip_cache import DONE, Segment
from orchestrator.corpus.manifest_errors import Fault, Place
from orchestrator.corpus.recordings.loudness import SILENCE_RMS, gain
from orchestrator.corpus.samples import SAMPLE_RATE, Samples
from orchestrator.corpus.utterance import Utterance


@dataclass(frozen=True)
class AudioNotes:
    """Lines of clips to which something happened on the way from the file."""

    resampled: tuple[int, ...] = ()
    mixed_down: tuple[int, ...] = ()
    """Their channels were averaged."""
    silent: tuple[int, ...] = ()
    """Root mean square below 1e-4: left as they are, never amplified."""
    clipped: tuple[int, ...] = ()
    """Scaling to the rms cut peaks at -1 or 1."""
    opposite: tuple[int, ...] = ()
    """Their channels cancel each other: one was taken."""
    mended: tuple[int, ...] = ()
    """Their file does not say how long it is, and was read to its end."""
    offset: tuple[int, ...] = ()
    """A constant part (DC) carries much of their power."""


@dataclass(frozen=True)
class StoredSound:
    """The sound of one utterance in the cache."""

    segment: Segment
    row: int
    utterance: Utterance
    decode: Callable[[Utterance, str], Samples]
    """Decodes it again, where what is kept is damaged, and compares its hash with the one given."""

    @property
    def count(self) -> int:
        """Samples."""
        return int(self.segment.rows[self.row]["samples"])

    @property
    def level(self) -> float:
        """Root mean square before scaling."""
        return float(self.segment.rows[self.row]["level"])

    @property
    def pcm_sha256(self) -> str:
        """Of the decoded 16 kHz mono float32 samples before scaling: equal for equal sound in any
        lossless format.
        """
        sound: bytes = self.segment.rows[self.row]["pcm_sha256"].tobytes()
        return sound.hex()

    @property
    def done(self) -> tuple[str, ...]:
        """The fields of `AudioNotes` that say what decoding did to it."""
        bits = int(self.segment.rows[self.row]["done"])
        return tuple(name for place, name in enumerate(DONE) if bits >> place & 1)

    def clipped(self, rms: float | None) -> bool:
        """Whether scaling to `rms` cuts peaks at -1 or 1."""
        factor = gain(self.level, rms)
        peak: np.float32 = self.segment.rows[self.row]["peak"]
        return factor is not None and bool(peak * factor > 1)

    def samples(self, rms: float | None) -> Samples:
        """Samples (count,) float32, scaled to `rms`, read-only. Raises ManifestError where they
        are damaged and the utterance is not what it was.
        """
        samples = self.segment.samples(self.row)
        if samples is None:
            self.segment.forget()
            samples = self.decode(self.utterance, self.pcm_sha256)
        factor = gain(self.level, rms)
        if factor is not None:
            samples = samples * factor
        if self.clipped(rms):
            np.clip(samples, -1, 1, out=samples)
        samples.flags.writeable = False
        return samples


@dataclass(frozen=True)
class Sounds(Sequence[Samples]):
    """Clips that are read when they are asked for: `sounds[i]` is a read-only float32 array, shape
    (samples,), a slice is `Sounds` again.
    """

    stored: tuple[StoredSound, ...]
    rms: float | None
    """The level that each is scaled to; None leaves them as they are."""

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int) -> Samples: ...

    @overload
    def __getitem__(self, index: slice) -> Sounds: ...

    def __getitem__(self, index: int | slice) -> Samples | Sounds:
        if isinstance(index, slice):
            return Sounds(self.stored[index], self.rms)
        return self.stored[index].samples(self.rms)

    def __add__(self, other: Sounds) -> Sounds:
        assert self.rms == other.rms, "sets of one sweep have one level"
        return Sounds(self.stored + other.stored, self.rms)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Samples of each."""
        return tuple(sound.count for sound in self.stored)

    @property
    def content_sha256(self) -> str:
        """Digest of the decoded sound of all of them, wherever their files lie."""
        return joined_sha256(sound.pcm_sha256 for sound in self.stored)

    def take(self, rows: Sequence[int]) -> Sounds:
        """Those of these rows, in their order."""
        return Sounds(tuple(self.stored[row] for row in rows), self.rms)


def lengths_of(clips: Sequence[Samples]) -> tuple[int, ...]:
    """Samples of each clip; of those in the cache without reading them."""
    return clips.lengths if isinstance(clips, Sounds) else tuple(len(clip) for clip in clips)


@dataclass(frozen=True)
class Clips:
    """The audio of one manifest, in manifest order; `clips[i]` is as `Sounds` gives it."""

    lines: tuple[int, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...]
    seconds: tuple[float, ...]
    pcm_sha256: tuple[str, ...]
    notes: AudioNotes
    """Of the whole manifest."""
    faults: tuple[Fault, ...]
    """Lines whose audio could not be decoded; they have no clip."""
    sounds: Sounds = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Samples:
        return self.sounds[index]

    def __iter__(self) -> Iterator[Samples]:
        return iter(self.sounds)

    def take(self, rows: Sequence[int]) -> Clips:
        """The clips of these rows alone, in their order; notes and faults stay those of the
        whole.
        """
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            column = getattr(self, name)
            columns[name] = tuple(column[row] for row in rows)
        return replace(self, **columns, sounds=self.sounds.take(rows))

    def without(self, places: Collection[Place]) -> Clips:
        """The clips of all other records."""
        return self.take([row for row, place in enumerate(self.places) if place not in places])

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the manifest has each: JSON may hold several on one line."""
        return tuple(sound.utterance.place for sound in self.sounds.stored)

    @property
    def silent_rows(self) -> frozenset[int]:
        """Clips in which nothing is to be heard."""
        return frozenset(
            row for row, sound in enumerate(self.sounds.stored) if sound.level < SILENCE_RMS
        )

    @property
    def text_sha256(self) -> tuple[str, ...]:
        """SHA-256 of the transcript and the speaker of each clip, the first 16 digits."""
        rows = zip(self.texts, self.speakers, strict=True)
        return tuple(hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16] for row in rows)

    @property
    def content_sha256(self) -> str:
        """Digest of the sound of the whole set, wherever its files lie."""
        return joined_sha256(self.pcm_sha256)


_COLUMNS = ("lines", "ids", "texts", "speakers", "seconds", "pcm_sha256")


def joined_sha256(sounds: Iterable[str]) -> str:
    """Digest of a list of hashes, in its order."""
    return hashlib.sha256("\n".join(sounds).encode()).hexdigest()


def clips_of(sounds: Sounds, faults: Sequence[Fault]) -> Clips:
    """The clips of a manifest: the sound of its lines, but for those with faults."""
    utterances = [sound.utterance for sound in sounds.stored]
    return Clips(
        lines=tuple(utterance.line for utterance in utterances),
        ids=tuple(utterance.id for utterance in utterances),
        texts=tuple(utterance.text for utterance in utterances),
        speakers=tuple(utterance.speaker for utterance in utterances),
        seconds=tuple(length / SAMPLE_RATE for length in sounds.lengths),
        pcm_sha256=tuple(sound.pcm_sha256 for sound in sounds.stored),
        notes=_audio_notes(sounds),
        faults=tuple(faults),
        sounds=sounds,
    )


def _audio_notes(sounds: Sounds) -> AudioNotes:
    lines: dict[str, list[int]] = {name: [] for name in (*DONE, "silent", "clipped")}
    for sound in sounds.stored:
        line = sound.utterance.line
        for name in sound.done:
            lines[name].append(line)
        if sound.level < SILENCE_RMS:
            lines["silent"].append(line)
        if sound.clipped(sounds.rms):
            lines["clipped"].append(line)
    return AudioNotes(**{name: tuple(found) for name, found in lines.items()})
