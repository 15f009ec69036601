"""Checking the parts of a recording that files beside it tell: none of them may be of one channel of several, and
each speaker gets a name that is that of one person in all of the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.label_files.label_file import LDC
from orchestrator.corpus.label_files.segments import NUMBERED, ROLES
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.one_channel import refuse_one_of_several

_NUMBERED = re.compile(rf"{NUMBERED}|(?:(?:ch(?:annel)?|s)[ _-]?)?\d{{1,2}}|[a-z]", re.IGNORECASE)
"""How programs number the speakers of one recording. A number of three digits, `101` or `S012`, is that of a person
in all of a corpus.
"""


def parts_of_recording(
    parts: Sequence[Transcript], recording: Path, faults: list[str], kind: str = ""
) -> list[Transcript]:
    """Return the parts that labels of some `kind` or a program tell of a recording. Where one of them is of one
    channel and the recording has several, a fault is added and nothing is returned. Speakers of the LDC are the sides
    of a call, and count as channels.
    """
    if (fault := channel_fault(parts, recording, kind)) is not None:
        faults.append(fault)
        return []
    return [with_recording(said, recording) for said in parts]


def channel_fault(parts: Iterable[Transcript], recording: Path, kind: str = "") -> str | None:
    """Return a fault where one of the parts is of one channel and the recording has several."""
    key = "side" if kind == LDC else "channel"
    first: dict[str, Transcript] = {}
    for said in parts:
        first.setdefault(said.speaker if kind == LDC else said.channel, said)
    for channel, said in first.items():  # the recording is looked at once for each channel
        try:
            refuse_one_of_several({key: channel}, recording, f"audio file {show(str(recording))}")
        except UnusableError as error:
            return f"{said.origin}: {error}"
    return None


def with_recording(said: Transcript, recording: Path) -> Transcript:
    """Return a part with the name of the recording before its speaker, where the speaker is numbered or named by a
    role, and so is another person in every recording.
    """
    own = said.speaker
    if _NUMBERED.fullmatch(own) is None and own.casefold() not in ROLES:
        return said
    return replace(said, speaker=f"{recording.stem}-{own}", label=own)
