"""Cause faults at an exact system call, by a library of our own that is loaded before the C library
(LD_PRELOAD): `calls.c`, which is compiled here.

A Python must be started with that library, in `environment()`. Then `arm` can set a fault in it,
and in the processes that it forks.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("calls.c")


class Fault(IntEnum):
    """What happens at the call. The numbers are those of `calls.c`, which says what each does."""

    COUNT = 0
    KILL = 1
    TEAR = 2
    REFUSE = 3
    FULL = 4
    SHORT = 5
    JUMP = 6


def missing() -> str:
    """Return why there can be no such faults on this machine; empty where there can."""
    if sys.platform != "linux":
        return "faults at system calls need Linux, whose loader can put a library before libc"
    if _compiler() is None:
        return "faults at system calls need a C compiler: cc, gcc or clang"
    return ""


def environment() -> dict[str, str]:
    """Return the environment in which to start a Python that can be armed. Raises
    CalledProcessError where `calls.c` does not compile.
    """
    preloaded = filter(None, (str(_library()), os.environ.get("LD_PRELOAD")))
    return os.environ | {"LD_PRELOAD": ":".join(preloaded), "FAULTS_LIBRARY": str(_library())}


def can_be_armed() -> bool:
    """Whether this process was started in `environment()`."""
    return "FAULTS_LIBRARY" in os.environ


def arm(folder: Path, call: int, fault: Fault, value: int = 0) -> None:
    """Let the fault happen at the `call`-th system call from here on that changes something below
    `folder`. `value` is the error number, or the seconds by which the clock jumps.
    """
    _loaded().faults_arm(os.fsencode(folder), call, int(fault), value)


def counted() -> int:
    """Return how many system calls have changed something below the folder since `arm`."""
    return int(_loaded().faults_counted())


def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ["FAULTS_LIBRARY"])
    library.faults_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
    library.faults_counted.restype = ctypes.c_long
    return library


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


@functools.cache
def _library() -> Path:
    compiler = _compiler()
    assert compiler is not None, missing()
    made = Path(tempfile.mkdtemp(prefix="faults-")) / "calls.so"
    atexit.register(shutil.rmtree, made.parent, ignore_errors=True)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return made
