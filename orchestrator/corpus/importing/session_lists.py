"""Finding the transcripts of sessions, each of which covers several recordings:
`transcriptions/dev/S02.json` for `audio/dev/S02_P05.wav`, as CHiME-6 and DiPCo have them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.corpus.importing.parallel_texts import ParallelTexts

_RECORDING = re.compile(r"(?P<session>.+)_(?:(?P<speaker>P\d+)|U\d+(?:\.CH\d+)?)")
"""The name of a recording of a session: by a speaker's own microphone (P05), or by one of the room
(U02.CH1).
"""

_KEY = b'"session_id"'
_LOOKED_AT = 16_384
"""The number of bytes at the beginning of a file that are searched; a whole turn is within them."""


def session_lists(
    recordings: Sequence[Path], top: Path, faults: list[str]
) -> dict[Path, list[Path]]:
    """Return the list of each session below `top`, with the recordings that its speakers wear. Adds
    a fault where the folder has none of these, or a session has several lists.
    """
    texts = ParallelTexts(recordings, top)
    lists: dict[tuple[Path, str], list[Path]] = {}
    worn: dict[Path, list[Path]] = {}
    for path in recordings:
        if (named := _RECORDING.fullmatch(path.stem)) is None:
            continue
        session = named["session"]
        if (key := (path.parent, session)) not in lists:
            beside = path.with_name(f"{session}.json")
            places = [beside] if beside.is_file() else texts.find(path, (".json",), (session,))
            lists[key] = [place for place in places if _is_of_session(place)]
        found = lists[key]
        if found:
            own = worn.setdefault(found[0], [])
            own += [path] if named["speaker"] else []
    faults += [
        f"{found[0]} and {found[1]} are both of session {session}; take one of them away"
        for (_, session), found in lists.items()
        if len(found) > 1
    ]
    faults += [
        f"{table} is read for the recordings that its speakers wear, such as {table.stem}_P05.wav, and {top} has those "
        "of the room alone; put the others there too, or write a list of parts of these: audio_filepath, offset, "
        "duration, text"
        for table, own in worn.items()
        if not own
    ]
    return {table: own for table, own in worn.items() if own}


def _is_of_session(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _KEY in stream.read(_LOOKED_AT)
    except OSError:
        return False
