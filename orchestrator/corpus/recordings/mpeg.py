"""MP3 files whose first frame does not say how long they are, because they have no Xing frame or
are several files joined into one.

libsndfile believes the first frame, or takes all frames to be as large as it, and reads such files
short without an error, or takes them for cut off. So the frames are counted, and a Xing frame with
their number is put before them. Source: ISO/IEC 11172-3 and 13818-3; the Xing header as LAME writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_RATES = (44_100, 48_000, 32_000)
_KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of layer III in kbit/s by the header's four bits, for MPEG 1 and for MPEG 2 and 2.5."""
_HALVINGS = {3: 1, 2: 2, 0: 4}
"""What the sample rate is divided by, by the header's version bits: MPEG 1, 2 and 2.5."""
_HEADER = 4
_TAGS = 1024
"""Bytes by which a Xing header's size may differ from the file's, because tags are not counted."""


@dataclass(frozen=True)
class _Frame:
    """One frame of layer III, with its header."""

    data: bytes
    side: int
    """Size in bytes of the side information behind the header."""

    @property
    def info(self) -> bytes:
        """The content of a Xing header, from its flags on; empty where this is a frame of sound."""
        start = _HEADER + self.side
        return self.data[start + 4 :] if self.data[start : start + 4] in (b"Xing", b"Info") else b""


def is_mpeg(start: bytes) -> bool:
    """Whether a file that begins with `start` is MPEG audio, layer III."""
    return start.startswith(b"ID3") or _frame_size(start, 0) > 0


def with_length_header(data: bytes) -> bytes | None:
    """Return the same sound with a first frame that says how long it is; None where the file says
    so itself.
    """
    if data.startswith(b"fLaC", _behind_tag(data)):
        return None
    first = next(_whole_frames(data), None)
    if first is None or _says_all(first.info, len(data)):
        return None
    frames = list(_whole_frames(data))
    sound = [frame.data for frame in frames if not frame.info]
    declared = _declared_sizes(first.info)[0]
    # Without a count libsndfile computes the length from the size of the first frame. Even of a
    # constant bit rate that is not exact: frames differ by a byte of padding.
    known = declared > 0 and len(sound) <= declared + 1
    return None if known or not sound else _with_count(frames, sound)


def _says_all(info: bytes, size: int) -> bool:
    """Whether the byte count of a Xing header covers the whole file of `size` bytes, apart from
    tags.
    """
    return bool(info) and abs(size - _declared_sizes(info)[1]) <= _TAGS


def _declared_sizes(info: bytes) -> tuple[int, int]:
    """Return the numbers of frames and of bytes that a Xing header declares; 0 for one that it
    lacks.
    """
    if len(info) < 12:
        return 0, 0
    flags, first, second = struct.unpack(">III", info[:12])
    frames = first if flags & 1 else 0
    size = second if frames else first
    return frames, size if flags & 2 else 0


def _with_count(frames: list[_Frame], sound: list[bytes]) -> bytes:
    """Return the frames of sound behind a Xing frame that counts them."""
    # the Xing frame has the header, and so the size, of the largest frame, so that it has room
    largest = max(frames, key=lambda frame: len(frame.data))
    total = sum(map(len, sound)) + len(largest.data)
    told = (
        largest.data[:_HEADER]
        + bytes(largest.side)
        + b"Xing"
        + struct.pack(">III", 3, len(sound), total)
    )
    return told.ljust(len(largest.data), b"\0") + b"".join(sound)


def _whole_frames(data: bytes) -> Iterator[_Frame]:
    """Yield all whole frames; what lies between them, such as tags, is skipped."""
    place = _behind_tag(data)
    while 0 <= place <= len(data) - _HEADER:
        size = _frame_size(data, place)
        if size and place + size <= len(data) and _may_end_at(data, place + size):
            yield _Frame(
                data[place : place + size], _side_information_size(data[place + 1], data[place + 3])
            )
            place += size
        else:
            place = data.find(b"\xff", place + 1)


def _behind_tag(data: bytes) -> int:
    """Return the position behind an ID3v2 tag at the beginning; 0 where there is none."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    # the size is stored in four bytes of seven bits
    return 10 + sum(
        (byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True)
    )


def _may_end_at(data: bytes, place: int) -> bool:
    """Whether a frame may end at `place`: at the file's end, before a tag, another frame or padding
    of zeros.
    """
    rest = data[place : place + 3]
    return (
        len(rest) < 3
        or rest in (b"TAG", b"ID3", b"APE")
        or _frame_size(data, place) > 0
        or not any(rest)
    )


def _frame_size(data: bytes, place: int) -> int:
    """Return the size in bytes of the layer III frame whose header is at `place`; 0 where there is
    no frame header.
    """
    if len(data) < place + _HEADER or data[place] != 0xFF or data[place + 1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = (
        (data[place + 1] >> 3) & 3,
        data[place + 2] >> 4,
        (data[place + 2] >> 2) & 3,
    )
    if version == 1 or bits in (0, 15) or rate == 3:
        return 0
    kbits = _KBITS[1 if version == 3 else 2][bits]
    padding = (data[place + 2] >> 1) & 1
    return (144 if version == 3 else 72) * kbits * 1000 // (
        _RATES[rate] // _HALVINGS[version]
    ) + padding


def _side_information_size(version_byte: int, mode_byte: int) -> int:
    mono = mode_byte >> 6 == 3
    if (version_byte >> 3) & 3 == 3:
        return 17 if mono else 32
    return 9 if mono else 17
