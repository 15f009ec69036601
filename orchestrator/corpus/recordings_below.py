"""Recordings that a list names by their names alone and that lie in folders below it, as those of
MLS, VoxPopuli and FLEURS.
"""

from __future__ import annotations

import os
import shlex
from itertools import islice
from pathlib import Path, PurePosixPath

from orchestrator.corpus.headers import AUDIO_SUFFIXES

_FOLDERS = 2000
"""Looked into, at most."""


def names_below(written: str, path: Path) -> str:
    """The command that looks for recordings by name, where the one of the name `written` lies in a
    folder below that of the list `path`, or beside it; empty where it does not.
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
