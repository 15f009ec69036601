"""FLAC files that do not say how long they are, as an encoder writes them into a pipe: legal, but
libsndfile takes them for endless. The last frame says where it stands, so the length is known, and
is written into a copy.

Source: RFC 9639, sections 8.2 (streaminfo) and 9.1 (frame header).
"""

from __future__ import annotations

_STREAMINFO = slice(8, 42)
_TOTAL = 21
"""Where the 36 bits of the number of samples begin, in the lower half of this byte."""
_SIZES = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}


def says_length(start: bytes) -> bool:
    """Whether a FLAC file that begins so tells how many samples it holds."""
    return len(start) < _STREAMINFO.stop or bool(
        start[_TOTAL] & 0x0F or any(start[_TOTAL + 1 : _TOTAL + 5])
    )


def with_sample_count(data: bytes) -> bytes | None:
    """The same file with its number of samples; None where no frame can be found."""
    place = data.rfind(b"\xff", _STREAMINFO.stop)
    while place > 0:
        if end := _samples_to_frame_end(data, place):
            told = end.to_bytes(5, "big")
            return (
                data[:_TOTAL]
                + bytes([data[_TOTAL] & 0xF0 | told[0] & 0x0F])
                + told[1:]
                + data[_TOTAL + 5 :]
            )
        place = data.rfind(b"\xff", _STREAMINFO.stop, place)
    return None


def _samples_to_frame_end(data: bytes, place: int) -> int:
    """Samples up to the end of the frame whose header stands there; 0 where none does."""
    head = data[place : place + 16]
    if (
        len(head) < 6
        or head[1] & 0xFE != 0xF8
        or head[2] >> 4 == 0
        or head[2] & 15 == 15
        or head[3] & 1
    ):
        return 0
    number, used = _coded_number(head[4:])
    extra = {6: 1, 7: 2}.get(head[2] >> 4, 0)
    at = 4 + used
    size = int.from_bytes(head[at : at + extra], "big") + 1 if extra else _SIZES[head[2] >> 4]
    at += extra + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if not used or at >= len(head) or _crc8(head[:at]) != head[at]:
        return 0
    whole = int.from_bytes(data[8:10], "big")  # of the frames before, where all are of one size
    return (number if head[1] & 1 else number * whole) + size


def _coded_number(data: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 codes them, up to 36 bits, and the bytes it takes; 0 bytes where none
    stands there.
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


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
