"""One process at a time on a study, or on any file: an advisory lock that frees itself when its
holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.records.heartbeat_lock import refusal, this_process
from orchestrator.records.writing import safely

_held: set[int] = set()
"""Descriptors of locks that this process has, or is about to have."""
_NAMELESS = "another process"
"""A holder that has not signed yet."""


def _close_in_child() -> None:
    # A forked child shares the open file and would keep the lock after its parent was killed.
    # (O_CLOEXEC covers exec.)
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


_NOT_THERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system without locks answers."""
_NOT_OF_FOLDERS = _NOT_THERE | {errno.EBADF, errno.EINVAL}
"""What one answers whose locks are of files alone, such as NFS."""
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
_LOOK = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A pipe of this name would be waited for."""


class Lock:
    """The lock of a study, held. A person may remove the file, not the lock of the folder itself: a
    second start is refused by that one, and the owner makes the file anew.
    """

    def __init__(self, path: Path, study: str, owners: Path | None) -> None:
        """Take the lock whose file is `path`. Raises StudyError as `exclusive` does."""
        self._path, self._study, self._owners = path, study, owners
        self._file = -1
        self._folder, self._folder_locked = self._take_folder()
        try:
            with safely(path, None):
                self._file = self._take_file()
                self._sign()
            self.confirm()  # the folder may have gone as it was taken
        except BaseException:
            self.release()
            raise

    def confirm(self) -> None:
        """Raise StudyError where whatever is written from here on would not be written to the
        study that this process owns.
        """
        folder = self._path.parent
        if not _is_at(self._folder, folder, follow=True):
            raise StudyError(
                f"{folder} is not the folder any more in which this run of study {self._study} "
                "began: it was moved, removed or replaced\n"
                "  Nothing more was written. Put the folder back, then run the same command again."
            )
        if _is_at(self._file, self._path):
            return
        if not self._folder_locked:
            raise StudyError(
                f"{self._path} was removed or replaced while this run of study {self._study} held "
                "it: another run may own the study by now\n"
                "  Nothing more was written. When no other run is left, run the same command again."
            )
        self._renew_file()

    def release(self) -> None:
        """Let go of it, once."""
        for descriptor in (self._file, self._folder):
            if descriptor in _held:
                _held.discard(descriptor)
                os.close(descriptor)

    def _take_folder(self) -> tuple[int, bool]:
        """The folder, open, and whether it is locked: not every file system can."""
        descriptor = _opened(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _closed(descriptor)
            raise self._in_use(_signed_holder_at(self._path)) from None
        except OSError as error:
            if error.errno not in _NOT_OF_FOLDERS:
                _closed(descriptor)
                raise
            return descriptor, False
        return descriptor, True

    def _take_file(self) -> int:
        """The file, open and locked; of one that was removed between the two steps another process
        may have the successor.
        """
        while True:
            descriptor = _opened(self._path, _FILE)
            try:
                self._lock_file(descriptor)
                if _is_at(descriptor, self._path):
                    return descriptor
            except BaseException:
                _closed(descriptor)
                raise
            _closed(descriptor)

    def _lock_file(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use(_signed_holder(descriptor)) from None
        except OSError as error:
            if error.errno not in _NOT_THERE or self._owners is None:
                raise StudyError(
                    f"{self._path} cannot be locked: {error.strerror}\n"
                    "  Put the studies on another file system, with --studies DIR."
                ) from error

    def _renew_file(self) -> None:
        """A file of the same name in the place of the one that is gone. Who looks for a holder may
        have it for a moment: then the next act does it.
        """
        try:
            descriptor = _opened(self._path, _FILE)
        except OSError as error:
            raise StudyError(
                f"{self._path} was replaced while this run of study {self._study} held it, and "
                f"cannot be opened: {error.strerror}\n"
                "  Nothing more was written. Remove it, then run the same command again."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _closed(descriptor)
            return
        _closed(self._file)
        self._file = descriptor
        self._sign()

    def _sign(self) -> None:
        own = this_process()
        text = json.dumps({"pid": own.pid, "host": own.host, "boot": own.boot}) + "\n"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def _in_use(self, holder: str) -> StudyError:
        if self._owners is not None and (said := refusal(self._owners, self._study, holder)):
            return said
        return StudyError(
            f"study {self._study} is in use by {holder}\n"
            "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same command again."
        )


@contextmanager
def exclusive(path: Path, study: str, owners: Path | None = None) -> Iterator[Lock]:
    """Hold the lock whose file is `path`, in the study's folder; StudyError at once, naming process
    and host, when another process holds it, or where the file system has no locks. `owners`, on one
    that hosts share: the folder of the beat, which knows more of a holder and stands in for locks
    that are not there.

    The file itself stays: it says who had the study last.
    """
    lock = Lock(path, study, owners)
    try:
        yield lock
    finally:
        lock.release()


def _opened(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    _held.add(descriptor)
    return descriptor


def _closed(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _is_at(descriptor: int, path: Path, follow: bool = False) -> bool:
    """The open file or folder has this name still."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=follow))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _signed_holder_at(path: Path) -> str:
    """Of a lock whose file may have been removed."""
    try:
        descriptor = os.open(path, _LOOK)
    except OSError:
        return _NAMELESS
    try:
        return _NAMELESS if _signed_by_the_dead(descriptor) else _signed_holder(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Wait until no other process is within the block for the same file or folder, which is there;
    a process that dies leaves it.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """Who holds the lock at `path`, in words; empty where nobody does. Takes nothing from who is
    about to hold it.
    """
    try:
        descriptor = os.open(path, _LOOK)
    except OSError:
        return ""
    try:
        if _signed_by_the_dead(descriptor):
            return ""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _signed_holder(descriptor)
    except OSError:
        return ""  # a file system without locks
    finally:
        os.close(descriptor)
    return ""


def _signed_by_the_dead(descriptor: int) -> bool:
    """The last holder ran here, in this container, and is gone: not even for a moment need the lock
    be tried.
    """
    try:
        signed = json.loads(os.pread(descriptor, 4096, 0))
        here, process = signed["boot"] == this_process().boot, int(signed["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return bool(here)
    except PermissionError:
        return False
    return False


def _signed_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return _NAMELESS
