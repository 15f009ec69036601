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
    folder below that of the list `path`; empty where it does not.
    """
    name = PurePosixPath(written).name
    wanted = {name, *(f"{name}{ending}" for ending in AUDIO_SUFFIXES)}
    if not name.strip(".") or not any(
        wanted & set(files) for _, _, files in islice(os.walk(path.parent), _FOLDERS)
    ):
        return ""
    folder, table, out = (
        shlex.quote(str(place)) for place in (path.parent, path, path.with_suffix(".jsonl"))
    )
    return (
        "; recordings of these names lie in folders below, and are found by: "
        f"orchestrate manifest from-folder {folder} {out} --transcripts {table}"
    )
