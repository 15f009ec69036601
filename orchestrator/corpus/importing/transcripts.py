"""Finding what is said in the recordings of a folder: in a text or label file beside each, or in
LibriSpeech's lists.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.corpus.importing.files_beside import EXPORT, FilesBeside, names_language
from orchestrator.corpus.importing.no_speech import what_is_no_speech
from orchestrator.corpus.importing.own_names import without_own_name
from orchestrator.corpus.importing.parallel_texts import (
    doubtful_folder,
    name_before_conversion,
    names_of,
)
from orchestrator.corpus.importing.parts_beside import parts_of_recording
from orchestrator.corpus.importing.readings import without_readings
from orchestrator.corpus.importing.records_as_transcripts import record_beside
from orchestrator.corpus.importing.shared_texts import check_shared
from orchestrator.corpus.importing.transcript_files import (
    Transcript,
    labelled_parts,
    program_output,
    read_text,
    tabled_parts,
)
from orchestrator.corpus.label_files.label_file import (
    WITHOUT_SENTENCES,
    kind_of_labels,
    kind_of_list,
    sentence_of_timit,
)
from orchestrator.corpus.label_files.times_in_text import (
    kind_of_json,
    may_begin_with_times,
    may_name_speakers,
    times_or_turns,
)
from orchestrator.corpus.label_files.whisper_json import parts_of_whisper
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.unicode_forms import composed
from orchestrator.corpus.recordings.headers import read_header

_OF_ALL_MICROPHONES = (
    "the text is that of all microphones that heard it, and each is taken; one of them:"
)
_FIRST_LINE = "the text is the first line, and not those below, which say how it is read"
_NAMES = "every line of the text begins with what may be who speaks, and it is learnt as words"
_TWO_NUMBERS = "every line of the text begins with two numbers, which may be times, and they are learnt as words"
_OF_ITS_NAME = "the text is that of its name in the folder"
_NAMES_NONE = ", which does not name its recording"
_LONG = 30.0
"""Seconds, the most that Whisper hears at a time; people who cut recordings cut them shorter."""


Transcripts = dict[Path, list[Transcript]]
"""What is said in each recording: one transcript of the whole, or one of each part."""


@dataclass(frozen=True)
class Findings:
    """What is noticed while the transcripts of a folder are found."""

    faults: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    """Rows of lists whose recording is not there."""
    silent: dict[str, Path | None] = field(default_factory=dict)
    """Rows of lists without a text, each with its recording, or None where that is not known."""
    alone: list[Path] = field(default_factory=list)
    """Texts beside recordings that have the name of none."""
    choices: Counter[str] = field(default_factory=Counter)
    """What was taken where there was a choice, in words, and for how many recordings."""


def texts_beside(recordings: Sequence[Path], top: Path, findings: Findings) -> Transcripts:
    """Find the text of each recording in a file of its name, as `FilesBeside` finds it below `top`,
    or in a row of a `*.trans.txt` of the same folder.
    """
    texts: Transcripts = {}
    chapters: dict[Path, dict[str, Transcript]] = {}
    beside, taken = FilesBeside(recordings, top), set[Path]()
    faults = findings.faults
    for path in recordings:
        if own := beside.texts(path):
            taken.add(own[0])
            if found := _chosen_text(path, own, findings):
                texts[path] = found
                others = [*own[1:], *beside.program_output(path)]
                if others and found[0].span is None:
                    faults += _why_not_whole(path, found[0], others)
            continue
        if found := _written_by_programs(path, beside, findings):
            texts[path] = found
            continue
        if path.parent not in chapters:
            chapters[path.parent] = _chapter_lines(path.parent, faults)
        if path.stem in chapters[path.parent]:
            texts[path] = [chapters[path.parent][path.stem]]
    findings.alone.extend(beside.without_recording(taken, recordings))
    check_shared(texts, top, faults, findings.choices)
    there = {path.with_suffix("") for path in recordings}
    for folder, rows in chapters.items():
        absent = (said for name, said in rows.items() if folder / name not in there)
        findings.unmatched.extend(said.origin for said in absent)
    return texts


def _written_by_programs(path: Path, beside: FilesBeside, findings: Findings) -> list[Transcript]:
    """Return the parts that a program wrote of a recording, or what the single JSON object beside
    it says.
    """
    places, faults = beside.program_output(path), list[str]()
    parts = program_output(places, faults)
    findings.faults.extend(faults)
    if parts and (folder := doubtful_folder(Path(parts[0].origin.rpartition(":")[0]), path)):
        findings.choices[f"{_OF_ITS_NAME} {show(folder)}"] += 1
    if parts or faults:
        return parts_of_recording(parts, path, findings.faults)
    for place in places:
        text = read_text(place, []) if place.suffix.lower() == ".json" else None
        if text and (found := record_beside(text, place, path, findings.faults)) is not None:
            if not found.by_name:
                findings.choices[f"the text is that of {_ending_of(place, path)}{_NAMES_NONE}"] += 1
            return found.said
    return []


def _chosen_text(path: Path, own: Sequence[Path], findings: Findings) -> list[Transcript]:
    """Return what the first of the texts of a recording says. Where there are others, which one was
    taken is noted.
    """
    first, *others = own
    if twin := next((other for other in others if other.name == first.name), None):
        findings.faults.append(f"{path} has two texts, {first} and {twin}; take one of them away")
        return []
    said = _own_transcripts(first, path, findings)
    if said and others:
        names = ", ".join(dict.fromkeys(_ending_of(other, path) for other in others))
        findings.choices[f"the text is {_ending_of(first, path)}, and not {names}"] += 1
    whole = composed(name_before_conversion(path)).casefold()
    if said and not composed(first.name).casefold().startswith(whole):
        microphone = re.sub(r"\d+$", "1", path.stem.removeprefix(names_of(path)[-1]))
        findings.choices[f"{_OF_ALL_MICROPHONES} --name '*{microphone}.*'"] += 1
    if said and names_language(first.name) and first.stem not in (path.stem, path.name):
        what = f"the text is {_ending_of(first, path)}, in whose language they are taken to be"
        findings.choices[what] += 1
    if said and (place := doubtful_folder(first, path)):
        findings.choices[f"{_OF_ITS_NAME} {show(place)}"] += 1
    return said


def _ending_of(text: Path, recording: Path) -> str:
    """Return the name of a text with NAME in the place of its recording's, such as `NAME.txt`."""
    written = composed(text.name)
    names = map(composed, names_of(recording))
    own = next(name for name in names if written.casefold().startswith(name.casefold()))
    return f"NAME{written[len(own) :]}"


