"""A file lock: one process at a time on a study, or on any file. It is advisory, and frees itself
when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.records.locks.heartbeat_lock import refusal
from orchestrator.records.locks.process_identity import this_process
from orchestrator.records.writing import safely

_held: set[int] = set()
"""Descriptors of locks that this process holds, or is about to hold."""
_NAMELESS = "another process"
"""Names a holder that has not signed yet."""
TURN_SECONDS = 2.0
"""How long to wait before looking again whether a block that only one process may be in is free."""


def _close_in_child() -> None:
    # A forked child shares the open file and would keep the lock after its parent was killed.
    # (O_CLOEXEC covers exec.)
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


_NOT_THERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of a file system without locks."""
_NOT_OF_FOLDERS = _NOT_THERE | {errno.EBADF, errno.EINVAL}
"""Errors of a file system that can lock files but not folders, such as NFS."""
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
_LOOK = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Flags to look at a lock file. Without O_NONBLOCK, opening a pipe of this name would wait."""


class Lock:
    """The lock of a study, held on its lock file and on its folder. A person may remove the file,
    but not the lock of the folder: that one refuses a second start, and the owner makes the file
    anew.
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
        """Raise StudyError if writing from here on would not go to the study that this process
        owns.
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
        """Release the lock; does nothing when called again."""
        for descriptor in (self._file, self._folder):
            if descriptor in _held:
                _held.discard(descriptor)
                os.close(descriptor)

    def _take_folder(self) -> tuple[int, bool]:
        """Open the folder and lock it. Returns the descriptor, and whether it is locked, which not
        every file system can do.
        """
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
        """Open and lock the file. Tries again if the file was removed in between, because then
        another process may hold its successor.
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
        """Make and lock a new file in the place of the one that is gone. A process that looks for a
        holder may have it locked for a moment; then this is left to the next `confirm`.
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
def exclusive(path: Path, study: str, owners: Path | None) -> Iterator[Lock]:
    """Hold the lock whose file is `path`, in the study's folder. Raises StudyError at once, naming
    process and host, when another process holds it, or where the file system has no locks.

    `owners` is given on a file system that hosts share: the folder of the heartbeat, which knows
    more about a holder and stands in for locks that are missing. The file itself stays: it says who
    had the study last.
    """
    lock = Lock(path, study, owners)
    try:
        yield lock
    finally:
        lock.release()


def _opened(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    _held.add(descriptor)
    return descriptor


def _closed(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _is_at(descriptor: int, path: Path, follow: bool = False) -> bool:
    """Say whether the open file or folder still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=follow))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _signed_holder_at(path: Path) -> str:
    """Return who signed the lock file at `path`, which may have been removed."""
    try:
        descriptor = os.open(path, _LOOK)
    except OSError:
        return _NAMELESS
    try:
        return _NAMELESS if _signed_by_the_dead(descriptor) else _signed_holder(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(place: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until no other process is within the block for the same folder, which must exist. A
    process that dies leaves the block. `waiting` is called now and then meanwhile.

    Where the file system locks no folders, as NFS does not, nobody waits: what is done within such
    a block is better done at once with another process than not at all.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while not _locked(descriptor):
            waiting()
            time.sleep(TURN_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock an open folder unless another process has it locked, and say whether; also where there
    are no such locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NOT_OF_FOLDERS:
            raise
    return True


def holder(path: Path) -> str:
    """Say who holds the lock at `path`; empty where nobody does. Does not get in the way of a
    process that is just taking the lock.
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
    """Say whether the last holder ran on this host and in this container, and is gone. Then the
    lock need not be tried, not even for a moment.
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
    """Return who signed the lock file, in words."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return _NAMELESS
