"""Converting rows of the lists of public corpora that name their recordings in a way of their own
to records of a manifest. Pure.

Sources: https://chimechallenge.github.io/chime6, https://registry.opendata.aws/dipco,
https://github.com/pswietojanski/slurp, https://affective-meld.github.io,
https://mlcommons.org/datasets/peoples-speech.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.corpus.label_files.segments import seconds
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.record_fields import AUDIO_KEYS

_OF_SESSION = {"session_id", "words", "start_time", "end_time"}
_CLOCK = re.compile(r"(?:\d+:)?\d+:\d+(?:\.\d+)?")
_CORRECT = "correct"
_DIALOGUE = "Dialogue_ID"
_OF_EPISODE = ("StartTime", "EndTime", "utterance_id")
_OF_CLIPS = ("name", "label", "duration_ms")
_LONGEST = 1e12
"""Milliseconds. A larger number is no length."""
_WORN = ("close-talk", "original")
"""The devices that the speakers wear, among those by whose clocks DiPCo and CHiME-5 give times."""


def published_rows(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the records that a row of such a list stands for; None for any other row. A record has
    no text where it may not be what is said, or has no length. Raises UnusableError where a time
    cannot be read.
    """
    if any(record.get(key) is not None for key in AUDIO_KEYS):
        return None
    return _turn(record) or _readings(record) or _utterance(record) or _clips(record)


def _readings(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the recordings of a sentence of SLURP, which are a list of objects with a file, or a
    mapping from files to such objects. A recording that is not marked as correct has no text,
    because it says something else.
    """
    told = record.get("recordings")
    if "slurp_id" not in record or not isinstance(told, Mapping | list):
        return None
    named = told.items() if isinstance(told, Mapping) else ((None, each) for each in told)
    rows = []
    for name, each in named:
        of_it = each if isinstance(each, Mapping) else {}
        is_correct = of_it.get("status", _CORRECT) == _CORRECT
        row = {"audio_filepath": of_it.get("file", name), "speaker": of_it.get("usrid")}
        rows.append(row | {"text": record.get("sentence") if is_correct else None})
    return rows


def _turn(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return what one speaker says in a session of CHiME-6 or DiPCo, as a part of the recording
    that this speaker wears: in those of the room the others are louder.
    """
    speaker = record.get("speaker", record.get("speaker_id"))
    if not record.keys() >= _OF_SESSION or not isinstance(speaker, str):
        return None
    row = {"audio_filepath": f"{record['session_id']}_{speaker}", "speaker": speaker}
    begin, end = (_time(record, key, speaker) for key in ("start_time", "end_time"))
    if end <= begin:
        return [row]
    return [row | {"offset": begin, "duration": round(end - begin, 3), "text": record["words"]}]


def _utterance(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the utterance of a dialogue of MELD, without its times, which are those in the episode
    that it was cut from.
    """
    dialogue, number = record.get(_DIALOGUE), record.get("utterance_id")
    if dialogue is None or number is None:
        return None
    rest = {key: value for key, value in record.items() if key not in _OF_EPISODE}
    return [{**rest, "id": None, "audio_filepath": f"dia{dialogue}_utt{number}"}]


def _clips(record: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the clips that the People's Speech cut of one recording, which are given as lists of
    names, texts and lengths.
    """
    clips = record.get("training_data")
    if not isinstance(clips, Mapping) or not {"name", "label"} <= set(clips):
        return None
    lists = [clips[key] for key in _OF_CLIPS if key in clips]
    if not all(isinstance(each, list) and len(each) == len(lists[0]) for each in lists):
        raise UnusableError(
            f'"training_data" must have lists of one length as {", ".join(_OF_CLIPS)}, a place in each for every clip'
        )
    rows = (dict(zip(_OF_CLIPS, clip, strict=False)) for clip in zip(*lists, strict=True))
    return [
        {"audio_filepath": row["name"], "text": row["label"], "duration": _of_ms(row)}
        for row in rows
    ]


def _of_ms(row: Mapping[str, Any]) -> Any:
    """Return the length of a clip in seconds; what is no number of milliseconds is returned as it
    is.
    """
    told = row.get("duration_ms")
    if isinstance(told, bool) or not isinstance(told, int | float) or abs(told) > _LONGEST:
        return told
    return round(told / 1000, 3)


def _time(record: Mapping[str, Any], key: str, speaker: str) -> float:
    """Return a time in seconds; where there is one for each of several devices, by the clock of
    what the speaker wears.
    """
    told = value = record[key]
    if isinstance(told, Mapping):
        value = next((told[name] for name in (speaker, *_WORN) if name in told), None)
    if not isinstance(value, str) or not _CLOCK.fullmatch(value.strip()):
        devices = f"; of devices it has {', '.join(told)}" if isinstance(told, Mapping) else ""
        raise UnusableError(
            f'"{key}" is {show(value)}, must be a time such as 00:00:12.34, by the clock of what {speaker} wears'
            f" where there are several{devices}"
        )
    return round(seconds(value.strip()), 3)
