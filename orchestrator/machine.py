"""What this machine has for us, as far as it is known without a library that computes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg", "nvmap")
"""Below /dev where the driver of a GPU is loaded: NVIDIA's, AMD's, that of Windows in WSL, Jetson's."""


@dataclass(frozen=True)
class Machine:
    """Its cores, memory in bytes, and whether it may have a GPU that torch can use."""

    cores: int
    memory: int
    gpu: bool


def this_machine() -> Machine:
    """The one that this process runs on."""
    return Machine(machine_cores(), int(psutil.virtual_memory().total), may_have_gpu())


def may_have_gpu(devices: Path = Path("/dev"), patterns: Sequence[str] = GPU_FILES) -> bool:
    """Whether the driver of one is loaded. torch would know for certain, and takes seconds to
    import.
    """
    return any(next(devices.glob(pattern), None) is not None for pattern in patterns)


def usable_cores() -> int:
    """Those that the system lets this process use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_cores() -> int:
    """Whole ones that this process may use; OMP_NUM_THREADS says fewer where somebody set it."""
    usable = usable_cores()
    physical = psutil.cpu_count(logical=False) or usable
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(usable, physical, int(told) if told.isdigit() and int(told) else usable))
