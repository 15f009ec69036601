"""Reading records of a manifest as transcripts: the rows of a list, or a single record beside its
recording. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator.corpus.importing.readings import without_pinyin
from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.label_files.times_in_text import times_or_turns
from orchestrator.corpus.manifests.lhotse_cut import is_cut
from orchestrator.corpus.manifests.missing_values import is_missing_text
from orchestrator.corpus.manifests.record_fields import (
    AUDIO_KEYS,
    ID_KEYS,
    TEXT_KEYS,
    read_draft,
)

_OF_SUPERVISION = {"recording_id", "start", "duration"}
"""The keys by which a supervision of lhotse is recognised."""


def said_in_record(
    record: Mapping[str, Any], where: str, faults: list[str]
) -> Iterator[tuple[str, Transcript]]:
    """Yield what a record says, with the name of its recording. Where it is no record of a
    manifest, nothing is yielded and faults are added.
    """
    silent = not is_cut(record) and all(is_missing_text(record.get(key)) for key in TEXT_KEYS)
    draft, wrong = read_draft(_with_audio(record), needs_text=not silent)
    faults += [f"{where}: {message}" for message in wrong]
    if draft is None:
        return
    if draft.path is None:
        faults.append(
            f"{where}: holds its sound itself and names no recording; as a manifest it is read as it is"
        )
        return
    if found := times_or_turns(draft.text):
        faults.append(f"{where}: {found[1]}")
        return
    span = None
    if draft.offset is not None:
        rest = float("inf") if draft.duration is None else draft.duration
        span = (draft.offset, draft.offset + rest)
    text = "" if silent else without_pinyin(draft.text)
    yield draft.path, Transcript(text, where, span, draft.speaker, record=draft)


def _with_audio(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record with a name of its recording: where it has none, its id; for a supervision of
    lhotse, which is a part of a recording, the recording that it names, with the start as offset.
    """
    if record.keys() >= _OF_SUPERVISION:
        return {**record, AUDIO_KEYS[0]: record["recording_id"], "offset": record["start"]}
    if is_cut(record) or any(record.get(key) is not None for key in AUDIO_KEYS):
        return record
    name = next((record[key] for key in ID_KEYS if isinstance(record.get(key), str | int)), None)
    return record if name is None else {**record, AUDIO_KEYS[0]: str(name).strip()}


@dataclass(frozen=True)
class RecordBeside:
    """What one record says of the recording beside which it lies."""

    said: list[Transcript]
    by_name: bool
    """Whether the record names that recording."""


def record_beside(
    text: str, place: Path, recording: Path, faults: list[str]
) -> RecordBeside | None:
    """Read the single object of a JSON file that lies beside a recording, as Emilia has one for
    each. It must name the recording as its audio or by its id, or else hold a text and only plain
    values beside it. Returns None for any other file.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not _says_a_text(value):
        return None
    name = _named_by(value)
    if name is None and any(isinstance(entry, dict | list) for entry in value.values()):
        return None
    if name not in (None, recording.stem):
        return None
    record = {**value, AUDIO_KEYS[0]: recording.name}
    said = [row for _, row in said_in_record(record, f"{place}:1", faults)]
    if said and not said[0].text:
        faults.append(
            f"{place}:1: the transcript is empty; write what is said, or take the file away to go without"
        )
        said = []
    return RecordBeside(said, by_name=name is not None)


def _says_a_text(record: Mapping[str, Any]) -> bool:
    return any(isinstance(record.get(key), str) for key in TEXT_KEYS)


def _named_by(record: Mapping[str, Any]) -> str | None:
    """Return the recording that a record names by its audio or else its id, without folder and
    ending; None where it names none.
    """
    paths = [record[key] for key in AUDIO_KEYS if record.get(key) is not None]
    if paths:
        return PurePosixPath(paths[0]).stem if isinstance(paths[0], str) else ""
    return next((str(record[key]) for key in ID_KEYS if record.get(key) is not None), None)
