"""Finding recordings that a list names without their folders and that lie in folders below it, as
those of MLS, VoxPopuli and FLEURS; and finding such lists in a folder.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES

_FOLDERS = 2000
"""The number of folders that are looked into, at most."""
_LISTS = (
    ".tsv",
    ".csv",
    ".txt",
    ".json",
    ".jsonl",
    ".stm",
    ".lst",
    ".list",
    ".data",
    ".transcription",
)
"""Endings of files that may be lists."""
_LOOKED_AT = 16_384
"""The number of bytes of a list that are searched for names."""


def names_below(written: str, path: Path) -> str:
    """Return the command that finds recordings by name, where one of the name `written` lies in a
    folder below that of the list `path`, or beside that folder; empty where none does.
    """
    name = PurePosixPath(written).name
    wanted = {name, *(f"{name}{ending}" for ending in AUDIO_SUFFIXES)}
    places = (path.parent, path.parent.parent) if name.strip(".") else ()
    top = next((place for place in places if _is_below(wanted, place)), None)
    if top is None:
        return ""
    ending = "-manifest.jsonl" if path.suffix == ".jsonl" else ".jsonl"
    out = path.with_name(f"{path.stem}{ending}")
    folder, table, to = (shlex.quote(str(place)) for place in (top, path, out))
    return (
        "; recordings of these names lie in folders below, and are found by: "
        f"orchestrate manifest from-folder {folder} {to} --transcripts {table}"
    )


def _is_below(names: set[str], folder: Path) -> bool:
    return any(names & set(files) for _, _, files in islice(os.walk(folder), _FOLDERS))


def lists_that_name(recordings: Sequence[Path], folder: Path) -> list[Path]:
    """Return the text files of a folder whose beginning contains names of its recordings."""
    names = {name for path in recordings for name in (path.name, path.stem)}
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _LISTS]
    return [path for path in files if path.is_file() and not names.isdisjoint(_words_of(path))]


def _words_of(path: Path) -> set[str]:
    try:
        with path.open("rb") as stream:
            text = stream.read(_LOOKED_AT).decode("utf-8", "replace")
    except OSError:
        return set()
    return set(re.split(r"[\s,;|\"/\\()]+", text))
