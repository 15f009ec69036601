"""Decoded sound on the disk, for all studies of a project: found again by its content. No torch.

A segment is two files. `<name>.pcm` holds clips one after the other, 16 kHz mono, unscaled: 16-bit
integers where those give the decoded float32 samples back bit for bit, else the float32 samples.
`<name>.index` has a row a clip under a SHA-256; the name is taken from it, so that two processes
that decode the same write the same file. The index is written last. Nothing is ever changed in a
segment: it is written whole, or removed whole. Each clip has a CRC-32 of its own, compared when it
is first read, so opening a cache reads the indexes alone, and clips stay on the disk.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.atomic import new_file
from orchestrator.corpus.samples import Samples
from orchestrator.names_aside import clear_dead

ROW = np.dtype(
    [
        *(("key", "V16"), ("pcm_sha256", "V32")),
        *(("start", "<i8"), ("samples", "<i8"), ("level", "<f8"), ("peak", "<f4")),
        *(("crc32", "<u4"), ("done", "u1"), ("integer", "u1")),
    ]
)
"""A clip: where it begins in the file, in bytes; its root mean square and largest absolute value
before scaling; what was done to it, a bit each of `DONE`; whether it is kept as integers."""

DONE = ("resampled", "mixed_down", "opposite", "mended", "offset")
"""What decoding may do to a clip, by the field of `AudioNotes`."""

SEGMENT_BYTES = 32_000_000
"""A segment is written once it holds as much; a longer clip has one of its own."""

_WRITING_SECONDS = 3600
"""Between the samples of a segment and its index less passes."""

_FULL_SCALE = np.float32(32768)
_MAGIC = b"clips 1\n"


@dataclass(frozen=True)
class Decoded:
    """One utterance decoded, before scaling, as it goes into the cache."""

    content: bytes
    """Its samples as they are kept."""
    integer: bool
    """Kept as integers."""
    pcm_sha256: bytes
    samples: int
    level: float
    """Root mean square."""
    peak: float
    """Largest absolute value."""
    done: int
    """Bits of `DONE`."""

    @classmethod
    def of(cls, samples: Samples, level: float, done: int) -> Decoded:
        """Of samples (n,) float32."""
        content, integer = _packed_samples(samples)
        sound = hashlib.sha256(samples.astype("<f4", copy=False).tobytes()).digest()
        peak = float(np.abs(samples).max(initial=0))
        return cls(content, integer, sound, len(samples), level, peak, done)


@dataclass(frozen=True)
class Segment:
    """A segment with its rows; its samples stay on the disk."""

    folder: Path
    name: str
    rows: npt.NDArray[Any]

    def content(self, row: int) -> npt.NDArray[np.uint8] | None:
        """The bytes of one clip; None where they are not what was written, or not there."""
        found = self.rows[row]
        size = int(found["samples"]) * (2 if found["integer"] else 4)
        try:
            content = np.fromfile(
                self.folder / f"{self.name}.pcm", np.uint8, size, offset=int(found["start"])
            )
        except OSError:
            return None
        whole = len(content) == size and zlib.crc32(content.data) == int(found["crc32"])
        return content if whole else None

    def samples(self, row: int) -> Samples | None:
        """Samples (n,) float32 of one clip, unscaled, as they were decoded; None as above."""
        content = self.content(row)
        if content is None or not self.rows[row]["integer"]:
            return None if content is None else content.view("<f4")
        samples: Samples = content.view("<i2").astype(np.float32)
        samples /= _FULL_SCALE
        return samples

    def forget(self) -> None:
        """Part of it is damaged: the next run makes all of it again; this one reads the rest."""
        (self.folder / f"{self.name}.index").unlink(missing_ok=True)

    def touch(self) -> None:
        """It is used now: of others, those that were used longest ago go first."""
        with suppress(OSError):
            os.utime(self.folder / f"{self.name}.index")


def find_clips(folder: Path) -> dict[bytes, tuple[Segment, int]]:
    """Every clip of a cache by its key; a damaged segment is removed."""
    found: dict[bytes, tuple[Segment, int]] = {}
    for name in sorted(path.stem for path in folder.glob("*.index") if path.is_file()):
        segment = _open_segment(folder, name)
        if segment is not None:
            keys = segment.rows["key"].tobytes()
            for row in range(len(segment.rows)):
                found[keys[16 * row : 16 * row + 16]] = segment, row
    return found


def _open_segment(folder: Path, name: str) -> Segment | None:
    try:
        segment = Segment(folder, name, _parse_index((folder / f"{name}.index").read_bytes(), name))
        size = (folder / f"{name}.pcm").stat().st_size
    except (FileNotFoundError, ValueError):
        # half of it is gone, or damaged
        remove_segment(folder, name)
        return None
    except OSError:
        return None  # not to be read now, which says nothing of what it holds
    if size != _bytes_of_samples(segment.rows):
        remove_segment(folder, name)
        return None
    return segment


def _bytes_of_samples(rows: npt.NDArray[Any]) -> int:
    """Bytes of the samples of a segment."""
    last = rows[-1]
    return int(last["start"]) + _padded_size(int(last["samples"]) * (2 if last["integer"] else 4))


def _padded_size(size: int) -> int:
    """Floats begin at multiples of their size."""
    return -(-size // 4) * 4


def _parse_index(index: bytes, name: str) -> npt.NDArray[Any]:
    content = index.removeprefix(_MAGIC)
    torn = len(content) == len(index) or len(content) % ROW.itemsize or not content
    if torn or _segment_name(content) != name:
        raise ValueError("the index is damaged")
    return np.frombuffer(content, ROW)


def _segment_name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def remove_segment(folder: Path, name: str) -> None:
    """Delete a segment, the index first: without it nothing looks for the samples."""
    for ending in ("index", "pcm"):
        with suppress(FileNotFoundError):
            (folder / f"{name}.{ending}").unlink()


def write_clips(clips: Iterable[tuple[bytes, Decoded]], folder: Path) -> None:
    """Store clips under their keys, a segment after the other.

    An exception from the iterable, or a kill, loses the segment that is not full yet. Raises
    OSError when the disk refuses.
    """
    clear_dead(folder)
    _clear_samples_alone(folder)
    open_segment = _OpenSegment(folder)
    for key, clip in clips:
        open_segment.add(key, clip)
        if open_segment.size >= SEGMENT_BYTES:
            open_segment.publish()
            open_segment = _OpenSegment(folder)
    open_segment.publish()


def _clear_samples_alone(folder: Path) -> None:
    """Remove samples without an index, which a killed writer left; not those of a live one, which
    writes its index at once.
    """
    for samples in folder.glob("*.pcm"):
        with suppress(OSError):
            old = time.time() - samples.stat().st_mtime > _WRITING_SECONDS
            if old and not samples.with_suffix(".index").exists():
                samples.unlink()


class _OpenSegment:
    """A segment that is gathered in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.size = folder, 0
        self._parts: list[bytes] = []
        self._rows: dict[bytes, tuple[object, ...]] = {}

    def add(self, key: bytes, clip: Decoded) -> None:
        if key in self._rows:
            return
        place = (self.size, clip.samples, clip.level, clip.peak)
        crc32 = zlib.crc32(clip.content)
        self._rows[key] = (key, clip.pcm_sha256, *place, crc32, clip.done, clip.integer)
        padded = clip.content.ljust(_padded_size(len(clip.content)), b"\0")
        self._parts.append(padded)
        self.size += len(padded)

    def publish(self) -> None:
        if not self._rows:
            return
        content = np.array(list(self._rows.values()), ROW).tobytes()
        name = _segment_name(content)
        with new_file(self.folder / f"{name}.pcm") as aside, aside.open("wb") as stream:
            stream.writelines(self._parts)
        with new_file(self.folder / f"{name}.index") as aside:
            aside.write_bytes(_MAGIC + content)


