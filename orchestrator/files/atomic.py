"""Atomic, durable writing of files and folders.

A new version is written under a temporary name, `<name>.tmp-<pid>-<where>`, brought to the disk
with fsync, and then renamed to `<name>`. A reader, or the next run after kill -9 or a power cut,
finds the old bytes or the new ones, never a part.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path

from orchestrator.errors import OrchestrateError, StudyError
from orchestrator.files.names_aside import OLD, aside_of, clear_dead, published, remove

_FULL = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT}
FULL = frozenset(_FULL.values())
"""Error numbers that mean that the disk, or a quota on it, is full."""
_LIMITS = "End other programs or raise the limit of this one, then run the same command again."
_ACCESS = "Fix its permissions, or those of a folder above it, then run the same command again."
_MOUNT = "Mount or make that folder, then run the same command again."
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
"""What a person can do about an error of the system, by its error number."""
_NUMBER = re.compile(r"(?:\[Errno |\(os error )(\d+)[\])]")
_REFUSED = FULL | {errno.EIO, errno.EFBIG}
_NOT_SUPPORTED = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_MODES = _NOT_SUPPORTED | {errno.EPERM, errno.EACCES}
"""Errors of a file system on which the mode of a file cannot be set, as it gives all files one mode
or another owner: a share mounted by root, vboxsf, gvfs.
"""
_NO_SYNC_OF_FOLDERS = _NOT_SUPPORTED | {errno.EINVAL}
"""Errors of a file system that cannot sync a folder: Linux's afs, orangefs and vboxsf, gocryptfs."""
_SYNCING = 8
"""Number of threads that fsync files at the same time."""


def system_error(error: OSError) -> OrchestrateError:
    """Turn an OSError that no other code explains into an error with a message and advice."""
    if error.errno == errno.ENOENT and not error.filename and _folder_is_gone():
        return OrchestrateError(
            "the current folder was removed or renamed while this shell is in it\n"
            "  Change to a folder that is there (cd), then run the same command again."
        )
    if error.errno == errno.ENOENT and "temporary directory" in str(error):
        return OrchestrateError(
            f"{error.strerror}\n  Name a folder that can be written: export TMPDIR=DIR"
        )
    place = str(published(Path(error.filename))) if isinstance(error.filename, str) else ""
    message = ": ".join(filter(None, (place, error.strerror or str(error))))
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
    """Yield a temporary path to write to, in the folder of `path`, which is made; on leaving, the
    file is synced and renamed to `path`.

    Where the body raises, the temporary file is removed and the old file stays. A failure of the
    disk is raised as OSError with `path` as its file, whatever library met it.
    """
    with as_refusals_of(path), new_files(path) as (aside,):
        yield aside


@contextmanager
def new_files(
    *paths: Path, meanwhile: Callable[[], None] | None = None
) -> Iterator[tuple[Path, ...]]:
    """Yield a temporary path to write to for each of `paths`, whose folders are made; on leaving,
    all files are synced together, and then each is renamed.

    `meanwhile` is called while they are being synced: none of them is renamed before it returns,
    and none where it raises. Where the body raises, the temporary files are removed and the old
    files stay. Where the disk fails for one of them, OSError is raised with its path as the file.
    """
    asides = tuple(_make_way(path) for path in paths)
    left = set(asides)
    try:
        yield asides
        for aside in asides:
            _give_usual_mode(aside)
        _sync_together(tuple(zip(paths, asides, strict=True)), meanwhile)
        for path, aside in zip(paths, asides, strict=True):
            with as_refusals_of(path):
                os.replace(aside, path)
            left.remove(aside)
        _sync_together([(folder, folder) for folder in sorted({path.parent for path in paths})])
    finally:
        for aside in left:
            aside.unlink(missing_ok=True)


def _give_usual_mode(place: Path) -> None:
    """Give a file the mode of one that `open` creates here: safetensors makes files that only
    their owner can read, and a copy has the mode of its source, which may be read-only. Where the
    file system sets no modes, the file keeps the one that it has.
    """
    if place.is_file() and not place.is_symlink():
        try:
            place.chmod(0o666 & ~_umask())
        except OSError as error:
            if error.errno not in _NO_MODES:
                raise


