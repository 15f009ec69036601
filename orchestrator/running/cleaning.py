"""What the caches and checkpoints of studies take, and which of it nobody needs any more.

Not needed: the decoded audio of a finished study, checkpoints older than its last, and what killed
writers left. Nothing of a study that a process holds is touched, nothing through a symbolic link,
and nothing that was sealed.
"""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.atomic import is_abandoned, remove
from orchestrator.errors import OrchestrateError
from orchestrator.records.contents import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.records.usage import Usage
from orchestrator.running.checkpoints import Checkpoints
from orchestrator.running.session import finished


def usage_of(folder: StudyFolder, project: Path) -> Usage:
    """What a study takes now. Changes nothing."""
    kept = _why_kept(folder, project)
    unneeded = () if kept else tuple(_unneeded(folder))
    cache, checkpoint, whole = (
        _size(path) for path in (folder.cache, folder.checkpoint, folder.path)
    )
    return Usage(
        folder.name,
        cache,
        checkpoint,
        whole - cache - checkpoint,
        unneeded,
        sum(map(_size, unneeded)),
        kept,
    )


def clean(folder: StudyFolder, project: Path) -> Usage:
    """Remove what is not needed; returns what it was. Raises StudyError where a process holds the
    study by now.
    """
    found = usage_of(folder, project)
    if not found.unneeded:
        return found
    with folder.lock():
        if not _unfinished(folder, project):  # nobody made it longer in between
            for path in _unneeded(folder):
                remove(path)
    return found


def _why_kept(folder: StudyFolder, project: Path) -> str:
    if running := folder.holder():
        return f"in use by {running}"
    return _unfinished(folder, project)


def _unfinished(folder: StudyFolder, project: Path) -> str:
    try:
        done = finished(stored_spec(folder, project), folder)
    except OrchestrateError as error:
        return str(error).partition("\n")[0]
    return "" if done else "not finished: it continues faster with them"


def _unneeded(folder: StudyFolder) -> list[Path]:
    """Of a finished study."""
    found = _inside(folder.cache)
    found += Checkpoints(folder.checkpoint).older() if not folder.checkpoint.is_symlink() else []
    return found + [path for path in _inside(folder.path) if is_abandoned(path.name)]


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder; nothing in one that is a link, or not there."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _size(path: Path) -> int:
    """Bytes of a file, or of all below a folder, links not followed; 0 for what is not there."""
    if path.is_symlink() or not path.exists():
        return 0
    if not path.is_dir():
        return path.stat().st_size
    sizes = 0
    for folder, _, names in os.walk(path):
        files = [Path(folder, name) for name in names]
        sizes += sum(
            file.lstat().st_size for file in files if file.exists() and not file.is_symlink()
        )
    return sizes
