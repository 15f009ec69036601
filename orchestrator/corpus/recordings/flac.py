"""FLAC files whose header does not say how long they are, as an encoder writes them into a pipe:
legal, but libsndfile takes them for endless. The last frame tells its position, so the length is
known, and is written into a copy of the file.

Source: RFC 9639, sections 8.2 (streaminfo), 9.1 (frame header) and 9.3 (frame footer).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

_STREAMINFO = slice(8, 42)
"""The bytes of a FLAC file in which its streaminfo block stands."""
_TOTAL = 21
"""The byte in whose lower half the 36-bit number of samples begins."""
_BEGINNING = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The marker of a file, and the header of its streaminfo block."""
_SIZES = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}
"""Samples in a block, by the block size bits of a frame header."""


_LOOKED_AT = 4
"""The number of frame headers of which one is that of the last frame, if the file is whole."""


def _crc16_of_byte(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1 ^ (0x8005 if value & 0x8000 else 0)) & 0xFFFF
    return value


_CRC16 = tuple(map(_crc16_of_byte, range(256)))


def says_length(start: bytes) -> bool:
    """Whether a FLAC file that begins with `start` says how many samples it holds."""
    return len(start) < _STREAMINFO.stop or bool(
        start[_TOTAL] & 0x0F or any(start[_TOTAL + 1 : _TOTAL + 5])
    )


def begins_again(data: bytes) -> bool:
    """Whether another FLAC file stands behind the beginning of this one."""
    return _BEGINNING.search(data, 1) is not None


def with_sample_count(data: bytes) -> bytes | None:
    """Return a copy of the file whose header has the number of samples; None where no frame can be
    found.
    """
    last = list(islice(_frames_from_behind(data), _LOOKED_AT))
    if not last:
        return None
    # sound within the last frame may look like a header; where the file is cut off, no frame is whole
    whole = (end for place, end in last if not _crc16(data[place:]))
    told = next(whole, last[0][1]).to_bytes(5, "big")
    count = bytes([data[_TOTAL] & 0xF0 | told[0] & 0x0F]) + told[1:]
    return data[:_TOTAL] + count + data[_TOTAL + 5 :]


def _frames_from_behind(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the position of each valid frame header, the last one first, with the number of samples up to the end of
    its frame.
    """
    place = data.rfind(b"\xff", _STREAMINFO.stop)
    while place > 0:
        if end := _samples_to_frame_end(data, place):
            yield place, end
        place = data.rfind(b"\xff", _STREAMINFO.stop, place)


def _samples_to_frame_end(data: bytes, place: int) -> int:
    """Return the number of samples up to the end of the frame whose header is at `place`; 0 where
    there is no frame header.
    """
    head = data[place : place + 16]
    # 15 bits of sync code; reserved values stand in no header
    if (
        len(head) < 6
        or head[1] & 0xFE != 0xF8
        or head[2] >> 4 == 0
        or head[2] & 15 == 15
        or head[3] & 1
    ):
        return 0
    # the number of the frame, or of its first sample
    number, used = _coded_number(head[4:])
    # block sizes 6 and 7 and rates 12 to 14 stand in 1 or 2 extra bytes behind the number
    extra = {6: 1, 7: 2}.get(head[2] >> 4, 0)
    at = 4 + used
    size = int.from_bytes(head[at : at + extra], "big") + 1 if extra else _SIZES[head[2] >> 4]
    at += extra + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if not used or at >= len(head) or _crc8(head[:at]) != head[at]:
        return 0
    # the block size of a stream in which all blocks but the last have one size
    whole = int.from_bytes(data[8:10], "big")
    # with variable block size the number counts samples, otherwise frames
    return (number if head[1] & 1 else number * whole) + size


def _coded_number(data: bytes) -> tuple[int, int]:
    """Decode a number of up to 36 bits in the scheme of UTF-8, and return it with the number of
    bytes it takes; 0 bytes where there is none.
    """
    first = data[0]
    if first < 0x80:
        return first, 1
    count = 8 - (~first & 0xFF).bit_length()
    rest = data[1:count]
    if not 2 <= count <= 7 or len(rest) < count - 1 or any(byte >> 6 != 2 for byte in rest):
        return 0, 0
    number = first & (0x7F >> count)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, count


def _crc16(data: bytes) -> int:
    """The CRC-16 of a frame, polynomial 0x8005; 0 where its own stands behind it."""
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFF) ^ _CRC16[value >> 8 ^ byte]
    return value


def _crc8(data: bytes) -> int:
    """The CRC-8 of a frame header, polynomial 0x07."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
