"""A table of the parts of one recording, whose first row names begin, end and text, as programs for
transcribing export it and CORAAL has it. Pure.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.corpus.channel_names import channel_keys
from orchestrator.corpus.importing.own_names import stem_of_name
from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.word_level import refuse_words
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.missing_values import names_somebody, without_fraction
from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    SPEAKER_KEYS,
    TEXT_KEYS,
)
from orchestrator.corpus.manifests.table_cells import column_name, without_quotes
from orchestrator.corpus.manifests.unread_times import span_in_seconds, span_keys

_LONG = 100.0
"""Seconds; a part that lasts as long in whole numbers is more likely to be told in milliseconds."""
_TIME = re.compile(r"\d[\d:.,]*")
_SEPARATORS = ("\t", "|", ";", ",")
_CORAAL = {"StTime": "start_time", "EnTime": "end_time", "Content": "text", "Spkr": "speaker"}
_TEXTS = ("utterance", "content", "dialogue", "message")
"""What a column of words is called too, where the others have times and speakers."""


class OtherRecordingsError(UnusableError):
    """A table tells the parts of other recordings than that it has the name of."""


def parts_of_table(text: str, stem: str) -> list[Segment] | None:
    """Return every part of the recording `stem` that a table tells; None for another text, or for a table
    without tabs that has no number at all where times would stand. Raises UnusableError where a row cannot be read, and
    OtherRecordingsError where the rows are of other recordings.
    """
    rows = text.replace("\r\n", "\n").replace("\r", "\n")
    first = rows.lstrip("\ufeff\n").partition("\n")[0]
    typed = first.count(";") > first.count("\t") > 0
    for separator in _SEPARATORS[: 1 if typed else None]:
        names = [_column(cell) for cell in first.split(separator)]
        columns = _Columns.of(names)
        if len(names) > 2 and columns is not None:
            told = list(_rows(rows, separator, names))
            if told and separator != "\t" and not any(columns.has_numbers(row) for _, row in told):
                continue
            found = [part for line, row in told for part in _part(line, row, columns)]
            named = (part.recording for part in found if part.recording)
            other = next((name for name in named if stem_of_name(name) != stem.casefold()), None)
            if other is not None:
                raise OtherRecordingsError(
                    f"is a table of other recordings, such as {show(other)}; put the rows of each under its "
                    "own name beside it"
                )
            refuse_words(found, "a table")
            return found
    return None


def _column(cell: str) -> str:
    """Return the name of a column; in tables of the LDC (.tdf) a type stands behind it: `start;float`."""
    name = re.sub(r";(?:unicode|float|int)$", "", cell.strip())
    return _CORAAL.get(name, column_name(name))


class _Columns:
    """The names of the columns in which the times, the words, the speaker, the recording and the channel stand."""

    def __init__(self, times: tuple[str, str], text: str, names: Sequence[str]) -> None:
        self.times, self.text = times, text
        self.speaker = next((key for key in SPEAKER_KEYS if key in names), "")
        self.recording = next((key for key in AUDIO_KEYS if key in names), "")
        self.channel = next(iter(key for key in names if channel_keys({key: "1"})), "")

    @classmethod
    def of(cls, names: Sequence[str]) -> _Columns | None:
        plain = {name.lower(): name for name in names}
        text = next((plain[key] for key in (*TEXT_KEYS, *_TEXTS) if key in plain), None)
        times = span_keys(names)
        return None if text is None or times is None else cls(times, text, names)

    def has_numbers(self, row: Mapping[str, str]) -> bool:
        """Whether the cells of a row that should be times have a digit."""
        return any(re.search(r"\d", row.get(name, "")) for name in self.times)


def _rows(rows: str, separator: str, names: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows below the first one, each with the line in which it begins."""
    lines = [f"{line}\n" for line in rows.split("\n")]  # one within quotes is a space
    if separator in ",;":
        reader = csv.reader(lines, delimiter=separator, strict=True)
    else:  # a quote is a quote
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    begins, seen_first = 1, False
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells) and not cells[0].startswith(";;"):
                row = _row(begins, cells, names, separator)
                if any(_takes_in_rows(cell, separator) for cell in cells):
                    raise UnusableError(
                        f"is a table of parts, and a quote in the row that begins in line {begins} takes in the next "
                        "rows; where it is a part of the text, write the text in quotes and each quote in it twice"
                    )
                if seen_first:
                    yield begins, row
                seen_first = True
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UnusableError(
            f"is a table of parts, and the row that begins in line {begins} cannot be read: {error}; write it again"
        ) from error


def _takes_in_rows(cell: str, separator: str) -> bool:
    """Whether a line of a cell behind its first has two times between separators, as a row has. Numbers that are said,
    as in `1, 2, 3`, have spaces between them.
    """
    lines = (line.split(separator) for line in cell.split("\n")[1:])
    return any(sum(_TIME.fullmatch(each) is not None for each in line) > 1 for line in lines)


def _row(line: int, cells: list[str], names: Sequence[str], separator: str) -> dict[str, str]:
    """Return the cells of a row by the names of their columns. Empty cells at its end may be missing, or too many."""
    while len(cells) > len(names) and not cells[-1].strip():
        cells.pop()
    if len(cells) <= len(names):
        return dict(zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=True))
    hint = '; a text with a separator in it stands in "quotes"' if separator in ",;" else ""
    raise UnusableError(
        f"is a table of parts, and line {line} has {len(cells)} cells where {len(names)} are expected{hint}"
    )


def _part(line: int, row: Mapping[str, str], columns: _Columns) -> Iterator[Segment]:
    """Yield the part that a row tells; nothing where the row has no words."""
    said = " ".join(without_quotes(row.get(columns.text, "").strip()).split())
    if not said:
        return
    first, last = columns.times
    span = span_in_seconds(first, row.get(first), last, row.get(last))
    if span is None:
        told = ", ".join(f"{show(name)} is {show(row.get(name))}" for name in columns.times)
        raise UnusableError(
            f"is a table of parts, and in line {line} {told}; write both in seconds, or as 00:00:01.500"
        )
    if span[1] - span[0] >= _LONG and f"{row[first]}{row[last]}".strip().isdigit():
        raise UnusableError(
            f"is a table of parts, and the one in line {line} would last {span[1] - span[0]:g} s, from {row[first]} to "
            f"{row[last]}; where these are milliseconds, call the columns start_ms and end_ms"
        )
    speaker = str(without_fraction(row.get(columns.speaker, "").strip()))
    named = speaker if names_somebody(speaker) else ""
    channel = row.get(columns.channel, "").strip()
    recording = row.get(columns.recording, "").strip()
    yield Segment(line, *span, said, recording, named, channel=channel)