def _why_not_whole(path: Path, said: Transcript, others: Sequence[Path]) -> list[str]:
    """Return a fault where a long recording has its text in one piece, and another file tells its
    parts; Whisper writes both.
    """
    try:
        seconds = read_header(path, path.name).seconds
    except UnusableError:
        return []  # the fault is reported when its line is made
    if seconds <= _LONG:
        return []
    for other in others:
        timed = other.suffix.lower() in (".json", ".tsv", ".csv", ".tdf", ".trs", ".eaf", ".xml")
        parts = program_output([other], []) if timed else _own_transcripts(other, path, Findings())
        if len(parts) > 1:
            text = Path(said.origin.rpartition(":")[0]).name
            return [
                f"{said.origin}: is what is said in {seconds:.0f} s in one piece, and {other.name} beside it tells "
                f"its {len(parts)} parts with their times; take {text} away, and they are read"
            ]
    return []


def _own_transcripts(path: Path, recording: Path, findings: Findings) -> list[Transcript]:
    """Read the text file `path` of a recording: its labels, or its text as one transcript."""
    faults = findings.faults
    text = read_text(path, faults)
    if text is None:
        return []
    if (meant := _named_in(text, path)) is not None:
        if not meant.is_file():
            faults.append(
                f"{path}:1: names {show(text.strip())} as the file with its text, which is not there; put it there"
            )
            return []
        return _own_transcripts(meant, recording, findings)
    if kind := kind_of_labels(text):
        parts = [said for _, said in labelled_parts(path, text, kind, faults)]
        return parts_of_recording(parts, recording, faults, kind)
    if (tabled := tabled_parts(path, text, faults)) is not None:
        return parts_of_recording(tabled, recording, faults)
    is_own = path.suffix.lower() == ".stm" or recording.stem in text.split()
    if is_own and kind_of_list(text, path.suffix) == "STM":
        return _own_parts(path, recording, labelled_parts(path, text, "STM", faults), faults)
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
    said = sentence_of_timit(text)
    if said is None and (found := _times_or_turns(text, recording)):
        faults.append(f"{path}:{found[0]}: {found[1]}")
        return []
    if said is None and may_name_speakers(text):
        findings.choices[_NAMES] += 1
    if may_begin_with_times(text):
        findings.choices[_TWO_NUMBERS] += 1
    words = said or without_readings(text)
    if said is None and words != text:
        findings.choices[_FIRST_LINE] += 1
    return [Transcript(" ".join(words.split()), f"{path}:{first}")]


