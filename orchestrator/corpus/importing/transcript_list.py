"""Reading what is said in the recordings of a folder from one list for all: in any form of a
manifest, or an STM.

A row says what a line of a manifest says, with its speaker, offset and duration, and is refused for
what a manifest is refused for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.corpus.importing.listed_names import (
    ending_of_sound,
    name_nearly_as,
    recordings_by_name,
    recordings_meant,
    root_elsewhere,
    spelled_here,
)
from orchestrator.corpus.importing.parts_beside import channel_fault, with_recording
from orchestrator.corpus.importing.records_as_transcripts import said_in_record
from orchestrator.corpus.importing.transcript_files import Transcript, labelled_parts, read_text
from orchestrator.corpus.importing.transcripts import Findings, Transcripts
from orchestrator.corpus.label_files.label_file import kind_of_list
from orchestrator.corpus.manifest_errors import Fault, UnusableError, show
from orchestrator.corpus.manifests.format_detection import read_records
from orchestrator.corpus.manifests.one_channel import refuse_one_of_several
from orchestrator.corpus.manifests.published_rows import published_rows
from orchestrator.corpus.manifests.record_fields import TEXT_KEYS
from orchestrator.corpus.manifests.toolkit_lists import (
    refuse_toolkit_record,
    speech_brain_cure,
)
from orchestrator.corpus.manifests.unicode_forms import unique_folds
from orchestrator.corpus.manifests.unread_times import (
    refuse_unread_end,
    refuse_unread_times,
    time_keys,
    told_start,
)
from orchestrator.corpus.recordings.headers import Header, clip_seconds, read_header

_WITHOUT_PINYIN = "the text is the words, and not the pinyin behind each"
_START = 4096
"""The number of bytes at the beginning by which a list is recognised."""
_NUMBERS = re.compile(r"\d+\.\d+(\s+\d+\.\d+)*")
"""A length, or the ends of a part, in the place of a text."""
_ROUNDED = 0.3
"""Seconds by which a length in a list may differ from that of its recording."""
_SHARE = 0.9
"""The share of rows of numbers that must be times or lengths; a recording may be another than that which was listed."""
LISTS = (
    *(
        f"{name}.{ending}"
        for name in ("metadata", "transcripts")
        for ending in ("jsonl", "csv", "tsv", "txt")
    ),
    *("etc/txt.done.data", "txt.done.data"),
    *("transcript_utf8.txt", "transcripts_utf8.txt", "TRANS.txt"),
    *("etc/prompts-original", "etc/PROMPTS", "line_index.tsv"),
)
"""A list of this name at the top of a folder is read as if it were named by `--transcripts`. The
last are those of Festival, of JSUT and JVS, of MAGICDATA, of VoxForge, and of what Google had
recorded for many languages.
"""


def listed_folders(recordings: Sequence[Path], folder: Path) -> dict[Path, list[Path]]:
    """Return, by the folder of each list, the recordings that it is for: all, where `folder` itself
    has a list; otherwise each recording goes with the next folder above it that has one, as where
    every split of a corpus has its own.
    """
    if lists_in(folder):
        return {folder: list(recordings)}
    has_list = cache(lambda place: bool(lists_in(place)))
    found: dict[Path, list[Path]] = {}
    for path in recordings:
        above = path.parents[: len(path.relative_to(folder).parts) - 1]
        if place := next((place for place in above if has_list(place)), None):
            found.setdefault(place, []).append(path)
    return found


def lists_in(folder: Path) -> list[Path]:
    """Return the lists of a folder; the first is the one that is read."""
    return [folder / name for name in LISTS if (folder / name).is_file()]


def texts_from_list(
    recordings: Sequence[Path], folder: Path, table: Path, findings: Findings
) -> Transcripts:
    """Read the transcripts of recordings from one list, in any format of a manifest. A name in it
    is a path below the folder, the end of one, or else a bare file name.

    Endings may be missing. Raises UnusableError where the file as a whole is no list.
    """
    names = recordings_by_name(recordings, folder)
    silent: list[tuple[str, Transcript]] = []
    rows = _spoken(_rows_of_list(table, folder, findings.faults), silent)
    texts, missing = _matched_or_nearly(rows, names, table, findings.faults)
    with_text = len(missing) + sum(map(len, texts.values()))
    _refuse_times(texts, findings)
    channels = (channel_fault(own, path) for path, own in texts.items())
    findings.faults.extend(fault for fault in channels if fault)
    if len(silent) > with_text:
        draft = silent[0][1].record
        has_words = (
            table.suffix.lower() == ".json" and draft is not None and "words" in draft.unread
        )
        command = speech_brain_cure(table).partition(": ")[2]
        cure = f"; the words of SpeechBrain become texts with: {command}" if has_words else ""
        findings.faults.append(f"{_mostly_silent([said for _, said in silent], with_text)}{cure}")
        return {}
    folds = unique_folds(names if silent else ())
    for name, said in silent:
        found = recordings_meant(name, names, table)
        found = found or names.get(name_nearly_as(name, names, folds), [])
        place = f"{said.origin}: {show(name)}"
        findings.silent[place] = found[0] if len(found) == 1 else None
    written = [] if texts else [(spelled_here(name), said) for name, said in missing]
    root = root_elsewhere([name for name, _ in written], recordings, folder)
    if root:
        here = ((name.removeprefix(root), said) for name, said in written)
        texts, missing = _matched_or_nearly(here, names, table, findings.faults)
        findings.choices[f"{root} in {table.name} is taken for {folder}"] += len(texts)
    findings.choices.update(what for path, own in texts.items() for what in _choices_of(path, own))
    findings.unmatched.extend(f"{said.origin}: {show(name)}" for name, said in missing)
    return {path: [_named_apart(said, path) for said in own] for path, own in texts.items()}


def _named_apart(said: Transcript, path: Path) -> Transcript:
    """Return a part that an STM tells with a speaker of the recording `path` alone where its name is a number or a
    role, as where the STM lies beside it; a row of another list as it is.
    """
    return said if said.record else with_recording(said, path)


def _refuse_times(texts: Transcripts, findings: Findings) -> None:
    """Raise UnusableError where a list tells the lengths of its recordings, or times of parts, in the place of
    texts. Other numbers alone, such as prices, may be what is said, and a note says that they are taken so.
    """
    numbers = [
        (path, said, list(map(float, said.text.split())))
        for path, own in texts.items()
        for said in own
        if _NUMBERS.fullmatch(said.text)
    ]
    if not numbers or len(numbers) < sum(map(len, texts.values())):
        return
    _, first, told = numbers[0]
    if len(numbers) == 1 == len(told):
        return
    times = sum(_are_times(told, path) for path, _, told in numbers)
    if times >= _SHARE * len(numbers):
        line = first.origin.rpartition(":")[2]
        raise UnusableError(
            f"has numbers in the place of texts, such as {show(first.text)} in line {line}; name the list of what is "
            "said, or write the times of parts as offset and duration beside their texts"
        )
    findings.choices[
        f"the text is nothing but numbers, such as {show(first.text)}, which are taken for what is said"
    ] += len(texts)


def _are_times(told: Sequence[float], path: Path) -> bool:
    """Whether numbers are the length of the recording `path`, or times within it that follow one another; always
    true where its length is not known.
    """
    try:
        seconds = read_header(path, called(path)).seconds
    except UnusableError:
        return True
    if len(told) == 1:
        return abs(told[0] - seconds) <= _ROUNDED
    return list(told) == sorted(set(told)) and told[-1] <= seconds + _ROUNDED


def _choices_of(path: Path, own: Sequence[Transcript]) -> Iterator[str]:
    """Yield what was taken of each row of a recording where there was a choice."""
    for said in own:
        if (row := said.record) is None:
            continue
        if said.text != row.text:
            yield _WITHOUT_PINYIN
        ending = ending_of_sound(row.path or "")
        if ending and ending.lower() != path.suffix.lower():
            yield f"NAME{ending} in the list is taken for NAME{path.suffix}"


def _spoken(
    rows: Iterable[tuple[str, Transcript]], silent: list[tuple[str, Transcript]]
) -> Iterator[tuple[str, Transcript]]:
    """Yield the rows with a text; the others are added to `silent`."""
    for row in rows:
        if row[1].text:
            yield row
        else:
            silent.append(row)


def _mostly_silent(silent: Sequence[Transcript], others: int) -> str:
    """Return the fault of a list in which more rows have no text than have one: the texts stand
    elsewhere.
    """
    return (
        f"{silent[0].origin}: has no text, as {len(silent)} of {len(silent) + others} rows; write what is said (in a "
        f"table or in JSON as {', '.join(TEXT_KEYS[:4])}), or delete these rows to go without"
    )


def _matched_or_nearly(
    rows: Iterable[tuple[str, Transcript]],
    names: dict[str, list[Path]],
    table: Path,
    faults: list[str],
) -> tuple[Transcripts, list[tuple[str, Transcript]]]:
    """Match rows as `_matched` does. Where no row names a recording as it is, rows that name it with the ending of
    another kind of sound mean it, or else rows that name it with other capitals.
    """
    texts, missing = _matched(rows, names, table, faults)
    folds = unique_folds(names if missing else ())
    former, absent = list[tuple[str, Transcript]](), list[tuple[str, Transcript]]()
    for name, row in missing:
        meant = name_nearly_as(name, names, folds)
        if meant and texts.keys().isdisjoint(names[meant]):
            former.append((meant, row))
        else:
            absent.append((name, row))
    again, _ = _matched(former, names, table, faults)
    return texts | again, absent


def _matched(
    rows: Iterable[tuple[str, Transcript]],
    names: dict[str, list[Path]],
    table: Path,
    faults: list[str],
) -> tuple[Transcripts, list[tuple[str, Transcript]]]:
    """Match the rows of a list with recordings: return what they say of each, and the rows whose
    recording is not there.
    """
    header = cache(lambda path: read_header(path, called(path)))
    texts: Transcripts = {}
    missing = []
    for name, row in rows:
        found = recordings_meant(name, names, table)
        if not found:
            missing.append((name, row))
            continue
        if len(found) != 1:
            faults.append(
                f"{row.origin}: {show(name)} may be any of {len(found)} recordings; write its folder too"
            )
            continue
        said = _placed(row, header, found[0])
        if found[0] in texts and None in (said.span, texts[found[0]][0].span):
            try:  # a row with times that are not read has that fault, and is no second transcript
                check_row(said, header(found[0]), found[0])
                if said.record and said.span is None:
                    clip_seconds(header(found[0]), None, said.record.duration, called(found[0]))
                why = f"{show(name)} has a transcript already, {texts[found[0]][0].origin}"
            except UnusableError as error:
                why = str(error)
            faults.append(f"{said.origin}: {why}")
        else:
            texts.setdefault(found[0], []).append(said)
    return texts, missing


def _placed(row: Transcript, header: Callable[[Path], Header], path: Path) -> Transcript:
    """Return a row with its part of the recording `path`, where it tells that by its start, end and
    duration.
    """
    draft = row.record
    if row.span or draft is None or draft.duration is None or not time_keys(draft.unread):
        return row
    try:
        start = told_start(draft.unread, draft.duration, header(path).seconds)
    except UnusableError:  # the fault is reported when its line is made
        return row
    return row if start is None else replace(row, span=(start, start + draft.duration))


def called(path: Path) -> str:
    """Return the name of a recording in messages."""
    return f"audio file {show(str(path))}"


def check_row(said: Transcript, header: Header, path: Path) -> None:
    """Raise UnusableError where a row of a list tells times that are not read, or means one channel
    of the several of its recording `path`.
    """
    row, name = said.record, called(path)
    if row is None:
        return
    if row.offset is None and said.span is None:
        refuse_unread_times(row.unread, header.seconds, header.rate, name)
    elif row.offset is not None and row.duration is None:
        refuse_unread_end(row.unread, row.offset, header.seconds, name)
    refuse_one_of_several(row.unread, path, name)


def _rows_of_list(table: Path, folder: Path, faults: list[str]) -> Iterator[tuple[str, Transcript]]:
    """Yield the name and text of every row; the text is empty where a row has none."""
    with table.open("rb") as stream:
        beginning = stream.read(_START).decode("utf-8", "replace")
    if kind := kind_of_list(beginning, table.suffix):
        text = read_text(table, faults)
        yield from [] if text is None else labelled_parts(table, text, kind, faults)
        return
    for number, record in read_records(table, hashlib.sha256(), folder=folder):
        where = f"{table}:{number}"
        if isinstance(record, Fault):
            faults.append(f"{where}: {record.message}")
        elif not record.get("_skipme"):
            yield from _said_in_row(record, table, where, faults)


def _said_in_row(
    record: Mapping[str, Any], table: Path, where: str, faults: list[str]
) -> Iterator[tuple[str, Transcript]]:
    """Yield what a row says, of each recording that it stands for."""
    try:
        published = published_rows(record)
    except UnusableError as error:
        faults.append(f"{where}: {error}")
        return
    if published is None:
        refuse_toolkit_record(record, table)
    for row in [record] if published is None else published:
        yield from said_in_record(row, where, faults)
