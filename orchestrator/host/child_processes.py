"""Child processes of `multiprocessing`: how they are started and killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import process as processes
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess

KILLED_SECONDS = 10.0
"""How long to wait for a killed process to be gone. One that hangs in the driver of a GPU or in a file
system may never be; it computes nothing any more.
"""
_SAFE = "PYTHONSAFEPATH"
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to every process."""


def start(process: processes.BaseProcess) -> None:
    """Start the process. It looks for no module in the current folder, and leaves the signals of the
    terminal to its parent. Raises OSError where no process can be started.
    """
    with _own_modules_only():
        if isinstance(process, SpawnProcess):  # which needs it, and it unblocks SIGINT as it starts
            resource_tracker.ensure_running()
        with _terminal_signals_blocked():
            process.start()


@contextmanager
def _own_modules_only() -> Iterator[None]:
    """Within the block, a Python process that is started looks for no module in the current folder.

    One that `multiprocessing` spawns looks there first by itself, before it takes over its parent's
    path: a `signal.py` beside somebody's sweep file would be run in the place of Python's own.
    """
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before


@contextmanager
def _terminal_signals_blocked() -> Iterator[None]:
    """Within the block, a process that is started never gets the signals of the terminal, and this
    one gets them at the end. The process ignores them by itself, but only once it has imported what
    it needs: until then Ctrl+C ended it, with a traceback on the terminal.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill(process: processes.BaseProcess, seconds: float = KILLED_SECONDS) -> None:
    """Kill a child process, and wait for its end for `seconds` at most, also when Python exits."""
    process.kill()
    process.join(seconds)
    if process.exitcode is None:
        # multiprocessing joins all children that it knows at the exit, without a limit
        processes._children.discard(process)  # type: ignore[attr-defined]
