"""How much disk the caches and checkpoints of studies take, and which part of it nobody needs any
more.

Not needed is what a finished study can make again, checkpoints older than its last, what killed
writers left, and, in the cache that all studies share, the sound that no unfinished study names.
Never touched are a study that a process holds, anything shared while one study is held or cannot
be read, anything behind a symbolic link, anything sealed, and any file whose name is not ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.corpus.cache.clip_cache import kept_segments
from orchestrator.corpus.cache.project_cache import LABELS, ProjectCache
from orchestrator.errors import OrchestrateError, StudyError
from orchestrator.files.atomic import ADVICE
from orchestrator.files.names_aside import is_abandoned, remove
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.disk_usage import Usage, size_of
from orchestrator.records.shipping import MADE
from orchestrator.records.store import StudyFolder
from orchestrator.records.unreadable import reason
from orchestrator.running.checkpoints import Checkpoints
from orchestrator.running.completion import is_finished


def usage_of(folder: StudyFolder, project: Path) -> Usage:
    """Return the disk usage of a study and what of it can be removed. Changes nothing."""
    why = _why_kept(folder, project)
    unneeded = () if why else tuple(_unneeded_paths(folder))
    cache, checkpoint, whole = (
        size_of(path)
        for path in (folder.cache, folder.checkpoint, folder.path.resolve())  # it may be a link
    )
    return Usage(
        folder.name,
        cache,
        checkpoint,
        whole - cache - checkpoint,
        unneeded,
        sum(map(size_of, unneeded)),
        why,
    )


def clean(folder: StudyFolder, project: Path) -> Usage:
    """Remove what is not needed and return the usage as it was before. Raises StudyError where a
    process holds the study by now.
    """
    found = usage_of(folder, project)
    if not found.unneeded:
        return found
    with folder.lock():
        if not _why_unfinished(folder, project):  # nobody made it longer in between
            for path in _unneeded_paths(folder):
                _remove(path)
    return found


def shared_usage(folders: Sequence[tuple[StudyFolder, Path]]) -> Usage:
    """Return the disk usage of the cache that the studies of one root share. `folders` are all of
    these studies, each with its project's folder. Changes nothing.
    """
    path = folders[0][0].project_cache
    why = next(filter(None, (_holder_of(folder) for folder, _ in folders)), "")
    why = why or next(filter(None, (_why_unknown(*each) for each in folders)), "")
    unneeded = () if why or path.is_symlink() else tuple(_unneeded_shared(path, folders))
    return Usage("shared by all", size_of(path), 0, 0, unneeded, sum(map(size_of, unneeded)), why)


def clean_shared(folders: Sequence[tuple[StudyFolder, Path]]) -> Usage:
    """Remove what is not needed of the shared cache and return the usage as it was before. A study
    that begins meanwhile makes again what it misses.
    """
    found = shared_usage(folders)
    for path in found.unneeded:
        _remove(path)
    return found


def _remove(path: Path) -> None:
    """Remove a file or folder. Raises StudyError where the system refuses."""
    try:
        remove(path)
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "Run the same command again.")
        raise StudyError(f"{path} could not be removed: {error.strerror}\n  {advice}") from error


def _unneeded_shared(path: Path, folders: Sequence[tuple[StudyFolder, Path]]) -> Iterator[Path]:
    """Yield the paths in the shared cache that can be removed: sound that no unfinished study
    names, labels and the record of known files once every study is finished, and what killed
    writers left.
    """
    unfinished = [folder for folder, project in folders if _why_unfinished(folder, project)]
    sounds: set[str] = set()
    for folder in unfinished:
        for record in folder.sets().values():
            sounds.update(record.audio_sha256)
    cache = ProjectCache(path)
    for segment in kept_segments(cache.clips):
        if sounds.isdisjoint(segment.pcm_sha256):
            # the index first: without it nothing looks for the samples
            yield cache.clips / f"{segment.name}.index"
            yield cache.clips / f"{segment.name}.pcm"
    if not unfinished:
        yield from (place for place in _paths_inside(cache.labels) if LABELS.fullmatch(place.name))
        yield from (place for place in (cache.files,) if place.is_file())
    yield from (place for place in _paths_inside(cache.clips) if is_abandoned(place))


def _why_unknown(folder: StudyFolder, project: Path) -> str:
    """Say that it cannot be read which sound a study needs; empty where it can."""
    try:
        is_finished(stored_spec(folder, project), folder)
        folder.sets()
    except (OrchestrateError, OSError) as error:
        return f"{folder.name} may need it and cannot be read: {reason(error)}"
    return ""


def _holder_of(folder: StudyFolder) -> str:
    """Say who holds a study; empty where nobody does."""
    running = folder.holder()
    return f"{folder.name} is in use by {running}" if running else ""


def _why_kept(folder: StudyFolder, project: Path) -> str:
    """Say why nothing of a study may be removed: it is in use or not finished. Empty where
    something may.
    """
    if running := folder.holder():
        return f"in use by {running}"
    return _why_unfinished(folder, project)


def _why_unfinished(folder: StudyFolder, project: Path) -> str:
    """Say that a study is not finished or cannot be read; empty for a finished one."""
    try:
        done = is_finished(stored_spec(folder, project), folder)
    except (OrchestrateError, OSError) as error:
        return reason(error)
    return "" if done else "not finished: it continues faster with them"


def _unneeded_paths(folder: StudyFolder) -> list[Path]:
    """Return the paths of a finished study that can be removed."""
    found = _made_forms(folder)
    found += Checkpoints(folder.checkpoint).older() if not folder.checkpoint.is_symlink() else []
    return found + [path for path in _paths_inside(folder.path) if is_abandoned(path)]


def _made_forms(folder: StudyFolder) -> list[Path]:
    """Return the exported forms in a study's cache, and what killed writers left of them."""
    inside = [] if folder.cache.is_symlink() else _paths_inside(folder.cache / "shipped")
    ours = [path for path in inside if path.is_dir() and not path.is_symlink()]
    return [path for path in ours if MADE.fullmatch(path.name) or is_abandoned(path)]


def _paths_inside(folder: Path) -> list[Path]:
    """Return what lies in a folder, by name; nothing where it is a symbolic link or does not
    exist.
    """
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
