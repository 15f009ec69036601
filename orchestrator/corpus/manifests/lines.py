"""Reading the numbered lines of a text file, gzip or not, while every byte of the file goes through
a hash.

Lines end at b"\\n" alone: `str.splitlines` would also cut at U+2028, which JSON allows inside a
string.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8, Fault, UnusableError

MAX_LINE_BYTES = 64 * 2**20
"""The longest line that is read: far above ten minutes of inline samples, far below what exhausts
memory.
"""

Lines = Iterator[tuple[int, bytes]]
"""Line numbers, from 1, and the lines with their line ends."""

Record = tuple[int, dict[str, Any] | Fault]
"""The number of the line on which a record begins, and the record, or the fault that makes it
unreadable.
"""

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"


class Hash(Protocol):
    """The interface of a hashlib object that is used here."""

    def update(self, data: bytes, /) -> None:
        """Take in the next bytes."""


class _Hashed(io.RawIOBase):
    """A binary file whose bytes are hashed as they are read, before any decompression."""

    def __init__(self, raw: IO[bytes], content_hash: Hash) -> None:
        self._raw, self._hash = raw, content_hash

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)


def read_lines(path: Path, content_hash: Hash) -> Lines:
    """Yield all lines of a file; of one that is too long, only the beginning, which `decoded_line`
    refuses. Raises UnusableError for damaged gzip data.
    """
    with path.open("rb") as raw:
        stream = io.BufferedReader(_Hashed(raw, content_hash), 2**16)
        compressed = stream.peek(2).startswith(_GZIP)
        try:
            yield from _cut_lines(gzip.GzipFile(fileobj=stream) if compressed else stream)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnusableError(
                f"is compressed (gzip) and damaged: {error}; compress it again"
            ) from error


def _cut_lines(stream: Any) -> Lines:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            rest = line
            while not rest.endswith(b"\n") and (rest := stream.readline(2**20)):
                pass
        yield number, line.removeprefix(_BOM) if number == 1 else line


def decoded_line(number: int, line: bytes) -> str | Fault:
    """Decode a line as UTF-8, or return the fault that it is too long or no UTF-8."""
    if len(line) > MAX_LINE_BYTES:
        limit = MAX_LINE_BYTES // 2**20
        return Fault(
            number,
            f"the line is longer than {limit} MB; "
            "write each utterance in a line of its own, with its audio in a file",
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(
            number,
            f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8; {SAVE_AS_UTF8}",
        )
