"""Reading tables and lists as records: with columns named by a first row, or in one of the forms
that have none.

    a first row      such as `client_id<TAB>path<TAB>sentence` of Common Voice, `file_name,transcription` of AudioFolder
    path<TAB>text    path,text    path|text    id|text|normalized text (LJSpeech)    path|speaker|text
    name: text       and other lists of names, which `name_lists` reads

Between tabs and | a quote is a quote, as in Common Voice; between commas and semicolons it is that
of CSV.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from orchestrator.corpus.manifest_errors import Fault, UnusableError, show
from orchestrator.corpus.manifests.lines import Lines, Record, decoded_line
from orchestrator.corpus.manifests.list_columns import columns_of_three
from orchestrator.corpus.manifests.name_lists import (
    audio_names,
    is_comment,
    list_pattern,
    listed_rows,
)
from orchestrator.corpus.manifests.not_a_manifest import names_hint, unknown_format_error
from orchestrator.corpus.manifests.record_fields import AUDIO_KEYS, ID_KEYS, TEXT_KEYS
from orchestrator.corpus.manifests.table_cells import (
    KNOWN,
    cell_value,
    column_names,
    without_quotes,
)
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES

SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "|"}
_FLEURS = (
    *("sentence_id", "audio_filepath", "raw_transcription"),
    *("transcription", "letters", "num_samples", "gender"),
)
"""The columns of FLEURS's lists, which have no first row. Their first is the id of a sentence,
which several people read.
"""
_SWALLOWED = (
    "a quote that opens here takes in the row of {}; where it is a part of the text, write the text in quotes and each "
    "quote in it twice"
)
_EXCEL = re.compile(rb"sep=[\t,;|]", re.IGNORECASE)
"""A first line that tells Excel the separator; it is not part of the table."""


@dataclass(frozen=True)
class Table:
    """How the rows of a file are split into cells, and what the cells are."""

    separator: str
    columns: tuple[str, ...]
    has_header: bool = False

    @property
    def quoted(self) -> bool:
        """Whether quotes are those of CSV; elsewhere a quote is a character like any other."""
        return self.separator in ",;"

    def record(self, number: int, cells: list[str]) -> dict[str, Any] | Fault:
        """Return a row as a record, without its empty cells, or a fault where it has another number
        of cells or, in a list without a first row, names no recording.
        """
        if not self.has_header and len(cells) == len(self.columns) and not cells[0].strip():
            return Fault(
                number,
                f"names no recording in its first column, before {show(' '.join(cells).strip()[:40])}; where such rows "
                "say the one above again, take them out: grep -v '^[[:space:]]' LIST > OTHER",
            )
        if len(cells) == len(self.columns):
            return {
                key: cell_value(key, without_quotes(cell.strip()))
                for key, cell in zip(self.columns, cells, strict=True)
                if cell.strip()
            }
        if len(cells) == 1 and self.columns[0] in AUDIO_KEYS:
            alone = cells[0].strip()
            if alone.lower().endswith(AUDIO_SUFFIXES):  # editors strip trailing separators
                return {self.columns[0]: alone}
        name = SEPARATORS[self.separator]
        wanted = ("<TAB>" if self.separator == "\t" else self.separator).join(self.columns)
        hint = f'; a text with a {name} in it stands in "quotes"' if self.quoted else ""
        count = len(cells)
        return Fault(
            number,
            f"{count} {name}-separated columns where {len(self.columns)} are expected ({wanted}){hint}",
        )


def table_records(
    path: Path, lines: Lines, needs_text: bool, list_of: Path | None
) -> Iterator[Record]:
    """Yield the records of a table or list; `lines` begins with the first that is not blank. The
    recordings lie beside the file, or in the folder `list_of`, which ids may name too.

    Raises UnusableError where the first line is none of a table or list, or its columns lack audio
    or text.
    """
    is_audio = audio_names(list_of or path.parent, with_below=list_of is not None)
    number, raw = next(lines)
    if _EXCEL.fullmatch(raw.strip(b"\r\n")):
        if (following := next((row for row in lines if row[1].strip()), None)) is None:
            raise UnusableError("is a table without rows; add a row for each utterance")
        number, raw = following
    first = decoded_line(number, raw)
    if isinstance(first, Fault):
        raise UnusableError(f"cannot be read: in line {number}, {first.message}")
    lines = chain([(number, raw)], lines)
    table = _with_header(first, needs_text, path, list_of)
    if table is None and is_comment(raw):
        rows = (row for row in lines if row[1].strip() and not is_comment(row[1]))
        if beyond := next(rows, None):
            _refuse_json(beyond, first)
            yield from table_records(path, chain([beyond], lines), needs_text, list_of)
            return
    if table is None and (pattern := list_pattern(first, path, is_audio)):
        yield from listed_rows(lines, pattern, is_audio)
        return
    if (
        table := table or _headless_table(first, path, is_audio)
    ).separator == "|" and not table.has_header:
        kept = [line for line in lines if line[1].strip()]
        table, lines = _with_speakers(table, kept), iter(kept)
    yield from _separated_rows(table, lines)


def _refuse_json(line: tuple[int, bytes], comment: str) -> None:
    """Raise UnusableError where JSON follows the comment at the beginning of a file."""
    number, raw = line
    if raw.lstrip().startswith((b"{", b"[")):
        raise UnusableError(
            f"is JSON with a comment before it, {show(comment.strip()[:60])}, and JSON has none; "
            f"delete the lines before line {number}"
        )


def _separated_rows(table: Table, lines: Lines) -> Iterator[Record]:
    """Yield the records of a table's rows; a repeated header is a fault."""
    rows = (
        _quoted_rows(lines, table.separator)
        if table.quoted
        else _split_rows(lines, table.separator)
    )
    header = None
    if table.has_header:
        _, header = next(rows)
        first = next(rows, None)
        if first is None:
            raise UnusableError("is a table of a first line alone; add a row for each utterance")
        rows = chain([first], rows)
    for number, cells in rows:
        if isinstance(cells, Fault):
            yield number, cells
        elif cells == header:
            yield (
                number,
                Fault(number, "the first line again, as where files are joined; delete it"),
            )
        else:
            yield number, table.record(number, cells)


