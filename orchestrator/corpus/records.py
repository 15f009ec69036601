"""The bytes of a manifest as JSON objects with line numbers: JSON lines, one JSON array, or tab-separated values.

Told apart by content, because NeMo calls its JSON lines `.json`. Lines end at b"\\n" alone: `str.splitlines` would
also cut at U+2028, which JSON allows inside a string.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from orchestrator.corpus.faults import Fault, UnusableError, show
from orchestrator.corpus.formats import AUDIO_KEYS, TEXT_KEYS

MAX_LINE_BYTES = 64 * 2**20
"""Far above ten minutes of inline samples, far below what exhausts memory."""

Record = tuple[int, dict[str, Any] | Fault]
"""Line number and what stands there."""

_BOM = b"\xef\xbb\xbf"
_MAY_OVERFLOW = re.compile(rb"[eE]\+?\d{3}|\d{200}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_SPACE = re.compile(r"[^ \t\n\r]")


class Hash(Protocol):
    """A hashlib object."""

    def update(self, data: bytes, /) -> None:
        """Take in the next bytes."""


def read_records(path: Path, content_hash: Hash) -> Iterator[Record]:
    """Yield a (line, object or Fault) pair for each non-blank line; every byte of the file goes through `content_hash`.

    One record is held at a time, so a manifest of inline samples may be larger than memory. Raises UnusableError where
    the file as a whole cannot be read as text.
    """
    lines = _lines(path, content_hash)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    number, line = first
    if line.startswith(b"\x1f\x8b"):
        raise UnusableError("is compressed (gzip); decompress it first")
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnusableError("is UTF-16; write it as UTF-8")
    if line.lstrip().startswith(b"["):
        yield from _array(number, line, lines)
    elif not line.lstrip().startswith(b"{") and b"\t" in line:
        yield from _tab_separated(number, line, lines)
    else:
        yield number, _json_line(number, line)
        yield from ((number, _json_line(number, line)) for number, line in lines if line.strip())


def _lines(path: Path, content_hash: Hash) -> Iterator[tuple[int, bytes]]:
    number = 0
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            content_hash.update(line)
            if len(line) > MAX_LINE_BYTES:
                rest = line
                while not rest.endswith(b"\n") and (rest := stream.readline(2**20)):
                    content_hash.update(rest)
            yield number, line.removeprefix(_BOM) if number == 1 else line


def _decoded(number: int, line: bytes) -> str | Fault:
    if len(line) > MAX_LINE_BYTES:
        limit = MAX_LINE_BYTES // 2**20
        return Fault(number, f"the line is longer than {limit} MB; keep the audio in a file and name it here")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(number, f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8")


def _json_line(number: int, line: bytes) -> dict[str, Any] | Fault:
    text = _decoded(number, line)
    if isinstance(text, Fault):
        return text
    text = text.rstrip("\r\n")
    try:
        value, end = _strict_decode(text, _after_space(text, 0), line)
    except UnusableError as error:
        torn = " (the line is cut off: it is the last one and has no newline)" if not line.endswith(b"\n") else ""
        return Fault(number, f"{error}{torn}")
    if rest := text[end:].strip():
        what = "a second object" if rest[0] in ",{" else f"more text, {show(rest[:20])},"
        return Fault(number, f"{what} follows the first on the same line; one JSON object a line")
    return _object(number, value)


def _after_space(text: str, position: int) -> int:
    match = _NOT_SPACE.search(text, position)
    return match.start() if match else len(text)


def _object(number: int, value: Any, where: str = "") -> dict[str, Any] | Fault:
    if isinstance(value, dict):
        return value
    return Fault(number, f"{where}expected a JSON object, found {show(value)}")


def _strict_decode(text: str, start: int, raw: bytes) -> tuple[Any, int]:
    """Decode one JSON value of `text` from `start`; `raw` is the same text, or more, as bytes.

    Python's decoder takes NaN, 1e999, repeated keys and lone surrogates; all are refused here. The slow number hook
    is used only where a number might overflow: inline samples are hundreds of thousands of floats a line.
    """
    decoder = _CAREFUL if _MAY_OVERFLOW.search(raw) else _FAST
    try:
        value, end = decoder.raw_decode(text, start)
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
    except UnusableError:
        raise
    except json.JSONDecodeError as error:
        raise UnusableError(f"not valid JSON at character {error.pos + 1}: {error.msg}") from error
    except UnicodeEncodeError as error:
        raise UnusableError("a \\u escape is half of a surrogate pair") from error
    except RecursionError as error:
        raise UnusableError("the JSON is nested too deeply") from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise UnusableError("a number has too many digits") from error
    return value, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise UnusableError(f"the key {show(repeated)} appears twice in one object")
    return record


def _constant(name: str) -> float:
    raise UnusableError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise UnusableError(f"the number {digits[:20]} is too large")
    return value


_FAST = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite)


def _array(number: int, first: bytes, lines: Iterator[tuple[int, bytes]]) -> Iterator[Record]:
    """One JSON array of objects, each reported at the line on which it starts."""
    raw = first + b"".join(line for _, line in lines)
    text = _decoded(number, raw)
    if isinstance(text, Fault):
        yield number, replace(text, ends_file=True)
        return
    position = text.index("[") + 1
    item = 0
    while True:
        position = _after_space(text, position)
        line = number + text.count("\n", 0, position)
        if text[position : position + 1] == "]":
            break
        item += 1
        try:
            value, position = _strict_decode(text, position, raw)
        except UnusableError as error:
            yield line, Fault(line, f"item {item}: {error}", ends_file=True)
            return
        yield line, _object(line, value, f"item {item}: ")
        position = _after_space(text, position)
        if text[position : position + 1] not in (",", "]"):
            line = number + text.count("\n", 0, position)
            yield line, Fault(line, f'"," or "]" is missing after item {item} of the JSON array', ends_file=True)
            return
        position += text[position] == ","
    if rest := text[position + 1 :].strip():
        yield line, Fault(line, f"more text, {show(rest[:20])}, follows the JSON array", ends_file=True)


def _tab_separated(number: int, line: bytes, lines: Iterator[tuple[int, bytes]]) -> Iterator[Record]:
    """`path<TAB>text`, or columns named by a first row such as Common Voice's `client_id path sentence ...`."""
    columns = _cells(number, line)
    if isinstance(columns, Fault) or not _is_header(columns):
        columns = ["audio_filepath", "text"]
        yield number, _row(number, line, columns)
    for number, line in lines:
        if line.strip():
            yield number, _row(number, line, columns)


def _is_header(cells: list[str]) -> bool:
    return bool(set(cells) & set(AUDIO_KEYS)) and bool(set(cells) & set(TEXT_KEYS)) and len(set(cells)) == len(cells)


def _cells(number: int, line: bytes) -> list[str] | Fault:
    text = _decoded(number, line)
    return text if isinstance(text, Fault) else text.rstrip("\r\n").split("\t")


def _row(number: int, line: bytes, columns: list[str]) -> dict[str, Any] | Fault:
    cells = _cells(number, line)
    if isinstance(cells, Fault):
        return cells
    if len(cells) != len(columns):
        wanted = "<TAB>".join(columns)
        return Fault(number, f"{len(cells)} tab-separated columns where {len(columns)} are expected ({wanted})")
    return {key: _number(key, cell) for key, cell in zip(columns, cells, strict=True) if cell}


def _number(column: str, cell: str) -> Any:
    if column not in ("duration", "seconds", "offset"):
        return cell
    try:
        return json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
