"""Files and folders that are either the old or the new version, whatever happens in between.

What is written stands aside under `<name>.tmp-<pid>` until it is whole and on the disk, then takes
the name. A reader, or the next run after kill -9 or a power cut, finds the old bytes or the new
ones, never a part.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from orchestrator.errors import OrchestrateError, StudyError

_OLD = ".tmp-old"
"""Ends the name of a folder that is being replaced, while neither version has the name."""
_ASIDE = re.compile(r".+\.tmp-(old|[0-9]+)(-wal|-shm|-journal)?")
_FULL = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT}
FULL = frozenset(_FULL.values())
"""Error numbers of a disk without room."""
_LIMITS = "End other programs or raise the limit of this one, then run the same command again."
_ACCESS = "Fix its permissions, or those of a folder above it, then run the same command again."
ADVICE = {
    errno.EISDIR: "A file belongs there: move the folder away, then run the same command again.",
    errno.ENOTDIR: "A folder belongs there: move the file away, then run the same command again.",
    errno.ELOOP: "It is a symbolic link: put the file itself there, then run the same command again.",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "Write to another place; a study is kept elsewhere with --studies DIR.",
    errno.ENAMETOOLONG: "Choose a shorter name, then run the same command again.",
    errno.ENOMEM: _LIMITS,
    errno.EMFILE: _LIMITS,
    errno.ENFILE: _LIMITS,
}
"""What helps, by error numbers."""
_NUMBER = re.compile(r"(?:\[Errno |\(os error )(\d+)[\])]")
_REFUSED = FULL | {errno.EIO, errno.EFBIG}
_LATER: ContextVar[set[Path] | None] = ContextVar("folders to be synced together", default=None)


def system_error(error: OSError) -> OrchestrateError:
    """What a person reads of an error of the system that nothing else has words for."""
    if error.errno == errno.ENOENT and not error.filename and _folder_is_gone():
        return OrchestrateError(
            "the current folder was removed or renamed while this shell is in it\n"
            "  Change to a folder that is there (cd), then run the same command again."
        )
    message = ": ".join(filter(None, (error.filename, error.strerror or str(error))))
    if error.errno not in FULL:
        advice = ADVICE.get(error.errno or 0)
        return OrchestrateError(f"{message}\n  {advice}" if advice else message)
    again = "What was written before is safe. Make room, then run the same command again."
    return StudyError(f"{message}\n  {again}")


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield where to write the new `path`, whose folder is made; on leaving it is published.

    Where the body raises, nothing is left and the old file stays. Raises OSError, with `path` as
    its file, when the disk refuses, whatever library met it.
    """
    with _as_refusals_of(path):
        make_folder(path.parent)
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    clear_dead(path.parent, path.name)
    aside.unlink(missing_ok=True)  # a link of this name would be written through
    try:
        with _as_refusals_of(path):
            yield aside
            _sync_file(aside)
            os.replace(aside, path)
            sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder; on leaving it is published as `path`, in the place of the folder that
    has the name.

    Where the body raises, nothing is left and the old folder stays. Raises OSError, with `path` as
    its file, when the disk refuses, whatever library met it.
    """
    with _as_refusals_of(path):
        make_folder(path.parent)
    aside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    clear_dead(path.parent, path.name)
    remove(aside)
    try:
        with _as_refusals_of(path):
            aside.mkdir()
            yield aside
            _sync_tree(aside)
            _exchange_names(aside, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            remove(aside)


def clear_leftovers(root: Path) -> None:
    """Remove what killed writers left below `root`; a folder killed between its two versions is the
    old one again.

    Only for who holds the lock of `root`. What a process without the lock is just writing, into a
    cache, stays.
    """
    for leftover in sorted(root.rglob("*.tmp-*")):
        published = leftover.with_name(leftover.name.removesuffix(_OLD))
        if (
            leftover.name.endswith(_OLD)
            and ".tmp-" not in published.name
            and not published.exists()
        ):
            os.replace(leftover, published)
        elif is_abandoned(leftover.name):
            remove(leftover)


def clear_dead(folder: Path, name: str = "*") -> None:
    """Remove what writers of `name`, or of any file of `folder`, left aside there when they were
    killed.
    """
    start = "" if name == "*" else f"{name}.tmp-"
    for leftover in os.listdir(folder) if folder.is_dir() else ():
        aside = leftover.startswith(start) and ".tmp-" in leftover
        if aside and not leftover.endswith(_OLD) and is_abandoned(leftover):
            remove(folder / leftover)


def is_abandoned(name: str) -> bool:
    """Whether a file of this name is one of ours that stands aside and whose writer is gone."""
    found = _ASIDE.fullmatch(name)
    if found is None:
        return False
    return found[1] == "old" or int(found[1]) == os.getpid() or not _process_runs(int(found[1]))


def _process_runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file, a folder or a link, never what a link points to; nothing where there is
    none.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _as_refusals_of(path: Path) -> Iterator[None]:
    """Give what the disk refuses as an OSError of `path`: safetensors, for one, has an error of its
    own for it.
    """
    try:
        yield
    except Exception as error:
        given = error.errno if isinstance(error, OSError) else None
        number = given if given in _REFUSED else _os_error_number(str(error))
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _os_error_number(message: str) -> int | None:
    """What the disk refused, by the message of an error that holds no number: that of safetensors,
    or of `shutil.copytree`, which lists several.
    """
    said = (int(number) for number in _NUMBER.findall(message))
    by_words = (number for words, number in _FULL.items() if words in message)
    return next((number for number in (*said, *by_words) if number in _REFUSED), None)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, durably. Raises NotADirectoryError where one of them is a
    file.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), str(folder)) from error
    sync_folder(folder.parent)


@contextmanager
def folders_synced_once() -> Iterator[None]:
    """Within the block files are published as ever, and every folder is synced once, at its end.

    For files that belong together: until the block is left, a power cut may take the new name of
    any of them. Where the body raises, nothing more is synced.
    """
    folders: set[Path] = set()
    outer = _LATER.set(folders)
    try:
        yield
    finally:
        _LATER.reset(outer)
    for folder in sorted(folders):
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: without it a rename may be lost at a power cut."""
    if (later := _LATER.get()) is not None:
        later.add(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange_names(aside: Path, path: Path) -> None:
    """`aside` takes the name `path`. A folder cannot be renamed over another that holds files."""
    if not path.exists() and not path.is_symlink():
        os.replace(aside, path)
        return
    old = path.with_name(path.name + _OLD)
    remove(old)
    os.replace(path, old)
    os.replace(aside, path)
    remove(old)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync_file(path)
    sync_folder(folder)