def _split_rows(lines: Lines, separator: str) -> Iterator[tuple[int, list[str] | Fault]]:
    for number, line in lines:
        if line.strip():
            text = decoded_line(number, line)
            yield number, text if isinstance(text, Fault) else text.rstrip("\r\n").split(separator)


class _Feed:
    """Decodes lines for the csv module, and notes on which line the row begins that the module is
    reading.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.start: int | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.start = self.start or number
        text = decoded_line(number, line)
        if isinstance(text, Fault):
            raise UnusableError(text.message)
        return text


def _quoted_rows(lines: Lines, separator: str) -> Iterator[tuple[int, list[str] | Fault]]:
    """Yield the rows of CSV, in which a quoted cell may extend over several lines, each with its
    first line.
    """
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=separator, strict=True)
    while True:
        feed.start = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnusableError) as error:
            number, unclosed = feed.start or 1, "unexpected end" in str(error)
            why = "a quote that opens here is never closed" if unclosed else str(error)
            yield number, Fault(number, why, ends_file=unclosed)
            continue
        if taken_in := next((name for cell in cells for name in _rows_within(cell, separator)), ""):
            yield feed.start or 1, Fault(feed.start or 1, _SWALLOWED.format(show(taken_in)))
        elif any(cell.strip() for cell in cells):
            yield feed.start or 1, cells


def _rows_within(cell: str, separator: str) -> Iterator[str]:
    """Yield the recordings that stand between separators in the lines of a cell behind its first, as in rows."""
    for line in cell.split("\n")[1:]:
        names = [name.strip() for name in line.split(separator)]
        several = names if len(names) > 1 else []
        yield from (name for name in several if name.lower().endswith(AUDIO_SUFFIXES))


def _with_header(line: str, needs_text: bool, path: Path, list_of: Path | None) -> Table | None:
    """Return the table of a first row that names its columns; None where it does not. Raises
    UnusableError where audio or text is not among them.
    """
    for separator in SEPARATORS:
        columns = column_names(_split_cells(line, separator))
        known = KNOWN & set(columns)
        if len(columns) > 1 and (known & set(AUDIO_KEYS) or len(known) > 1):
            table = Table(separator, columns, has_header=True)
            return _checked_table(table, needs_text, path, list_of)
    return None


def _checked_table(table: Table, needs_text: bool, path: Path, list_of: Path | None) -> Table:
    repeated = next((column for column in table.columns if table.columns.count(column) > 1), None)
    if repeated:
        raise UnusableError(
            f"is a table with two columns {show(repeated)}; name each column once in its first line"
        )
    for what, keys in (("audio", AUDIO_KEYS), ("text", TEXT_KEYS)):
        by_id = what == "audio" and not set(ID_KEYS).isdisjoint(table.columns)
        if by_id and list_of is not None:
            continue
        if not set(keys) & set(table.columns) and (needs_text or what == "audio"):
            has = ", ".join(filter(None, table.columns))
            raise UnusableError(
                f"is a table without a column of {what}; it has {has}: name one of them {', '.join(keys[:4])} in line 1"
                f"{names_hint(path) if by_id else ''}"
            )
    return table


def _headless_table(line: str, path: Path, is_audio: Callable[[str], bool]) -> Table:
    """Return the table whose first row is an utterance already. Raises UnusableError where it is
    none.
    """
    for separator in SEPARATORS:
        cells = _split_cells(line, separator)
        if separator in ",;" and not (len(cells) == 2 and is_audio(cells[0])):
            continue
        if separator == "\t" and _is_fleurs(cells):
            return Table(separator, _FLEURS)
        if len(cells) == 2 or (separator == "|" and len(cells) == 3):
            return Table(separator, ("audio_filepath", "text", "normalized_text")[: len(cells)])
    cut = [separator for separator in SEPARATORS if len(_split_cells(line, separator)) > 1]
    if not cut or (cut[0] in ",;" and path.suffix.lower() not in (".csv", ".tsv")):
        raise unknown_format_error(path, line)
    separator = cut[0]
    raise UnusableError(
        f"is a {SEPARATORS[separator]}-separated table whose columns nothing names: {show(line.strip()[:60])}; "
        f"write a first line such as {show(separator.join(('path', 'sentence')))} with a name for every column"
    )


def _is_fleurs(cells: list[str]) -> bool:
    named = len(cells) == len(_FLEURS) and cells[1].lower().endswith(AUDIO_SUFFIXES)
    return named and cells[0].isdigit() and cells[5].isdigit()


def _with_speakers(table: Table, lines: list[tuple[int, bytes]]) -> Table:
    """Choose between `path|text|normalized_text`, `path|speaker|text` and `path|text|speaker`, by
    all rows.
    """
    if len(table.columns) != 3:
        return table
    rows = [
        cells
        for _, cells in _split_rows(iter(lines), "|")
        if not isinstance(cells, Fault) and len(cells) == 3
    ]
    return replace(table, columns=columns_of_three(rows, f"as in line {lines[0][0]}"))


def _split_cells(line: str, separator: str) -> list[str]:
    text = line.rstrip("\r\n")
    if separator not in ",;":
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        return [text]
