"""Decoded clips of one manifest on disk: one flat memory-mapped float32 file and its index. No
torch.

`<key>.f32` holds the samples of all clips one after the other, little-endian, 16 kHz mono;
`<key>.index` their lengths, what was done to them and which lines have none, as a line of SHA-256
and a line of JSON under that seal. The index is written last and holds the CRC-32 of the samples;
whatever does not fit is as good as absent and is built again.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np

from orchestrator.atomic import clear_dead, new_file
from orchestrator.corpus.faults import Fault
from orchestrator.corpus.formats import Samples
from orchestrator.corpus.manifest import Manifest

SAMPLE_RATE = 16_000
"""Hz; of every clip."""


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

    def __add__(self, other: AudioNotes) -> AudioNotes:
        return AudioNotes(*(a + b for a, b in zip(_columns(self), _columns(other), strict=True)))


@dataclass(frozen=True)
class Clip:
    """One decoded utterance, scaled, as it goes into the cache."""

    samples: Samples
    pcm_sha256: str
    """Of the decoded 16 kHz mono float32 samples before scaling: equal for equal sound in any
    lossless format.
    """
    notes: AudioNotes


@dataclass(frozen=True)
class Clips:
    """The audio of one manifest, in manifest order: `clips[i]` is a read-only float32 array, shape
    (samples,).
    """

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
    _samples: Samples = field(repr=False, compare=False)
    _spans: tuple[tuple[int, int], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Samples:
        if not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
        start, end = self._spans[index % len(self)]
        return self._samples[start:end]

    def __iter__(self) -> Iterator[Samples]:
        return (self[index] for index in range(len(self)))

    def take(self, rows: Sequence[int]) -> Clips:
        """The clips of these rows alone, in their order; notes and faults stay those of the
        whole.
        """
        columns: dict[str, Any] = {
            name: tuple(getattr(self, name)[row] for row in rows) for name in _COLUMNS
        }
        return replace(self, **columns)

    def without(self, lines: Collection[int]) -> Clips:
        """The clips of all other lines."""
        return self.take([row for row, line in enumerate(self.lines) if line not in lines])

    @property
    def text_sha256(self) -> tuple[str, ...]:
        """SHA-256 of the transcript and the speaker of each clip, the first 16 digits."""
        rows = zip(self.texts, self.speakers, strict=True)
        return tuple(hashlib.sha256(json.dumps(row).encode()).hexdigest()[:16] for row in rows)

    @property
    def content_sha256(self) -> str:
        """Digest of the sound of the whole set, wherever its files lie."""
        return hashlib.sha256("\n".join(self.pcm_sha256).encode()).hexdigest()


_COLUMNS = ("lines", "ids", "texts", "speakers", "seconds", "pcm_sha256", "_spans")


def open_clips(manifest: Manifest, folder: Path, key: str) -> Clips | None:
    """The cached clips under `key`, or None where there are none or they are damaged."""
    try:
        seal, _, content = (folder / f"{key}.index").read_bytes().partition(b"\n")
        if seal != _seal(content):
            return None
        index = json.loads(content)
        samples = _map(folder / f"{key}.f32", sum(index["lengths"]))
        if zlib.crc32(samples.data) != index["crc32"]:
            return None
    except (OSError, ValueError):
        return None
    lengths = index["lengths"]
    ends = tuple(accumulate(lengths))
    faults = tuple(Fault(line, message) for line, message in index["faults"])
    faulty = {fault.line for fault in faults}
    utterances = [utterance for utterance in manifest.utterances if utterance.line not in faulty]
    return Clips(
        lines=tuple(utterance.line for utterance in utterances),
        ids=tuple(utterance.id for utterance in utterances),
        texts=tuple(utterance.text for utterance in utterances),
        speakers=tuple(utterance.speaker for utterance in utterances),
        seconds=tuple(length / SAMPLE_RATE for length in lengths),
        pcm_sha256=tuple(index["pcm_sha256"]),
        notes=AudioNotes(**{name: tuple(lines) for name, lines in index["notes"].items()}),
        faults=faults,
        _samples=samples,
        _spans=tuple(zip((0, *ends), ends, strict=False)),
    )


def _map(path: Path, count: int) -> Samples:
    if path.stat().st_size != 4 * count:
        raise ValueError("the size is not that of the index")
    return (
        np.memmap(path, dtype="<f4", mode="r", shape=(count,)) if count else np.zeros(0, np.float32)
    )


def write_clips(clips: Iterable[Clip | Fault], folder: Path, key: str) -> None:
    """Store `clips`, or what is wrong in a clip's place, under `key`.

    An exception from the iterable, or a kill, leaves nothing under that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_dead(folder)
    lengths: list[int] = []
    hashes: list[str] = []
    faults: list[tuple[int, str]] = []
    notes = AudioNotes()
    crc = 0

    def write_samples(stream: IO[bytes]) -> None:
        nonlocal crc, notes
        for clip in clips:
            if isinstance(clip, Fault):
                faults.append((clip.line, clip.message))
                continue
            content = clip.samples.astype("<f4", copy=False).tobytes()
            stream.write(content)
            crc = zlib.crc32(content, crc)
            lengths.append(len(clip.samples))
            hashes.append(clip.pcm_sha256)
            notes += clip.notes

    with new_file(folder / f"{key}.f32") as aside, aside.open("wb") as stream:
        write_samples(stream)
    index: dict[str, Any] = {"lengths": lengths, "pcm_sha256": hashes, "faults": faults}
    index |= {"notes": asdict(notes), "crc32": crc}
    content = json.dumps(index).encode()
    with new_file(folder / f"{key}.index") as aside:
        aside.write_bytes(_seal(content) + b"\n" + content)


def _seal(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _columns(notes: AudioNotes) -> tuple[tuple[int, ...], ...]:
    return tuple(vars(notes).values())
