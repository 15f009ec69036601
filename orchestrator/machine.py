"""What this machine has for us, as far as it is known without a library that computes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

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
    return Machine(machine_cores(), machine_memory(), may_have_gpu())


def may_have_gpu(devices: Path = Path("/dev"), patterns: Sequence[str] = GPU_FILES) -> bool:
    """Whether the driver of one is loaded, and torch is not one for CPUs alone. torch itself would
    know for certain, and takes seconds to import.
    """
    with suppress(PackageNotFoundError):
        if version("torch").endswith("+cpu"):
            return False
    return any(next(devices.glob(pattern), None) is not None for pattern in patterns)


def usable_cores() -> int:
    """Those that the system lets this process use; a container's share is often less than the host
    has.
    """
    there = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    return max(1, min(there, int(processor_share() or there)))


def machine_cores() -> int:
    """Whole ones that this process may use; OMP_NUM_THREADS says fewer where somebody set it."""
    usable = usable_cores()
    physical = psutil.cpu_count(logical=False) or usable
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(usable, physical, int(told) if told.isdigit() and int(told) else usable))


def shares_of(cores: int, most: int) -> int:
    """Into how many equal shares `cores` are divided: `most` at the most, fewer where that leaves
    over more than an eighth of them, but no fewer than half of `most`.
    """
    most = max(1, min(most, cores))
    counts = range(most, most // 2, -1)
    nearly_all = (count for count in counts if 8 * (cores % count) <= cores)
    return next(nearly_all, min(counts, key=lambda count: cores % count))


def machine_memory() -> int:
    """Bytes that this process may use: the machine's, or what its container has of them."""
    total = int(psutil.virtual_memory().total)
    return min([total, *_numbers_of("memory", "memory.max", "memory.limit_in_bytes")])


def used_memory() -> int:
    """Bytes of memory that this process has now."""
    return int(psutil.Process().memory_info().rss)


def own_memory() -> int:
    """Those of them that are no pages of files, which the system takes back when it needs them."""
    return 1024 * _status_kb("RssAnon") or used_memory()


def forget_peak_memory() -> None:
    """What `peak_memory` tells from now on is later than this, where the system can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most bytes of memory that this process had; where the system does not tell that, those of
    now.
    """
    return 1024 * _status_kb("VmHWM") or used_memory()


def _status_kb(name: str) -> int:
    """A number of /proc/self/status; 0 where there is none."""
    for line in _text_of(Path("/proc/self/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def processor_share() -> float | None:
    """Processors, not always whole ones, that the control groups of this process may use together;
    None where nothing limits them.
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
    """Folders of this process's groups under Linux and of those above them, in version 2 and 1 of
    control groups. In a container its own group is the topmost, whatever its name is outside.
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


def _numbers_of(controller: str, *names: str) -> list[int]:
    """What files of the control groups limit, where they hold a number."""
    lines = [_line_of(group / name) for group in control_groups(controller) for name in names]
    return [int(line) for line in lines if line.isdigit()]


def _line_of(path: Path) -> str:
    return _text_of(path).partition("\n")[0]


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
