"""Making the lines of a manifest of a folder of recordings with their transcripts. No audio is
decoded here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import Any

from orchestrator.corpus.importing.files_beside import FilesBeside
from orchestrator.corpus.importing.finding_recordings import find_recordings
from orchestrator.corpus.importing.folder_notes import notes_of_folder
from orchestrator.corpus.importing.selecting import Selection, select
from orchestrator.corpus.importing.session_lists import session_lists
from orchestrator.corpus.importing.speakers_by_rule import (
    SpeakerRule,
    notes_on_speakers,
    speaker_field,
)
from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.importing.transcript_list import (
    called,
    check_row,
    listed_folders,
    lists_in,
    texts_from_list,
)
from orchestrator.corpus.importing.transcripts import Findings, Transcripts, texts_beside
from orchestrator.corpus.importing.whole_corpus import without_marks_of_corpora
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.manifest_writing import Made, in_utf8, relative, some_faults
from orchestrator.corpus.manifests.recordings_below import lists_that_name
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.errors import ManifestError

_LATE = 1.0
"""Seconds by which subtitles and recognisers let the last part end after its recording does."""
_REWRITTEN = re.compile(r" > (\S.*-(?:utf8|lines)[.\w]*'?)$")
"""The file that an advised command writes in the place of a list, under a name that is not looked for."""


def lines_of_folder(
    folder: Path, out: Path, transcripts: Path | None, speaker: SpeakerRule | str, wanted: Selection
) -> tuple[list[Made], Counter[str], list[str]]:
    """Make one line for each wanted recording below `folder`, sorted by path, for a manifest at
    `out`. Returns the lines, how many recordings are left out by the reason, and notes for the
    user.

    A transcript stands beside its recording or in the list `transcripts`. A recording that has none
    is left out, and so is a line of the list whose recording is not there, unless that is true of
    all. Raises ManifestError with everything that is unreadable or left over, named by the file and
    line where it stands.
    """
    if not folder.is_dir():
        raise ManifestError(
            f"there is no folder {folder}\n  Name the folder that holds the recordings."
        )
    recordings, unread_sound = find_recordings(folder)
    findings = Findings()
    faults, unmatched = findings.faults, findings.unmatched
    texts = _texts_of(recordings, folder, transcripts, findings)
    texts = without_marks_of_corpora(texts, findings)
    faults += [] if texts else [f"{path} names no recording" for path in unmatched]
    unread = _unread_beside(recordings, folder, texts)
    if not texts and not faults:
        hints = f"{_first_of_each(unread)}{_lists_of(recordings, folder)}"
        raise ManifestError(
            f"none of the {len(recordings)} recordings in {folder} has a transcript\n"
            f"{hints}  Write NAME.txt beside NAME{recordings[0].suffix}, or name a list of them: "
            "--transcripts FILE."
        )
    lines, left = [], Counter[str]()
    silent = {path for path in findings.silent.values() if path not in texts}
    for path in recordings:
        if path in silent:
            continue  # its row in a list has no text, and is counted below
        inside = path.relative_to(folder)
        why = wanted.why_not_name((inside.as_posix(), path.name))
        if path not in texts:
            why = "without a transcript"
            if (what := unread.get(path)) is not None:
                example = next(file for file, other in unread.values() if other == what[1])
                why += f" that is read ({example.relative_to(folder).as_posix()} {what[1]})"
        if why:
            left[why] += 1
        else:
            lines += _manifest_lines(path, inside, out, texts[path], speaker, faults)
    faults += _names_used_twice(lines)
    if faults:
        raise ManifestError(some_faults(folder, faults))
    kept, more = select(lines, wanted)
    more |= unread_sound.counted(folder) | _without_recording_or_text(findings, folder)
    notes = notes_of_folder(findings.choices, texts, kept, wanted)
    notes += [*unread_sound.notes(folder), *notes_on_speakers(recordings, kept, folder, speaker)]
    return kept, left + more, notes


def _without_recording_or_text(findings: Findings, folder: Path) -> Counter[str]:
    """Return how many texts and rows of lists have no recording, and rows no text, with the first of each."""
    found = Counter[str]()
    if alone := findings.alone:
        first = alone[0].relative_to(folder).as_posix()
        found[f".txt without a recording of its name (the first is {first})"] = len(alone)
    for kind, rows in (("recording", findings.unmatched), ("text", list(findings.silent))):
        if rows:
            found[f"listed without a {kind} (the first is {rows[0]})"] = len(rows)
    return found


def _unread_beside(
    recordings: list[Path], folder: Path, texts: Transcripts
) -> dict[Path, tuple[Path, str]]:
    """Return, for each recording without a transcript, the file that seems to hold it but cannot be
    read, and what that file is.
    """
    without = [path for path in recordings if path not in texts]
    if not without:
        return {}
    beside = FilesBeside(recordings, folder)
    found = {path: beside.unread(path) for path in without}
    return {path: unread for path, unread in found.items() if unread is not None}


def _first_of_each(unread: dict[Path, tuple[Path, str]]) -> str:
    """Return a line of a message for each kind of file that cannot be read."""
    first: dict[str, Path] = {}
    for place, what in unread.values():
        first.setdefault(what, place)
    return "".join(f"  {place} {what}.\n" for what, place in first.items())


def _lists_of(recordings: list[Path], folder: Path) -> str:
    """Return a line of a message that names files in a folder that may be lists of its recordings;
    empty where there are none.
    """
    found = ", ".join(str(path) for path in lists_that_name(recordings, folder)[:3])
    return f"  What names recordings and may be their list: {found}.\n" if found else ""


def _texts_of(
    recordings: list[Path], folder: Path, table: Path | None, findings: Findings
) -> Transcripts:
    """Find the transcripts of the recordings: in the list `table`, else in files beside them and,
    for recordings without one, in a list in a folder; where there is neither, in the lists of
    sessions.
    """
    if table is not None:
        return _texts_from(table, recordings, folder, findings)
    texts = texts_beside(recordings, folder, findings)
    if texts or findings.faults:
        for unread in lists_in(folder)[:1]:
            what = f"the text is a file of its name, and not a row of {unread.name}; to read that:"
            findings.choices[f"{what} --transcripts {quote(str(unread))}"] += len(texts)
        return texts | _listed_beside(texts, recordings, folder, findings)
    for place, own in listed_folders(recordings, folder).items():
        table, *others = lists_in(place)
        texts |= _texts_from(table, own, place, findings)
        if others:
            names = ", ".join(other.name for other in others)
            findings.choices[f"the list is {table.name}, and not {names} beside it"] += len(own)
    if not texts:
        for table, own in session_lists(recordings, folder, findings.faults).items():
            texts |= _texts_from(table, own, folder, findings)
    return texts


def _listed_beside(
    texts: Transcripts, recordings: list[Path], folder: Path, findings: Findings
) -> Transcripts:
    """Find the transcripts of the recordings that have none in `texts`, which are those of files
    beside recordings, in lists in their folders.
    """
    without = [path for path in recordings if path not in texts]
    found: Transcripts = {}
    for place, unnamed in listed_folders(without, folder).items():
        table, own, why = lists_in(place)[0], Findings(), ""
        below = [path for path in recordings if path.is_relative_to(place)]
        try:
            rows = texts_from_list(below, place, table, own)
        except UnusableError as error:
            rows, why = {}, f": it {error}"
        added = {path: said for path, said in rows.items() if path not in texts}
        if added:
            found |= added
            what = f"the text is a row of {table.name}, as there is no file of its name"
            findings.choices[what] += len(added)
            findings.faults.extend(own.faults)
            findings.unmatched.extend(own.unmatched)
            findings.silent.update(own.silent)
        else:
            findings.choices[f"neither a file of its name nor {table} gives a text{why}"] += len(
                unnamed
            )
    return found


def _texts_from(
    table: Path, recordings: list[Path], folder: Path, findings: Findings
) -> Transcripts:
    """Read the transcripts from a list. Raises ManifestError where it cannot be read as one."""
    try:
        return texts_from_list(recordings, folder, table, findings)
    except UnusableError as error:
        made = _REWRITTEN.search(str(error))
        then = f", and name that: --transcripts {made[1]}" if made else ""
        raise ManifestError(f"{table} {error}{then}") from error
    except OSError as error:
        raise ManifestError(
            f"{table} cannot be read: {error.strerror}\n  Name the list of transcripts."
        ) from error


def _manifest_lines(
    path: Path,
    inside: Path,
    out: Path,
    said: list[Transcript],
    speaker: str,
    faults: list[str],
) -> list[Made]:
    """Make one line of a whole recording, or one of each of its parts."""
    try:
        header = read_header(path, called(path))
        audio, name = relative(path, out.parent), in_utf8(inside.with_suffix(""))
    except UnusableError as error:
        faults.append(str(error))
        return []
    made, seconds = [], header.seconds
    for number, part in enumerate(said, start=1):
        try:
            check_row(part, header, path)
        except UnusableError as error:
            faults.append(f"{part.origin}: {error}")
            continue
        # compared with the file when the manifest is read back
        told = part.record.duration if part.record else None
        whole = round(seconds, 3) if told is None else told
        line: dict[str, Any] = {"id": name, "audio_filepath": audio, "duration": whole}
        if part.span is not None:
            begin, end = part.span
            if end == math.inf or (
                part.record is None and begin < seconds < end <= seconds + _LATE
            ):
                end = seconds
            line["id"] = f"{name}-{number:04d}"
            line |= {"offset": round(begin, 3), "duration": round(end - begin, 3)}
        own = {"speaker": part.speaker} if part.speaker else {}
        line |= {"text": part.text} | own | speaker_field(inside, speaker)
        made.append(Made(line, part.origin, (inside.as_posix(), path.name)))
    return made


def _names_used_twice(lines: list[Made]) -> list[str]:
    """Return a fault for each recording whose name differs from that of another one in the ending
    alone, or is the id of a part of another one: both would have the same id.
    """
    first: dict[str, str] = {}
    faults = []
    for made in lines:
        name, own = made.line["id"], made.names[0]
        other = first.setdefault(name, own)
        if other == own:
            continue
        if Path(other).with_suffix("") == Path(own).with_suffix(""):
            why = f"{other} and {own} are one recording by name; keep one of them"
        else:
            why = f"{other} and {own} both have the id {show(name)}, as a recording and as a part; rename one of them"
        faults.append(f"{made.origin}: {why}")
    return faults
