"""The clips of a manifest: texts, speakers, and sound, which is read from the cache only when it is
asked for. No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, overload

import numpy as np

from orchestrator.corpus.cache.clip_cache import DONE, CacheSegment
from orchestrator.corpus.manifest_errors import Fault, Place
from orchestrator.corpus.recordings.loudness import gain
from orchestrator.corpus.samples import SAMPLE_RATE, SILENCE_RMS, Samples
from orchestrator.corpus.utterance import Utterance


@dataclass(frozen=True)
class AudioNotes:
    """What happened to clips between the audio file and the samples: each field has the manifest
    lines of the clips to which it applies.
    """

    resampled: tuple[int, ...] = ()
    """Their sample rate was converted to 16 kHz."""
    mixed_down: tuple[int, ...] = ()
    """Their channels were averaged."""
    silent: tuple[int, ...] = ()
    """Their root mean square is below 1e-4: they are left as they are, never amplified."""
    clipped: tuple[int, ...] = ()
    """Scaling them to the wanted level cut peaks at -1 or 1."""
    opposite: tuple[int, ...] = ()
    """Their channels cancel each other when averaged, so one channel was taken."""
    mended: tuple[int, ...] = ()
    """The header of their file does not say how long it is, and it was read to its end."""
    offset: tuple[int, ...] = ()
    """A constant part (DC offset) carries much of their power."""


@dataclass(frozen=True)
class StoredSound:
    """One utterance and the place of its sound in the cache."""

    segment: CacheSegment
    row: int
    utterance: Utterance
    decode: Callable[[Utterance, str], Samples]
    """Decodes the utterance again where the cached samples are damaged, and raises ManifestError
    where their SHA-256 is not the one given.
    """

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.segment.rows[self.row]["samples"])

    @property
    def level(self) -> float:
        """Root mean square of the samples before scaling."""
        return float(self.segment.rows[self.row]["level"])

    @property
    def pcm_sha256(self) -> str:
        """SHA-256 of the decoded 16 kHz mono float32 samples before scaling: equal for equal sound
        in any lossless format.
        """
        sound: bytes = self.segment.rows[self.row]["pcm_sha256"].tobytes()
        return sound.hex()

    @property
    def done(self) -> tuple[str, ...]:
        """What decoding did to the clip, as names of fields of `AudioNotes`."""
        bits = int(self.segment.rows[self.row]["done"])
        return tuple(name for place, name in enumerate(DONE) if bits >> place & 1)

    def clipped(self, rms: float | None) -> bool:
        """Whether scaling to `rms` cuts peaks at -1 or 1."""
        factor = gain(self.level, rms)
        peak: np.float32 = self.segment.rows[self.row]["peak"]
        return factor is not None and bool(peak * factor > 1)

    def samples(self, rms: float | None) -> Samples:
        """Read the samples, shape (count,), float32, scaled to `rms`, read-only. Raises
        ManifestError where the cached ones are damaged and decoding the utterance again gives
        others.
        """
        try:
            samples = self.segment.samples(self.row)
            if samples is None:
                self.segment.forget()
        except OSError:
            samples = None  # which says nothing about what is stored
        if samples is None:
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
    """A sequence of clips that are read only when they are asked for: `sounds[i]` is a read-only
    float32 array of shape (samples,), and a slice is again a `Sounds`.
    """

    stored: tuple[StoredSound, ...]
    rms: float | None
    """The root mean square that each clip is scaled to; None leaves them as they are."""

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
        """Number of samples of each clip."""
        return tuple(sound.count for sound in self.stored)

    @property
    def content_sha256(self) -> str:
        """Hash of the decoded sound of all clips in order, independent of where their files lie."""
        return joined_sha256(sound.pcm_sha256 for sound in self.stored)

    def take(self, rows: Sequence[int]) -> Sounds:
        """Return the clips at these indices, in the order of `rows`."""
        return Sounds(tuple(self.stored[row] for row in rows), self.rms)


def lengths_of(clips: Sequence[Samples]) -> tuple[int, ...]:
    """Return the number of samples of each clip; those of a `Sounds` are known without reading the
    clips.
    """
    return clips.lengths if isinstance(clips, Sounds) else tuple(len(clip) for clip in clips)


@dataclass(frozen=True)
class Clips:
    """The utterances of one manifest as parallel columns, in manifest order, with their sound;
    `clips[i]` is an array as `Sounds` gives it.
    """

    lines: tuple[int, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    speakers: tuple[str, ...]
    seconds: tuple[float, ...]
    pcm_sha256: tuple[str, ...]
    notes: AudioNotes
    """Notes on the whole manifest, also after `take`."""
    faults: tuple[Fault, ...]
    """Records whose audio cannot be used; they have no clip."""
    sounds: Sounds = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Samples:
        return self.sounds[index]

    def __iter__(self) -> Iterator[Samples]:
        return iter(self.sounds)

    def take(self, rows: Sequence[int]) -> Clips:
        """Return only the clips at these indices, in the order of `rows`; notes and faults stay
        those of the whole manifest.
        """
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            column = getattr(self, name)
            columns[name] = tuple(column[row] for row in rows)
        return replace(self, **columns, sounds=self.sounds.take(rows))

    def without(self, places: Collection[Place]) -> Clips:
        """Return the clips of all records but those at `places`."""
        return self.take([row for row, place in enumerate(self.places) if place not in places])

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Where in the manifest each clip's record begins; a line number alone is not enough,
        because JSON may hold several records on one line.
        """
        return tuple(sound.utterance.place for sound in self.sounds.stored)

    @cached_property
    def silent_rows(self) -> frozenset[int]:
        """Indices of the clips in which nothing can be heard (root mean square below 1e-4)."""
        return frozenset(
            row for row, sound in enumerate(self.sounds.stored) if sound.level < SILENCE_RMS
        )

    @property
    def text_sha256(self) -> tuple[str, ...]:
        """For each clip, the first 16 hexadecimal digits of the SHA-256 of its transcript and
        speaker.
        """
        rows = zip(self.texts, self.speakers, strict=True)
        return tuple(hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16] for row in rows)

    @property
    def content_sha256(self) -> str:
        """Hash of the sound of the whole set, independent of where its files lie."""
        return joined_sha256(self.pcm_sha256)


_COLUMNS = ("lines", "ids", "texts", "speakers", "seconds", "pcm_sha256")


def joined_sha256(sounds: Iterable[str]) -> str:
    """Return the SHA-256 of a list of hexadecimal hashes, which depends on their order."""
    return hashlib.sha256("\n".join(sounds).encode()).hexdigest()


def clips_of(sounds: Sounds, faults: Sequence[Fault]) -> Clips:
    """Make the columns of `Clips` from the sound of a manifest's utterances; those with faults have
    none.
    """
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
