"""The cores, memory and GPU that this process may use, found without importing torch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

import psutil

GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg", "nvmap")
"""Device files below /dev that the driver of a GPU makes: NVIDIA's, AMD's, that of Windows in WSL,
Jetson's.
"""

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Parameters of glibc's allocator, as mallopt(3) and malloc.h number them."""


@dataclass(frozen=True)
class Machine:
    """A machine: its cores, its memory in bytes, whether it may have a GPU that torch can use."""

    cores: int
    memory: int
    gpu: bool


def this_machine() -> Machine:
    """Describe the machine, or the part of it, that this process may use."""
    return Machine(machine_cores(), machine_memory(), may_have_gpu())


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether the driver of a GPU is loaded and the installed torch is not a build for CPUs only.
    torch itself would know for certain, but takes seconds to import.
    """
    with suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return False
    return any(next(devices.glob(pattern), None) is not None for pattern in GPU_FILES)


def usable_cores() -> int:
    """Count the logical cores that the system lets this process use: of its CPU affinity, and of
    its control groups, as a container often has fewer than its host.
    """
    there = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    return max(1, min(there, int(processor_share() or there)))


def machine_cores() -> int:
    """Count the physical cores that this process may use; OMP_NUM_THREADS may limit them: of a list,
    its first number, which is of the outermost level.
    """
    usable = usable_cores()
    physical = physical_cores() or usable
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    threads = int(told) if told.isascii() and told.isdigit() else 0
    return max(1, min(usable, physical, threads or usable))


def physical_cores(logical: Path = Path("/sys/devices/system/cpu")) -> int | None:
    """Count the physical cores that the logical ones of this process's CPU affinity belong to: a job
    may have both halves of a few. Those of the machine where the system does not say which belong
    together; None where it says nothing.
    """
    if hasattr(os, "sched_getaffinity"):
        folders = [logical / f"cpu{number}" / "topology" for number in os.sched_getaffinity(0)]
        together = {_line_of(folder / "thread_siblings_list") for folder in folders}
        if "" not in together:
            return len(together)
    return psutil.cpu_count(logical=False)


def shares_of(cores: int, most: int) -> int:
    """Into how many equal shares to divide `cores`.

    The largest count up to `most`, and above half of it, that leaves at most an eighth of the cores
    unused; where there is none, the count among these that leaves the fewest unused.
    """
    most = max(1, min(most, cores))
    counts = range(most, most // 2, -1)
    nearly_all = (count for count in counts if 8 * (cores % count) <= cores)
    return next(nearly_all, min(counts, key=lambda count: cores % count))


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control groups' limit where
    that is less.
    """
    total = int(psutil.virtual_memory().total)
    files = ("memory.max", "memory.limit_in_bytes")  # of version 2 and of version 1
    limits = [_line_of(group / file) for group in control_groups("memory") for file in files]
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def used_memory() -> int:
    """Bytes of memory that this process occupies now (its resident set size)."""
    return int(psutil.Process().memory_info().rss)


def own_memory() -> int:
    """Bytes of `used_memory` that are not pages of files; those the system can take back when it
    needs memory. All of `used_memory` where the system does not say.
    """
    return 1024 * _status_kb("RssAnon") or used_memory()


def keep_freed_memory() -> None:
    """Let this process's allocator keep what is freed, in one heap, for what is asked for next, until
    `return_freed_memory` (glibc, mallopt(3)).

    Steps ask for tensors of the same sizes again and again. By default each of many megabytes is a
    mapping of its own, which goes back when it is freed, and whose pages the system fills with zeros
    when it is asked for anew; and each thread keeps a heap. Whatever the environment says of the
    allocator stays as it is.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)  # never
        mallopt(M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Give the system back what this process has freed and its allocator still holds, where it can
    (glibc).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def forget_peak_memory() -> None:
    """Reset the peak that `peak_memory` reports, where the system can do that (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most bytes of memory that this process occupied since `forget_peak_memory`; what it
    occupies now where the system does not say.
    """
    return 1024 * _status_kb("VmHWM") or used_memory()


def _status_kb(name: str) -> int:
    """Return a number of /proc/self/status, in kB; 0 where it is missing."""
    for line in _text_of(Path("/proc/self/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def processor_share() -> float | None:
    """How many processors, not always a whole number, the control groups let this process use; None
    where nothing limits it.
    """
    shares = []
    for folder in control_groups("cpu"):
        # version 2: "200000 100000", or "max 100000"; version 1: two files, and -1 for no limit
        quota, _, period = _line_of(folder / "cpu.max").partition(" ")
        quota = quota or _line_of(folder / "cpu.cfs_quota_us")
        period = period or _line_of(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def control_groups(
    controller: str,
    of_process: Path = Path("/proc/self/cgroup"),
    mounted: Path = Path("/sys/fs/cgroup"),
) -> Iterator[Path]:
    """Yield the folders of this process's control groups (Linux, version 1 and 2) and of the groups
    above them.

    They may not exist: in a container the own group is mounted as the topmost folder, whatever its
    path is outside.
    """
    for line in _text_of(of_process).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder = mounted
        elif controller in controllers.split(","):
            folder = mounted / controller
        else:
            continue
        own = PurePosixPath(path)
        yield from (folder / str(group).lstrip("/") for group in (own, *own.parents))


def _line_of(path: Path) -> str:
    return _text_of(path).partition("\n")[0]


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
