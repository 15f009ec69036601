"""What is said in the recordings of a folder: a text or label file beside each, LibriSpeech's lists,
or one list for all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.corpus.format_detection import read_records
from orchestrator.corpus.headers import locate
from orchestrator.corpus.label_files import (
    kind_of_labels,
    kind_of_list,
    segments_of,
    sentence_of_timit,
)
from orchestrator.corpus.manifest_errors import Fault, UnusableError, show
from orchestrator.corpus.record_fields import AUDIO_KEYS, ID_KEYS, TEXT_KEYS
from orchestrator.corpus.whisper_json import parts_of_whisper

ENDINGS = (".txt", ".TXT", ".lab", ".srt", ".vtt", ".TextGrid", ".textgrid")
_START = 4096
"""Bytes by which a list is known."""
LISTS = tuple(
    f"{name}.{ending}"
    for name in ("metadata", "transcripts")
    for ending in ("jsonl", "csv", "tsv", "txt")
)
"""A list of this name at the top of a folder is its `--transcripts`."""


@dataclass(frozen=True)
class Transcript:
    """What is said, and the file and line where it stands."""

    text: str
    origin: str
    span: tuple[float, float] | None = None
    """Begin and end in seconds; None: the whole recording."""
    speaker: str = ""


Transcripts = dict[Path, list[Transcript]]
"""Of each recording, the whole of it or its parts."""


def texts_beside(
    recordings: Sequence[Path], faults: list[str], unmatched: list[str]
) -> Transcripts:
    """From a file of the recording's name and one of `ENDINGS`, or `NAME.wav.txt`, or a row of a
    `*.trans.txt` of the same folder; rows whose recording is not there go to `unmatched`.
    """
    texts: Transcripts = {}
    chapters: dict[Path, dict[str, Transcript]] = {}
    for path in recordings:
        candidates = [path.with_suffix(ending) for ending in ENDINGS] + [
            path.with_name(f"{path.name}.txt")
        ]
        own = next((candidate for candidate in candidates if candidate.is_file()), None)
        if own is not None:
            if found := _own_transcripts(own, faults):
                texts[path] = found
            continue
        parts = _program_output(path, faults)
        if parts:
            texts[path] = parts
            continue
        if path.parent not in chapters:
            chapters[path.parent] = _chapter_lines(path.parent, faults)
        if path.stem in chapters[path.parent]:
            texts[path] = [chapters[path.parent][path.stem]]
    there = {path.with_suffix("") for path in recordings}
    for folder, rows in chapters.items():
        absent = (said for name, said in rows.items() if folder / name not in there)
        unmatched += [said.origin for said in absent]
    return texts


def _own_transcripts(path: Path, faults: list[str]) -> list[Transcript]:
    text = _read_text(path, faults)
    if text is None:
        return []
    if kind := kind_of_labels(text):
        return [said for _, said in _segments(path, text, kind, faults)]
    if why := _why_no_words(path, text):
        faults.append(f"{path} {why}")
        return []
    first = next(
        (number for number, line in enumerate(text.split("\n"), start=1) if line.strip()), None
    )
    if first is None:
        faults.append(
            f"{path}:1: the transcript is empty; write what is said, or take the file away to go without"
        )
        return []
    said = sentence_of_timit(text) or text
    return [Transcript(" ".join(said.split()), f"{path}:{first}")]


def _why_no_words(path: Path, text: str) -> str:
    """Why a file under a recording's name is no text of what is said; empty where it may be one."""
    start = text.lstrip()[:200].lower()
    if path.suffix.lower() in (".srt", ".vtt", ".textgrid") and start:
        return "has no line of times, such as 00:00:01,000 --> 00:00:02,500; save it again"
    if "\0" in text:
        return "is a binary file; write what is said as text"
    what = next((name for begin, name in _NOT_WORDS.items() if start.startswith(begin)), "")
    return f"is {what}; write what is said as plain text" if what else ""


_NOT_WORDS = {"{\\rtf": "RTF", "<!doctype html": "HTML", "<html": "HTML", "<?xml": "XML"}
"""By what a file begins that holds no plain text."""


def _program_output(path: Path, faults: list[str]) -> list[Transcript]:
    """What a recogniser wrote under the recording's name, as JSON or as a table; others are no
    transcript.
    """
    table = path.with_suffix(".tsv")
    said = _read_text(table, faults) if table.is_file() else None
    if said is not None and (kind := kind_of_labels(said)):
        return [part for _, part in _segments(table, said, kind, faults)]
    place = path.with_suffix(".json")
    text = _read_text(place, faults) if place.is_file() else None
    parts = (parts_of_whisper(text) if text else None) or ()
    spoken = [part for part in parts if part[2]]
    for begin, end, said, _ in spoken:
        if end <= begin:
            faults.append(f"{place}: {_empty_span(begin, end)} beside {show(said[:40])}")
    return [
        Transcript(said, f"{place}:1", (begin, end), speaker)
        for begin, end, said, speaker in spoken
    ]


