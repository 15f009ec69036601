"""Reading the texts and timed parts of transcript files, each with the place where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.corpus.importing.part_tables import OtherRecordingsError, parts_of_table
from orchestrator.corpus.label_files.label_file import kind_of_labels, segments_of
from orchestrator.corpus.label_files.segments import Segment
from orchestrator.corpus.label_files.service_json import parts_of_service
from orchestrator.corpus.label_files.whisper_json import parts_of_whisper
from orchestrator.corpus.label_files.xml_transcripts import parts_of_xml
from orchestrator.corpus.manifest_errors import SAVE_AS_UTF8, UnusableError, show, why_unopened
from orchestrator.corpus.manifests.record_fields import Draft

_XML = (".trs", ".eaf", ".xml")
_END_OF_DOS = "\x1a"
_BINARY_PRAAT = b"ooBinaryFile"


@dataclass(frozen=True)
class Transcript:
    """What is said in a recording or a part of it, and the file and line where that stands."""

    text: str
    origin: str
    span: tuple[float, float] | None = None
    """Begin and end in seconds; None: the whole recording."""
    speaker: str = ""
    before: str = ""
    """What stood before the words without being said: the name of the speaker, a dash or >>."""
    channel: str = ""
    """The channel of a recording of several, where the file tells it."""
    record: Draft | None = None
    """The row of a list that it was made of, whose other fields are compared with the recording."""
    label: str = ""
    """The speaker as the file names it, where that is another person in every recording."""


def program_output(places: Sequence[Path], faults: list[str]) -> list[Transcript]:
    """Read what a program wrote under the recording's name: XML, JSON or a table. The first file
    that is a transcript counts; files of other content are passed over.
    """
    for place in places:
        if place.suffix.lower() in _XML:
            if told := _parts_in_xml(place, faults):
                return told
            continue
        text = read_text(place, faults)
        if not text:
            continue
        is_table = place.suffix.lower() in (".tsv", ".csv", ".tdf")
        if is_table and (kind := kind_of_labels(text)):
            return [part for _, part in labelled_parts(place, text, kind, faults)]
        try:
            parts = (
                parts_of_table(text, place.stem)
                if is_table
                else parts_of_whisper(text) or parts_of_service(text)
            )
        except OtherRecordingsError:
            continue
        except UnusableError as error:
            faults.append(f"{place} {error}")
            return []
        if parts:
            return [said for _, said in _as_transcripts(place, parts, faults)]
    return []


def _parts_in_xml(place: Path, faults: list[str]) -> list[Transcript]:
    try:
        found = parts_of_xml(place.read_bytes()) or []
    except OSError as error:
        faults.append(f"{place} cannot be read: {why_unopened(error)}")
        return []
    except UnusableError as error:
        faults.append(f"{place} {error}")
        return []
    return [said for _, said in _as_transcripts(place, found, faults)]


def labelled_parts(
    path: Path, text: str, kind: str, faults: list[str]
) -> list[tuple[str, Transcript]]:
    """Return the parts that a label file tells, each with the name of its recording."""
    try:
        return _as_transcripts(path, segments_of(text, kind), faults)
    except UnusableError as error:
        faults.append(f"{path} {error}")
        return []


def _as_transcripts(
    path: Path, parts: Sequence[Segment], faults: list[str]
) -> list[tuple[str, Transcript]]:
    """Return parts as transcripts, each with the name of its recording; a fault is added for one
    that does not end after it begins.
    """
    found = []
    for part in parts:
        origin = f"{path}:{part.line}"
        if not part.begin < part.end:  # also true of NaN
            faults.append(
                f"{origin}: a part begins at {part.begin:g} s and ends at {part.end:g} s; write its times, or delete "
                f"it, beside {show(part.text[:40])}"
            )
        said = Transcript(
            part.text, origin, (part.begin, part.end), part.speaker, part.before, part.channel
        )
        found.append((part.recording, said))
    return found


def read_text(path: Path, faults: list[str]) -> str | None:
    """Read a file of UTF-8, or of UTF-16 with its byte order mark, without the sign by which DOS ends a text. Where it
    is neither, or cannot be read, adds a fault and returns None.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_BINARY_PRAAT):
            faults.append(
                f"{path} is a binary file of Praat; save it as text (Praat: Save as text file)"
            )
            return None
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Praat and Windows' editor write it
            return content.decode("utf-16").removesuffix(_END_OF_DOS)
        return content.decode("utf-8-sig").removesuffix(_END_OF_DOS)
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        faults.append(f"{path}:{line}: byte 0x{byte:02x} is not UTF-8; {SAVE_AS_UTF8}")
    except OSError as error:
        faults.append(f"{path} cannot be read: {why_unopened(error)}")
    return None


def tabled_parts(path: Path, text: str, faults: list[str]) -> list[Transcript] | None:
    """Return the parts that a table of one recording tells; None for another text. Adds a fault where the table
    cannot be read, or nothing is said in it.
    """
    try:
        found = parts_of_table(text, path.stem)
    except UnusableError as error:
        faults.append(f"{path} {error}")
        return []
    if found is None:
        return None
    if not found:
        faults.append(
            f"{path} is a table of parts in which nothing is said; write what is said, or take the file away"
        )
    return [said for _, said in _as_transcripts(path, found, faults)]