def _own_parts(
    path: Path, recording: Path, parts: Sequence[tuple[str, Transcript]], faults: list[str]
) -> list[Transcript]:
    """Return the parts of an STM that are of the recording beside which it lies."""
    own = [said for name, said in parts if name == recording.stem]
    if parts and not own:
        faults.append(
            f"{path} is STM of other recordings, such as {show(parts[0][0])}; name it: --transcripts FILE"
        )
    return parts_of_recording(own, recording, faults)


def _times_or_turns(text: str, recording: Path) -> tuple[int, str] | None:
    """Do as `times_or_turns` does, but read the header of the recording only where its length may
    matter. The recording's own name before its text is no speaker.
    """
    text = without_own_name(text, recording.stem)
    if (found := times_or_turns(text)) is None:
        return None
    try:
        return times_or_turns(text, read_header(recording, recording.name).seconds)
    except UnusableError:
        return found


def _named_in(text: str, path: Path) -> Path | None:
    """Return the path that a file holds in the place of a text, to a file of the same name
    elsewhere: a link becomes such a file where a copy cannot keep it.
    """
    written = text.strip()
    is_path = "\n" not in written and written.endswith(f"/{path.name}")
    return Path(os.path.normpath(path.parent / written)) if is_path else None


def _why_no_words(path: Path, text: str) -> str:
    """Say why a file under a recording's name is no text of what is said; empty where it may be
    one.
    """
    start = text.lstrip()[:200].lower()
    if path.suffix.lower() in (".srt", ".vtt", ".textgrid") and start:
        return "has no line of times, such as 00:00:01,000 --> 00:00:02,500; save it again"
    if "\0" in text:
        return "is a binary file; write what is said as text"
    what = next((name for begin, name in _NOT_WORDS.items() if start.startswith(begin)), "")
    if what := what or what_is_no_speech(text):
        return f"is {what}; write what is said as plain text, or take the file away to go without"
    if start.startswith(_CHAT):
        return f"is CHAT; {EXPORT}"
    if kind := kind_of_json(text):
        try:
            timed = bool(parts_of_whisper(text))
        except UnusableError as error:
            return str(error)
        if timed:
            return f"is JSON with times; rename it to {path.stem}.json, and its parts are read"
        return f"is {kind}; write what is said as plain text, or {EXPORT}"
    kind = kind_of_list(text)
    if kind == "RTTM" or (kind == "CTM" and "\n" in text.strip()):
        return f"is {kind}, {WITHOUT_SENTENCES[kind]}; write what is said as plain text"
    return ""


_NOT_WORDS = {"{\\rtf": "RTF", "<!doctype html": "HTML", "<html": "HTML", "<?xml": "XML"}
"""The formats of files that hold no plain text, by what they begin with."""
_CHAT = ("@utf8", "@begin")


def _chapter_lines(folder: Path, faults: list[str]) -> dict[str, Transcript]:
    """Read the texts of a LibriSpeech folder, one recording a line: `84-121123-0000 GO DO YOU
    HEAR`.
    """
    rows: dict[str, Transcript] = {}
    for path in sorted(folder.glob("*.trans.txt")):
        for number, line in enumerate((read_text(path, faults) or "").split("\n"), start=1):
            name, text = [*line.split(maxsplit=1), "", ""][:2]
            said = Transcript(text.strip(), f"{path}:{number}")
            if said.text and rows.setdefault(name, said) is not said:
                faults.append(
                    f"{said.origin}: {show(name)} has a transcript already, {rows[name].origin}"
                )
    return rows