def _empty_span(begin: float, end: float) -> str:
    return f"a part begins at {begin:g} s and ends at {end:g} s; write its times, or delete it,"


def _segments(path: Path, text: str, kind: str, faults: list[str]) -> list[tuple[str, Transcript]]:
    """The parts that a label file tells, each with the name of its recording."""
    try:
        found = segments_of(text, kind)
    except UnusableError as error:
        faults.append(f"{path} {error}")
        return []
    for segment in found:
        if segment.end <= segment.begin:
            span = _empty_span(segment.begin, segment.end)
            faults.append(f"{path}:{segment.line}: {span} beside {show(segment.text[:40])}")
    return [
        (
            segment.recording,
            Transcript(
                segment.text,
                f"{path}:{segment.line}",
                (segment.begin, segment.end),
                segment.speaker,
            ),
        )
        for segment in found
    ]


def _chapter_lines(folder: Path, faults: list[str]) -> dict[str, Transcript]:
    """LibriSpeech: `84-121123-0000 GO DO YOU HEAR`, one line a recording."""
    rows: dict[str, Transcript] = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for number, line in enumerate((_read_text(path, faults) or "").split("\n"), start=1):
            name, _, text = line.strip().partition(" ")
            said = Transcript(text.strip(), f"{path}:{number}")
            if said.text and rows.setdefault(name, said) is not said:
                faults.append(
                    f"{said.origin}: {show(name)} has a transcript already, {rows[name].origin}"
                )
    return rows


def _read_text(path: Path, faults: list[str]) -> str | None:
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # of Praat, and of Windows' editor
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        faults.append(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}")
    return None


def texts_from_list(
    recordings: Sequence[Path], folder: Path, table: Path, faults: list[str], unmatched: list[str]
) -> Transcripts:
    """From one list, in any format of a manifest; a name is a path below the folder, or else a bare
    file name.

    Endings may be missing. Lines whose recording is not there go to `unmatched`. Raises
    UnusableError where the file as a whole is no list.
    """
    names = _recordings_by_name(recordings, folder)
    texts: Transcripts = {}
    for name, said in _rows_of_list(table, folder, faults):
        found = _recordings_meant(name, names, table)
        if not name or not said.text:
            faults.append(f"{said.origin}: has no {'text' if name else 'name of a recording'}")
        elif not found:
            unmatched.append(f"{said.origin}: {show(name)}")
        elif len(found) != 1:
            faults.append(
                f"{said.origin}: {show(name)} may be any of {len(found)} recordings; write its folder too"
            )
        elif found[0] in texts and said.span is None:
            faults.append(
                f"{said.origin}: {show(name)} has a transcript already, {texts[found[0]][0].origin}"
            )
        else:
            texts.setdefault(found[0], []).append(said)
    return texts


def _rows_of_list(table: Path, folder: Path, faults: list[str]) -> Iterator[tuple[str, Transcript]]:
    """The name and text of every row."""
    with table.open("rb") as stream:
        beginning = stream.read(_START).decode("utf-8", "replace")
    if kind := kind_of_list(beginning):
        yield from _segments(table, _read_text(table, faults) or "", kind, faults)
        return
    for number, record in read_records(table, hashlib.sha256(), folder=folder):
        where = f"{table}:{number}"
        if isinstance(record, Fault):
            faults.append(f"{where}: {record.message}")
            continue
        name, text = (_first_value(record, keys) for keys in ((*AUDIO_KEYS, *ID_KEYS), TEXT_KEYS))
        yield name, Transcript(text, where)


def _first_value(record: dict[str, object], keys: tuple[str, ...]) -> str:
    return next(
        (str(record[key]).strip() for key in keys if isinstance(record.get(key), str | int)), ""
    )


def _recordings_by_name(recordings: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """What each name may mean: its path below the folder means one recording, whatever others are
    called elsewhere.
    """
    names: dict[str, list[Path]] = {}
    exact: dict[str, list[Path]] = {}
    for path in recordings:
        inside = path.relative_to(folder)
        # a list beside the folder names the folder too
        below = Path(os.path.abspath(folder)).name / inside
        paths = [form for whole in (inside, below) for form in (whole, whole.with_suffix(""))]
        for name in {*(path.as_posix() for path in paths), path.name, path.stem}:
            names.setdefault(name, []).append(path)
        for name in {inside.as_posix(), inside.with_suffix("").as_posix(), os.path.abspath(path)}:
            exact.setdefault(name, []).append(path)
    return names | exact


def _recordings_meant(name: str, names: dict[str, list[Path]], table: Path) -> list[Path]:
    if found := names.get(name.removeprefix("./")):
        return found
    try:
        return names.get(str(locate(name, table.parent)), []) if name else []
    except UnusableError:
        return []
