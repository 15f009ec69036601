"""Reading the records of a JSON manifest, however they are wrapped.

JSON lines, one object a line, are read as they come. Everything else is read whole: an array,
objects printed over several lines, and an object that holds the records: as a list (`{"data":
[...]}`), by id (`{"utt1": {...}}`), or as texts (`{"a.wav": "hello"}`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeGuard

from orchestrator.corpus.line_numbers import LineNumbers
from orchestrator.corpus.manifest_errors import Fault, UnusableError, show
from orchestrator.corpus.manifests.lines import Lines, Record, decoded_line
from orchestrator.corpus.manifests.record_fields import AUDIO_KEYS, ID_KEYS, TEXT_KEYS
from orchestrator.corpus.manifests.strict_json import NotJsonError, StrictDecoder
from orchestrator.corpus.manifests.toolkit_lists import refuse_toolkit_record
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES

_NOT_SPACE = re.compile(r"[^ \t\n\r]")
_PYTHON = "; it is Python's own form: write it with json.dumps"
_PYTHON_QUOTES = (b"{'", b"[{'")
_MOVE = "write that list into a file of its own"
_OF_A_RECORD = {
    *(*AUDIO_KEYS, *TEXT_KEYS, "recording", "supervisions", "shard_id", "_skipme"),
    "training_data",  # of the People's Speech
}
"""Keys that tell that an object is a record itself, and does not wrap records."""


def json_records(lines: Lines, path: Path) -> Iterator[Record]:
    """Yield the records of the JSON manifest `path`; `lines` begins with the first line that is not
    blank.
    """
    number, first = next(lines)
    rest = list(_up_to_text(lines))
    lines = chain(rest, lines)
    if _is_line(first, rest[-1][1] if rest else b""):
        yield from _object_lines(number, first, lines)
    else:
        yield from _Document([(number, first), *lines], path).records()


def _is_elsewhere(value: dict[str, Any]) -> bool:
    """Whether an object is no record itself, but contains something that might be the records."""
    return not set(value) & _OF_A_RECORD and any(
        isinstance(entry, list | dict) for entry in value.values()
    )


def _object_lines(number: int, first: bytes, lines: Lines) -> Iterator[Record]:
    """Yield one record a line. Raises UnusableError where several lines, all that there are, are no
    JSON: the file has another format.
    """
    held = [(number, _json_line(number, first))]
    every = ((number, _json_line(number, line)) for number, line in lines if line.strip())
    # hold faults back until a line can be read, which proves that the file is JSON lines
    while _is_no_json(held[-1][1]) and (record := next(every, None)):
        held.append(record)
    fault = held[0][1]
    if len(held) > 1 and _is_no_json(fault) and _is_no_json(held[-1][1]):
        raise UnusableError(
            f"is not JSON: none of its {len(held)} lines can be read; line {number} is {fault.message}"
            f"{_PYTHON if first.lstrip().startswith(_PYTHON_QUOTES) else ''}"
        )
    yield from held
    yield from every


def _is_no_json(record: dict[str, Any] | Fault) -> TypeGuard[Fault]:
    return isinstance(record, Fault) and record.message.startswith("not valid JSON")


def _up_to_text(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """Yield the lines up to the first one that is not blank."""
    for number, line in lines:
        yield number, line
        if line.strip():
            return


def _is_line(first: bytes, second: bytes) -> bool:
    """Whether the first line is one record, whole or damaged, and not the beginning of JSON that
    extends over several lines.
    """
    if first.lstrip().startswith(b"["):
        return False
    try:
        text = first.decode()
        value, _ = StrictDecoder(first).decode(text, _after_space(text, 0))
    except (UnicodeDecodeError, UnusableError):
        begins = first.rstrip().endswith((b"[", b":")) or first.strip() == b"{"
        return not begins and not second.lstrip().startswith((b'"', b"}", b"]"))
    return not isinstance(value, dict) or (wrapping(value) is None and not _is_elsewhere(value))


def wrapping(value: dict[str, Any]) -> Literal["list", "objects", "texts"] | None:
    """Return how an object wraps the records of a whole manifest; None where it is one record
    itself.
    """
    if not value or set(value) & _OF_A_RECORD:
        return None
    lists = [
        entry
        for entry in value.values()
        if isinstance(entry, list) and entry and isinstance(entry[0], dict)
    ]
    if len(lists) == 1:
        return "list"
    if all(isinstance(entry, dict) and set(entry) & _OF_A_RECORD for entry in value.values()):
        return "objects"
    named = all(
        isinstance(text, str) and key.lower().endswith(AUDIO_SUFFIXES)
        for key, text in value.items()
    )
    return "texts" if named else None


def _json_line(number: int, line: bytes) -> dict[str, Any] | Fault:
    """Decode one line of JSON lines to a record or a fault."""
    text = decoded_line(number, line)
    if isinstance(text, Fault):
        return text
    text = text.rstrip("\r\n")
    try:
        value, end = StrictDecoder(line).decode(text, _after_space(text, 0))
    except UnusableError as error:
        torn = (
            " (the line is cut off: it is the last one and has no newline)"
            if not line.endswith(b"\n")
            else ""
        )
        return Fault(number, f"{error}{torn}")
    rest = text[end:].strip()
    if rest and rest != ",":  # the lines of an array without its brackets
        what = "a second object" if rest[0] in ",{" else f"more text, {show(rest[:20])},"
        return Fault(number, f"{what} follows the first on the same line; one JSON object a line")
    return _object_or_fault(number, value)


class _Document:
    """JSON over several lines, held in memory whole. A record is reported at the line on which it
    begins.
    """

    def __init__(self, lines: Sequence[tuple[int, bytes]], path: Path) -> None:
        self.number, self.path = lines[0][0], path
        self._decode = StrictDecoder(b"".join(line for _, line in lines)).decode
        texts = [decoded_line(number, line) for number, line in lines]
        self._unread = next((text for text in texts if isinstance(text, Fault)), None)
        self.text = "".join(text for text in texts if isinstance(text, str))
        self._line_number = LineNumbers(self.text, self.number).line_of

    def records(self) -> Iterator[Record]:
        """Yield the records of one array, or of objects that follow one another."""
        if self._unread:
            yield self._unread.line, replace(self._unread, ends_file=True)
        elif self.text.lstrip().startswith("["):
            yield from self._records_in_array(self.text.index("["), alone=True)
        else:
            yield from self._objects_in_text(self.text)

    def _objects_in_text(self, text: str) -> Iterator[Record]:
        """Yield the records of objects that follow one another, with or without commas."""
        position = first = _after_space(text, 0)
        while position < len(text):
            start = position
            try:
                value, position = self._decode(text, start)
            except NotJsonError as error:
                yield self._torn_record(error.position, f"not valid JSON: {error.reason}")
                return
            except UnusableError as error:
                yield self._torn_record(start, str(error))
                return
            alone = start == first and not text[position:].strip()
            if (
                alone
                and isinstance(value, dict)
                and wrapping(value) is None
                and _is_elsewhere(value)
            ):
                refuse_toolkit_record(value, self.path)
                keys = ", ".join(map(show, list(value)[:6]))
                raise UnusableError(
                    f"is one JSON object of {keys}, none of which is the one list of utterances; {_MOVE}"
                )
            yield from self._records_in_object(start, value)
            position = _after_space(text, position)
            if text[position : position + 1] == ",":
                position = _after_space(text, position + 1)

    def _records_in_object(self, start: int, value: Any) -> Iterator[Record]:
        """Yield the records that one object wraps, or the object as a record."""
        kind = wrapping(value) if isinstance(value, dict) else None
        if kind is None:
            yield self._line_number(start), _object_or_fault(self._line_number(start), value)
            return
        for key, position, entry in self._key_value_pairs(start):
            if kind == "list" and isinstance(entry, list) and entry and isinstance(entry[0], dict):
                yield from self._records_in_array(position)
            elif kind == "objects":
                own = any(entry.get(name) is not None for name in ID_KEYS)
                yield self._line_number(position), entry if own else {"id": key} | entry
            elif kind == "texts":
                yield self._line_number(position), {"audio_filepath": key, "text": entry}

    def _key_value_pairs(self, start: int) -> Iterator[tuple[str, int, Any]]:
        """Yield each key of the object at `start`, which is known to be valid, with the position
        and the value of what it names.
        """
        text = self.text
        position = _after_space(text, start + 1)
        while text[position] != "}":
            key, position = self._decode(text, position)
            place = _after_space(text, _after_space(text, position) + 1)
            value, position = self._decode(text, place)
            yield key, place, value
            position = _after_space(text, position)
            if text[position] == ",":
                position = _after_space(text, position + 1)

    def _records_in_array(self, start: int, alone: bool = False) -> Iterator[Record]:
        """Yield the items of the array at `start`; with `alone`, nothing may follow it."""
        text, position, item, line = self.text, start + 1, 0, self.number
        while True:
            position = _after_space(text, position)
            line = self._line_number(position)
            if text[position : position + 1] == "]":
                break
            item += 1
            try:
                value, position = self._decode(text, position)
            except UnusableError as error:
                yield line, Fault(line, f"item {item}: {error}", ends_file=True)
                return
            yield line, _object_or_fault(line, value, f"item {item}: ")
            position = _after_space(text, position)
            if text[position : position + 1] not in (",", "]"):
                yield self._torn_record(
                    position, f'"," or "]" is missing after item {item} of the JSON array'
                )
                return
            position += text[position] == ","
        if alone and (rest := text[position + 1 :].strip()):
            yield (
                line,
                Fault(
                    line, f"more text, {show(rest[:20])}, follows the JSON array", ends_file=True
                ),
            )

    def _torn_record(self, position: int, message: str) -> Record:
        """A fault after which the rest of the file cannot be read."""
        line = self._line_number(position)
        return line, Fault(line, message, ends_file=True)


def _after_space(text: str, position: int) -> int:
    """Return the position of the next character that is not JSON whitespace."""
    match = _NOT_SPACE.search(text, position)
    return match.start() if match else len(text)


def _object_or_fault(number: int, value: Any, where: str = "") -> dict[str, Any] | Fault:
    if isinstance(value, dict):
        return value
    return Fault(number, f"{where}expected a JSON object, found {show(value)}")
