"""A process that was started for another one ends with it, however that ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Called in a process of `multiprocessing`: from here on it is killed when its parent ends.

    Under Linux by the system. Elsewhere a thread waits for the parent: it needs a process that was
    spawned, not forked, and the interpreter's lock.
    """
    parent = multiprocessing.parent_process()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="parent", daemon=True).start()
    # it ended before that; in a container the orchestrator itself may be process 1
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
