"""Make a child process end when its parent ends, however that ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """From here on, kill this process, one of `multiprocessing`, when its parent ends.

    Under Linux the system does it (PR_SET_PDEATHSIG). Elsewhere a thread waits for the parent; that
    works only in a process that was spawned, not forked, and while other threads release the GIL.
    """
    parent = multiprocessing.parent_process()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    elif parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="parent", daemon=True).start()
    # The parent may have ended before the call above. Comparing with its process id, and not with
    # 1, is needed because in a container the orchestrator itself may be process 1.
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
