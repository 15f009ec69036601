"""Parts of a recording as files beside it tell them: with a speaker that is one person in all of the corpus, and
never of one channel of several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.label_files.label_file import LDC
from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.manifests.one_channel import refuse_one_of_several

_OF_ONE_RECORDING = re.compile(
    r"(?:(?:speaker|spkr?|ch(?:annel)?|s)[ _-]?)?\d{1,3}|[a-z]|agent|customer|client|operator|caller|callee|user|bot"
    r"|assistant|doctor|patient",
    re.IGNORECASE,
)
"""Names that programs number or that say a part in a conversation: another person in every recording."""


def parts_of_recording(
    parts: Sequence[Transcript], recording: Path, faults: list[str], kind: str = ""
) -> list[Transcript]:
    """The parts that labels of some `kind` or a program tell of a recording. Nothing, and a fault, where one
    of them is of one channel and the recording has several; those of LDC name the sides of a call.
    """
    for said in parts:
        side = said.speaker if kind == LDC else said.channel
        try:
            refuse_one_of_several({"side": side}, recording, f"audio file {show(str(recording))}")
        except UnusableError as error:
            faults.append(f"{said.origin}: {error}")
            return []
    return [_with_recording(said, recording) for said in parts]


def _with_recording(said: Transcript, recording: Path) -> Transcript:
    """A part whose speaker, where others have that name too, has the name of the recording before it."""
    if _OF_ONE_RECORDING.fullmatch(said.speaker) is None:
        return said
    return replace(said, speaker=f"{recording.stem}-{said.speaker}")
