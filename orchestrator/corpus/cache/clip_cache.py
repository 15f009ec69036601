"""The cache of decoded sound on the disk, shared by all studies of a project; clips are found by
their content. No torch.

A segment is two files. `<name>.pcm` holds clips one after the other, 16 kHz mono, not scaled: as
16-bit integers where those give the decoded float32 samples back bit for bit, else as the float32
samples. `<name>.index` has one row (`ROW`) for each clip. The name is the SHA-256 of the rows, so
that two processes that decode the same clips write the same file. The index is written last. A
segment is never changed: it is written whole, or removed whole. Each clip has a CRC-32 of its own,
which is checked when the clip is read; so opening a cache reads the indexes alone, and clips stay
on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.corpus.samples import Samples
from orchestrator.errors import StudyError
from orchestrator.files.atomic import ADVICE, new_file
from orchestrator.files.names_aside import clear_dead

ROW = np.dtype(
    [
        *(("key", "V16"), ("pcm_sha256", "V32")),
        *(("start", "<i8"), ("samples", "<i8"), ("level", "<f8"), ("peak", "<f4")),
        *(("crc32", "<u4"), ("done", "u1"), ("integer", "u1")),
    ]
)
"""The index row of one clip: `start` is where it begins in the .pcm file, in bytes; `level` and
`peak` are its root mean square and largest absolute value before scaling; `done` has one bit for
each name in `DONE`; `integer` says whether it is stored as 16-bit integers.
"""

DONE = ("resampled", "mixed_down", "opposite", "mended", "offset")
"""What decoding may do to a clip, by the names of the fields of `AudioNotes`; bit i of a row's
`done` is the i-th name.
"""

SEGMENT_BYTES = 32_000_000
"""The size from which on a segment is written and the next one begun; a clip longer than this has a
segment of its own.
"""

_WRITING_SECONDS = 3600
"""The age at which a .pcm file without an index is taken to be left by a killed writer: a live one
writes the index sooner.
"""

_FULL_SCALE = np.float32(32768)
_MAGIC = b"clips 1\n"


@dataclass(frozen=True)
class Decoded:
    """One utterance decoded, before scaling, as it goes into the cache."""

    content: bytes
    """The samples as they are stored, 16-bit integers or float32."""
    integer: bool
    """Whether `content` is 16-bit integers."""
    pcm_sha256: bytes
    """SHA-256 of the float32 samples, little-endian."""
    samples: int
    level: float
    """Root mean square of the samples."""
    peak: float
    """Largest absolute value of the samples."""
    done: int
    """What decoding did: one bit for each name in `DONE`."""

    @classmethod
    def of(cls, samples: Samples, level: float, done: int) -> Decoded:
        """Make the cache entry of decoded samples of shape (n,), float32."""
        content, integer = _packed_samples(samples)
        sound = hashlib.sha256(samples.astype("<f4", copy=False).tobytes()).digest()
        peak = float(np.abs(samples).max(initial=0))
        return cls(content, integer, sound, len(samples), level, peak, done)


@dataclass(frozen=True)
class CacheSegment:
    """An open segment: its index rows are in memory, its samples stay on the disk."""

    folder: Path
    name: str
    rows: npt.NDArray[Any]

    def content(self, row: int) -> npt.NDArray[np.uint8] | None:
        """Read the stored bytes of one clip; None where they are missing or do not match their
        CRC-32. Raises OSError where the file cannot be read at present.
        """
        found = self.rows[row]
        size = int(found["samples"]) * (2 if found["integer"] else 4)
        try:
            content = np.fromfile(
                self.folder / f"{self.name}.pcm", np.uint8, size, offset=int(found["start"])
            )
        except FileNotFoundError:
            return None
        whole = len(content) == size and zlib.crc32(content.data) == int(found["crc32"])
        return content if whole else None

    def samples(self, row: int) -> Samples | None:
        """Read one clip as it was decoded: shape (n,), float32, not scaled. None where it is
        missing or damaged. Raises OSError where it cannot be read at present.
        """
        content = self.content(row)
        if content is None or not self.rows[row]["integer"]:
            return None if content is None else content.view("<f4")
        samples: Samples = content.view("<i2").astype(np.float32)
        samples /= _FULL_SCALE
        return samples

    def forget(self) -> None:
        """Delete the index, because a clip is damaged or gone: the next run decodes the whole segment
        anew, and this one still reads the clips that are intact.
        """
        (self.folder / f"{self.name}.index").unlink(missing_ok=True)

    def touch(self) -> None:
        """Record that the segment is in use: eviction removes those that were used longest ago
        first.
        """
        with suppress(OSError):
            os.utime(self.folder / f"{self.name}.index")


def find_clips(folder: Path) -> dict[bytes, tuple[CacheSegment, int]]:
    """Return where every clip of a cache is, by its 16-byte key: the segment and the row in it. A
    damaged segment is removed.
    """
    found: dict[bytes, tuple[CacheSegment, int]] = {}
    for name in sorted(path.stem for path in folder.glob("*.index") if path.is_file()):
        segment = _open_segment(folder, name)
        if segment is not None:
            keys = segment.rows["key"].tobytes()
            for row in range(len(segment.rows)):
                found[keys[16 * row : 16 * row + 16]] = segment, row
    return found


def _open_segment(folder: Path, name: str) -> CacheSegment | None:
    try:
        segment = CacheSegment(
            folder, name, _parse_index((folder / f"{name}.index").read_bytes(), name)
        )
        size = (folder / f"{name}.pcm").stat().st_size
        if size == _bytes_of_samples(segment.rows):
            return segment
    except (FileNotFoundError, ValueError):
        pass  # one of its two files is gone, or the index is damaged
    except OSError:
        return None  # not readable at present, which says nothing about the content
    with suppress(OSError):  # who may not remove it is told when its clips are written anew
        remove_segment(folder, name)
    return None


def _bytes_of_samples(rows: npt.NDArray[Any]) -> int:
    """Return the size in bytes that the .pcm file of a segment must have."""
    last = rows[-1]
    return int(last["start"]) + _padded_size(int(last["samples"]) * (2 if last["integer"] else 4))


def _padded_size(size: int) -> int:
    """Round up to a multiple of 4 bytes, so that float32 clips begin at an aligned position."""
    return -(-size // 4) * 4


def _parse_index(index: bytes, name: str) -> npt.NDArray[Any]:
    """Return the rows of an index file. Raises ValueError where it is torn, or its content does not
    match its name.
    """
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
    """Store clips under their 16-byte keys, one segment after the other.

    An exception from the iterable, or a kill, loses the segment that is not full yet. Raises
    StudyError where this process may not write there, OSError where the disk is full.
    """
    with _allowed(folder):
        clear_dead(folder)
        _clear_samples_alone(folder)
    open_segment = _OpenSegment(folder)
    for key, clip in clips:
        open_segment.add(key, clip)
        if open_segment.size >= SEGMENT_BYTES:
            open_segment.publish()
            open_segment = _OpenSegment(folder)
    open_segment.publish()


@contextmanager
def _allowed(folder: Path) -> Iterator[None]:
    """Raise StudyError where the system lets nobody, or not this user, change the cache. It names
    the folder, which is what can be mended: the file may not exist.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise StudyError(
            f"{folder} could not be written: {error.strerror}\n  {ADVICE[error.errno]}"
        ) from error