def _packed_samples(samples: Samples) -> tuple[bytes, bool]:
    """Samples as they are kept, and whether as integers: only where that loses no bit."""
    with np.errstate(invalid="ignore"):
        integers = (samples * _FULL_SCALE).astype("<i2")
    again = integers.astype(np.float32) / _FULL_SCALE
    # compared as bits: an integer cannot hold -0.0
    if np.array_equal(again.view(np.uint32), samples.view(np.uint32)):
        return integers.tobytes(), True
    return samples.astype("<f4", copy=False).tobytes(), False


@dataclass(frozen=True)
class Kept:
    """A segment as it lies there."""

    name: str
    size: int
    """Bytes of both files."""
    used: float
    """When it was last opened by a study, as `time.time` says it."""
    pcm_sha256: frozenset[str]
    """Of its clips."""


def kept_segments(folder: Path) -> list[Kept]:
    """The whole segments of a cache, those used longest ago first."""
    return sorted(_whole_segments(folder), key=lambda segment: (segment.used, segment.name))


def _whole_segments(folder: Path) -> Iterator[Kept]:
    for index in sorted(path for path in folder.glob("*.index") if path.is_file()):
        with suppress(OSError, ValueError):
            sounds = _parse_index(index.read_bytes(), index.stem)["pcm_sha256"]
            files = index.stat(), index.with_suffix(".pcm").stat()
            yield Kept(
                index.stem,
                sum(file.st_size for file in files),
                files[0].st_mtime,
                frozenset(sound.tobytes().hex() for sound in sounds),
            )


def evict_segments(folder: Path, limit_bytes: int, needed: Collection[str]) -> int:
    """Remove segments used longest ago until the others take at most `limit_bytes`; returns the
    bytes that are free now. `needed` are the names of those that stay whatever they take.
    """
    segments = kept_segments(folder)
    over, freed = sum(segment.size for segment in segments) - limit_bytes, 0
    for segment in segments:
        if freed >= over:
            break
        if segment.name not in needed:
            remove_segment(folder, segment.name)
            freed += segment.size
    return freed
