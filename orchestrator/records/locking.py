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
from orchestrator.records.beat import refusal, this_process

_held: set[int] = set()


def _close_in_child() -> None:
    # A forked child shares the open file and would keep the lock after its parent was killed.
    # (O_CLOEXEC covers exec.)
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


_NOT_THERE = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system without locks answers."""


@contextmanager
def exclusive(path: Path, study: str, owners: Path | None = None) -> Iterator[None]:
    """Hold the lock at `path`; StudyError at once, naming process and host, when another process
    holds it, or where the file system has no locks. `owners`, on one that hosts share: the folder
    of the beat, which knows more of a holder and stands in for locks that are not there.

    The file itself stays: removing it would let two processes lock two files of the same name.
    """
    descriptor = _locked(path, study, owners)
    _held.add(descriptor)
    try:
        _sign_lock(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(path: Path, study: str, owners: Path | None) -> int:
    """The file at `path`, open and locked; of one that was removed between the two steps another
    process may have the successor.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            _lock(descriptor, path, study, owners)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path, study: str, owners: Path | None) -> None:
    """Raises StudyError as `exclusive` does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _signed_holder(descriptor)
        if owners is not None and (said := refusal(owners, study, holder)):
            raise said from None
        raise StudyError(
            f"study {study} is in use by {holder}\n"
            "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same command again."
        ) from None
    except OSError as error:
        if error.errno not in _NOT_THERE or owners is None:
            raise StudyError(
                f"{path} cannot be locked: {error.strerror}\n"
                "  Put the studies on another file system, with --studies DIR."
            ) from error


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
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
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
    except (ValueError, KeyError, TypeError):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return bool(here)
    except PermissionError:
        return False
    return False


def _sign_lock(descriptor: int) -> None:
    own = this_process()
    text = json.dumps({"pid": own.pid, "host": own.host, "boot": own.boot}) + "\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _signed_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has not signed yet