@lru_cache
def _umask() -> int:
    """The umask of this process. It can only be read by setting it, so it is set back at once."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def _make_way(path: Path) -> Path:
    """Return the temporary name for `path`, after making its folder and removing leftovers."""
    with as_refusals_of(path):
        make_folder(path.parent)
    # that of an earlier attempt of this process, too: writing to a link of its name would write to
    # the link's target
    clear_dead(path.parent, path.name)
    return aside_of(path)


@contextmanager
def new_folder(path: Path, meanwhile: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder; on leaving, it is synced and renamed to `path`, replacing
    the folder of that name.

    `meanwhile` is called with the temporary folder while it is being synced: the folder is renamed
    after that, and not where it raises. Where the body raises, the temporary folder is removed and
    the old one stays. A failure of the disk is raised as OSError with `path` as its file, whatever
    library met it.
    """
    aside = _make_way(path)
    try:
        with as_refusals_of(path):
            aside.mkdir()
            yield aside
            for place in aside.rglob("*"):
                _give_usual_mode(place)
            written = [(path, place) for place in (aside, *sorted(aside.rglob("*")))]
            _sync_together(written, meanwhile and partial(meanwhile, aside))
            _exchange_names(aside, path)
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            remove(aside)
        raise


@contextmanager
def as_refusals_of(path: Path) -> Iterator[None]:
    """Re-raise every failure of the disk within the context as an OSError with `path` as its file.

    Libraries such as safetensors have error types of their own for it. Other errors pass unchanged.
    """
    try:
        yield
    except OrchestrateError:  # it has a message for a person already
        raise
    except Exception as error:
        given = error.errno if isinstance(error, OSError) else None
        number = given if given in _REFUSED else _os_error_number(str(error))
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _os_error_number(message: str) -> int | None:
    """Return the error number of a disk failure that `message` names, or None.

    For errors that hold no number of their own: those of safetensors, or of a copy of many files
    (shutil.Error), whose message may list several.
    """
    said = (int(number) for number in _NUMBER.findall(message))
    by_words = (number for words, number in _FULL.items() if words in message)
    return next((number for number in (*said, *by_words) if number in _REFUSED), None)


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, durably. Raises NotADirectoryError where one of them is a
    file, and FileNotFoundError where one is a link to nowhere, as to a disk that is not mounted.
    """
    if folder.is_dir():
        return
    if folder.is_symlink() and not folder.exists():
        said = f"a link to {os.readlink(folder)}, which is not there"
        raise FileNotFoundError(errno.ENOENT, f"{said}\n  {_MOUNT}", str(folder))
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), str(folder)) from error
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Call fsync on a folder: without it a rename inside it may be lost at a power cut. Does
    nothing where the file system cannot do that.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def _exchange_names(aside: Path, path: Path) -> None:
    """Rename the folder `aside` to `path`, and remove the one that had the name. Raises
    FileNotFoundError, and leaves that one, where somebody has removed `aside`.

    A folder cannot be renamed over another that holds files, so that one is renamed out of the way
    first. `names_aside.clear_leftovers` puts it back after a kill between the two renames.
    """
    if not path.exists() and not path.is_symlink():
        os.replace(aside, path)
        return
    aside.stat()
    old = path.with_name(path.name + OLD)
    remove(old)
    os.replace(path, old)
    os.replace(aside, path)
    remove(old)


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _sync_together(
    written: Sequence[tuple[Path, Path]], meanwhile: Callable[[], None] | None = None
) -> None:
    """Sync the place of each (name, place) in threads, and call `meanwhile` at the same time.

    Syncs that run together share the writes of the file system's journal; one after the other, each
    waits for a write of its own. A failure is raised as OSError with the name as its file.
    """
    if meanwhile is None and len(written) == 1:
        ((path, place),) = written
        with as_refusals_of(path):
            _sync(place)
        return
    started = {place: _started_sync(place) for _, place in written}
    try:
        if meanwhile is not None:
            meanwhile()
    finally:
        # Syncs that no thread has begun are cancelled here and done below by this thread: where
        # memory is short, the pool may have no thread that ever takes them.
        taken = {place: sync for place, sync in started.items() if sync and not sync.cancel()}
        wait(taken.values())
    for path, place in written:
        with as_refusals_of(path):
            if place in taken:
                taken[place].result()
            else:
                _sync(place)


def _started_sync(place: Path) -> Future[None] | None:
    """Start a sync in another thread; None where no thread can be started."""
    try:
        return _syncing_threads(os.getpid()).submit(_sync, place)
    except (RuntimeError, MemoryError):
        return None


def _sync(place: Path) -> None:
    if place.is_dir():
        sync_folder(place)
    else:
        _sync_file(place)


@lru_cache
def _syncing_threads(process: int) -> ThreadPoolExecutor:
    """The thread pool of this process. Keyed by process id, because a forked child inherits the
    object but not its threads.
    """
    return ThreadPoolExecutor(_SYNCING, f"syncing-{process}")
