"""The speaker that a rule gives each recording of a folder, by its folder or its name, and the notes on names that are
hardly those of people.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.manifests.manifest_writing import Made, in_utf8
from orchestrator.corpus.names_of_nobody import begin_names_of_files, named_as

SpeakerRule = Literal["none", "folder", "prefix"]
"""Where the speaker of a recording is found: nowhere; in the first folder below the top, as in
LibriSpeech; or in the file's name up to its first - or _.
"""

ONE = "one="
"""The prefix, in the place of a rule, of the name of the only speaker."""

_MANY = 5
"""The number of recordings from which on it is told that each has a speaker of its own."""


def speaker_field(path: Path, rule: str) -> dict[str, Any]:
    """Return the speaker that the rule gives a recording, as a field of its line; empty where it
    gives none.
    """
    if rule.startswith(ONE):
        return {"speaker": rule.removeprefix(ONE)}
    if rule == "folder" and len(path.parts) > 1:
        return {"speaker": in_utf8(Path(path.parts[0]))}
    prefix, *rest = re.split(r"[-_]", in_utf8(Path(path.stem)), maxsplit=1)
    return {"speaker": prefix} if rule == "prefix" and prefix and rest else {}


def notes_on_speakers(
    recordings: list[Path], kept: list[Made], folder: Path, rule: str
) -> list[str]:
    """Return notes on the speakers that the rule gives the recordings below `folder`, of which lines are `kept`."""
    return [
        *_each_alone(kept, rule),
        *_notes_on_prefixes(recordings, kept, rule),
        *_one_folder(recordings, folder, rule),
    ]


def _each_alone(kept: list[Made], rule: str) -> list[str]:
    """Return a note where the rule gives each of many recordings a speaker of its own, as numbers of recordings do."""
    found = {str(made.line["audio_filepath"]): str(made.line.get("speaker", "")) for made in kept}
    speakers = {name for name in found.values() if name}
    if rule not in ("folder", "prefix") or not _MANY <= len(found) == len(speakers):
        return []
    return [
        f"each of the {len(found)} recordings has a speaker of its own, such as {show(min(speakers))}; where these "
        f"number recordings and are no people, leave out --speaker {rule}"
    ]


def _notes_on_prefixes(recordings: list[Path], kept: list[Made], rule: str) -> list[str]:
    """Return notes on recordings whose names have no prefix, and so name no speaker, and on prefixes that are
    nobody's.
    """
    if rule != "prefix":
        return []
    notes = []
    without = [path for path in recordings if not re.search(r"[^-_][-_]", path.stem)]
    if without:
        notes.append(
            f"of {len(without)} recordings the name has no - or _, such as {show(without[0].name)}, so --speaker "
            "prefix finds no speaker there"
        )
    found = {str(made.line["speaker"]) for made in kept if "speaker" in made.line}
    if what := begin_names_of_files(found):
        notes.append(
            f"the speakers are {', '.join(map(show, sorted(found)[:3]))}, with which the names of recordings begin, "
            f"and which are named as {what}; where folders are the speakers, take --speaker folder, or none"
        )
    return notes


def _one_folder(recordings: list[Path], folder: Path, rule: str) -> list[str]:
    """Return a note where all recordings share the first folder below the top, so that it may not
    be that of a speaker, as `wav48` of VCTK.
    """
    inside = [path.relative_to(folder).parts for path in recordings]
    first = {parts[0] for parts in inside}
    if rule == "folder" and (what := named_as(first)):
        return [
            f"the speakers are {', '.join(map(show, sorted(first)[:3]))}, the first folders below {folder}, which are "
            f"named as {what}; where the folders in them are the speakers, name one, such as "
            f"{folder / min(first)}, or take --speaker prefix where the names of recordings begin with them"
        ]
    if rule != "folder" or len(first) > 1 or len({parts[1] for parts in inside if parts[2:]}) < 2:
        return []
    return [
        f"all recordings are of the speaker {show(*first)}, the first folder below {folder}; where the folders in it "
        f"are the speakers, name {folder / inside[0][0]}"
    ]