def _clear_samples_alone(folder: Path) -> None:
    """Remove .pcm files without an index, which a killed writer left; not those of a live writer,
    which writes its index soon after.
    """
    for samples in folder.glob("*.pcm"):
        with suppress(OSError):
            old = time.time() - samples.stat().st_mtime > _WRITING_SECONDS
            if old and not samples.with_suffix(".index").exists():
                samples.unlink()


class _OpenSegment:
    """A segment that is being collected in memory."""

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
        """Write the samples, then the index. Nothing is written where there is no clip."""
        if not self._rows:
            return
        content = np.array(list(self._rows.values()), ROW).tobytes()
        name = _segment_name(content)
        with _allowed(self.folder):
            with new_file(self.folder / f"{name}.pcm") as aside, aside.open("wb") as stream:
                stream.writelines(self._parts)
            with new_file(self.folder / f"{name}.index") as aside:
                aside.write_bytes(_MAGIC + content)


def _packed_samples(samples: Samples) -> tuple[bytes, bool]:
    """Encode samples for the cache, and say whether as 16-bit integers, which are used only where
    they lose no bit.
    """
    # float32 samples that were decoded from 16-bit audio are exact multiples of 1 / 32768
    with np.errstate(invalid="ignore"):
        integers = (samples * _FULL_SCALE).astype("<i2")
    again = integers.astype(np.float32) / _FULL_SCALE
    # compared as bits, because -0.0 equals 0.0 but does not survive the conversion to an integer
    if np.array_equal(again.view(np.uint32), samples.view(np.uint32)):
        return integers.tobytes(), True
    return samples.astype("<f4", copy=False).tobytes(), False


@dataclass(frozen=True)
class Kept:
    """A whole segment on the disk, as eviction sees it."""

    name: str
    size: int
    """Bytes of both files."""
    used: float
    """When a study last opened it, in seconds as `time.time` has them."""
    pcm_sha256: frozenset[str]
    """The hashes of its clips' samples, hexadecimal."""


def kept_segments(folder: Path) -> list[Kept]:
    """The whole segments of a cache, those that were used longest ago first."""
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
    """Remove the segments that were used longest ago until the others take at most `limit_bytes`,
    and return the number of bytes freed. Segments named in `needed` stay, however much they take.
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
