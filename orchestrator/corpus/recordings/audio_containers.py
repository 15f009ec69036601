"""Audio whose coding libsndfile reads, in containers from which it cannot read it: FLAC in Ogg, MP3
in WAV, BW64. The functions here take the coded stream out of the container as it is; nothing is
decoded.

Source: https://xiph.org/flac/ogg_mapping.html, RFC 3533; ITU-R BS.2088 for BW64.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from orchestrator.corpus.manifest_errors import UnusableError

_OGG_FLAC = b"\x7fFLAC"
_BEGINS = 2
"""The flag of an Ogg page with which a stream begins."""
_STREAMINFO = slice(9, 51)
"""The part of the first Ogg packet that is the first 42 bytes of a native FLAC file."""
_MP3 = 0x55
"""The format tag of a WAV that holds MP3."""
_EXTENSIBLE = 0xFFFE
"""The format tag of a WAV whose actual tag stands in the extension of its `fmt ` chunk."""
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
"""What writers into a pipe put in the place of a chunk's size."""


def is_ogg_flac(start: bytes) -> bool:
    """Whether an Ogg file that begins with `start` holds FLAC."""
    return start[28:33] == _OGG_FLAC and start[26:27] == b"\x01"


def flac_in_ogg(data: bytes) -> bytes | None:
    """Return the native FLAC file that an Ogg file of one stream holds; None where it holds several
    streams.
    """
    packets = _packets(data)
    if packets is None or len(packets[0]) < _STREAMINFO.stop:
        return None
    return packets[0][_STREAMINFO] + b"".join(packets[1:])


def is_chained_ogg(data: bytes) -> bool:
    """Whether a stream begins after pages of another one (chaining, RFC 3533, section 4). The
    multiplexed streams of a film, in contrast, all begin at its start.
    """
    sound = False
    for flags, *_ in _pages(data):
        begins = bool(flags & _BEGINS)
        if begins and sound:
            return True
        sound = sound or not begins
    return False


def _packets(data: bytes) -> list[bytes] | None:
    """Return all whole packets of an Ogg file of one stream; None where it has several streams."""
    packets: list[bytes] = []
    begun: list[bytes] = []
    serials = set()
    for _, serial, table, body in _pages(data):
        serials.add(serial)
        place = 0
        for size in table:
            begun.append(body[place : place + size])
            place += size
            # a segment of 255 bytes continues in the next one, possibly on the next page (RFC 3533,
            # section 5)
            if size < 255:  # the last segment of a packet
                packets.append(b"".join(begun))
                begun.clear()
    return packets if packets and len(serials) == 1 else None


def _pages(data: bytes) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yield, of each Ogg page: its flags, the serial number of its stream, the sizes of its
    segments (one byte each), and the segments.
    """
    place = 0
    while data.startswith(b"OggS", place) and len(data) >= place + 27:
        table = data[place + 27 : place + 27 + data[place + 26]]
        begin = place + 27 + len(table)
        end = begin + sum(table)
        yield data[place + 5], data[place + 14 : place + 18], table, data[begin:end]
        place = end


def wave_coding(start: bytes) -> int | None:
    """Return the format tag of a WAV file that begins with `start`; None where it is no WAV, or its
    `fmt ` chunk comes later.
    """
    if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:12] != b"WAVE":
        return None
    for name, place, size in _chunks(start):
        if name == b"fmt " and len(start) >= place + 16:
            (tag,) = struct.unpack_from("<H", start, place)
            if tag == _EXTENSIBLE and size >= 26 and len(start) >= place + 26:
                (tag,) = struct.unpack_from("<H", start, place + 24)
            return int(tag)
    return None


def is_mp3_in_wave(start: bytes) -> bool:
    """Whether a file that begins with `start` is a WAV that holds MP3."""
    return wave_coding(start) == _MP3


def mp3_in_wave(data: bytes, name: str) -> bytes:
    """Return the MP3 stream of a WAV file. Raises UnusableError where it is cut off."""
    for chunk, place, size in _chunks(data):
        if chunk == b"data":
            found = data[place:] if size in _UNKNOWN_SIZES else data[place : place + size]
            if size not in _UNKNOWN_SIZES and len(found) < size:
                raise UnusableError(
                    f"{name} is cut off: its header promises {size} bytes of MP3, {len(found)} "
                    "are there"
                )
            return found
    raise UnusableError(f"{name} holds no audio (a WAV without a data chunk)")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk of a WAV file, the position of its content, and its size."""
    place = 12
    while len(data) >= place + 8:
        (size,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], place + 8, size
        place += 8 + size + size % 2


def bw64_as_rf64(data: bytes) -> bytes:
    """Return the file relabelled as RF64, the older form of BW64, whose chunks have the same
    layout.
    """
    return b"RF64" + data[4:]
