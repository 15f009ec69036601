"""How many cores this machine has for us."""

from __future__ import annotations

import os

import psutil


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
