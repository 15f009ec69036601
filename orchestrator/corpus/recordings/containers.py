"""Opening an audio file in a form that libsndfile reads completely, and refusing cut-off Ogg files,
which it would read without an error.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.recordings import audio_containers, flac, mpeg

_START = 1024
"""The number of leading bytes by which the kind of a file is recognised; the header of a NIST
SPHERE file has as many.
"""
_PAGE = 27 + 255 + 255 * 255
"""Size in bytes of the largest possible Ogg page."""
_JOINED_FLAC = ("FLAC", "sox ONE.flac TWO.flac OUT.flac")
_JOINED_OGG = ("Ogg", "ffmpeg -i IN.ogg OUT.flac")
"""The kind of a file in which several are joined, and the command that joins their sound."""


@dataclass(frozen=True)
class Opened:
    """What soundfile can open: a path or a stream."""

    source: bytes | str | io.BytesIO
    mended: bool = False
    """Whether the file's own header does not say how long it is; the stream's header does."""


def open_audio(source: Path | bytes, name: str) -> Opened:
    """Return an audio file, or the bytes of one, in a form that soundfile can open. Raises
    UnusableError where it is cut off or several Ogg files are joined, and OSError.
    """
    start = beginning(source)
    if start.startswith(b"OggS"):
        _check_end(source, name)
    if (taken_out := _taken_out(source, start, name)) is not None:
        source = taken_out
    if (data := _mended(source)) is not None:
        return Opened(io.BytesIO(data), mended=True)
    return Opened(io.BytesIO(source) if isinstance(source, bytes) else sound_file(source))


def _mended(source: Path | bytes) -> bytes | None:
    """Return the content of a file whose header does not say how long it is with one that does;
    None for any other file.
    """
    start = beginning(source)
    if not mpeg.is_mpeg(start) and (not start.startswith(b"fLaC") or flac.says_length(start)):
        return None
    if isinstance(source, bytes):
        return _with_length(source)
    state = source.stat()
    return _file_with_length(source, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _file_with_length(path: Path, changed: int, size: int) -> bytes | None:
    """Return `_with_length` of a file in the state that its time of change and size stand for. Kept
    for the next segment of a long recording, whose frames would be counted again for each.
    """
    return _with_length(_read_part(path, 0))


def _with_length(data: bytes) -> bytes | None:
    is_flac = data.startswith(b"fLaC")
    return flac.with_sample_count(data) if is_flac else mpeg.with_length_header(data)


def _taken_out(source: Path | bytes, start: bytes, name: str) -> bytes | None:
    """Return the audio stream of a container that libsndfile cannot read; None for any
    other file.
    """
    if start.startswith(b"OggS") and audio_containers.is_ogg_flac(start):
        return audio_containers.flac_in_ogg(_read_part(source, 0))
    if audio_containers.is_mp3_in_wave(start):
        return audio_containers.mp3_in_wave(_read_part(source, 0), name)
    if start.startswith(b"BW64"):
        return audio_containers.bw64_as_rf64(_read_part(source, 0))
    return None


def beginning(source: Path | bytes) -> bytes:
    """Return the first bytes, by which the kind of a file is recognised. Raises OSError."""
    return _read_part(source, 0, _START)


def whole_content(source: Path | bytes) -> bytes:
    """Return all bytes of a file. Raises OSError."""
    return _read_part(source, 0)


def is_joined(source: Path | bytes) -> bool:
    """Whether a WAV or AIFF file is followed by another one in the same file. Raises OSError."""
    start = beginning(source)
    order: Literal["little", "big"] = "little" if start.startswith(b"RIFF") else "big"
    size = int.from_bytes(start[4:8], order)
    behind = _read_part(source, 8 + size + size % 2, 4)
    return start[:4] in (b"RIFF", b"FORM") and behind == start[:4]


def refuse_joined(source: Path | bytes, name: str) -> None:
    """Raise UnusableError where a FLAC or Ogg file is followed by another one in the same file, of which nothing would
    be heard. All of it is read for this, so it is done only where the sound is decoded. Raises OSError.
    """
    start = beginning(source)
    if not start.startswith((b"fLaC", b"OggS")):
        return
    if isinstance(source, bytes):
        joined = _holds_another(source)
    else:
        state = source.stat()
        joined = _file_holds_another(source, state.st_mtime_ns, state.st_size)
    if joined:
        kind, cure = _JOINED_FLAC if start.startswith(b"fLaC") else _JOINED_OGG
        raise UnusableError(
            f"{name} is several {kind} files joined into one, of which only the first would be heard; join their sound "
            f"({cure}) and name that"
        )


@lru_cache(maxsize=65_536)
def _file_holds_another(path: Path, changed: int, size: int) -> bool:
    """Do as `_holds_another` does, for a file in the state that its time of change and size stand for. Kept for the
    other segments of a long recording, among which those of others come in a shuffled manifest.
    """
    return _holds_another(_read_part(path, 0))


def _holds_another(data: bytes) -> bool:
    is_flac = data.startswith(b"fLaC")
    return flac.begins_again(data) if is_flac else audio_containers.is_chained_ogg(data)


def only_zeros(source: Path | bytes, start: int) -> bool:
    """Whether there are only zeros from `start` on, as in padding at the end of a file. Raises
    OSError.
    """
    while part := _read_part(source, start, 2**20):
        if any(part):
            return False
        start += len(part)
    return True


def sound_file(path: Path) -> bytes | str:
    """Return a path as soundfile can open it even where the locale is C and the name is
    not ASCII.
    """
    return os.fsencode(path) if os.name == "posix" else str(path)


def _read_part(source: Path | bytes, start: int, size: int = -1) -> bytes:
    """Return `size` bytes from `start` on (-1: all), where a negative `start` counts from
    the end.
    """
    if isinstance(source, bytes):
        begin = max(0, len(source) + start) if start < 0 else start
        return source[begin:] if size < 0 else source[begin : begin + size]
    with source.open("rb") as stream:
        whole = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, whole + start) if start < 0 else start)
        return stream.read(size)


def _check_end(source: Path | bytes, name: str) -> None:
    """Raise UnusableError unless the last Ogg page is whole, is marked as the end of its stream,
    and belongs to the stream that the first page begins. libsndfile would read a cut-off file as
    shorter sound, and of chained streams only the first.
    """
    data = _read_part(source, -2 * _PAGE)
    place = data.rfind(b"OggS")
    page = data[place:]
    sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(sizes) == page[26] and len(page) >= 27 + len(sizes) + sum(sizes)
    if place < 0 or not whole or not page[5] & 4:
        raise UnusableError(
            f"{name} is cut off: its last Ogg page is not the end of the stream; copy it again, or where that is all "
            "there is, convert it to FLAC (ffmpeg -i IN.ogg OUT.flac) and name that"
        )
    # bytes 14 to 17 of a page are the serial number of its stream
    if page[14:18] != beginning(source)[14:18]:
        refuse_joined(source, name)
