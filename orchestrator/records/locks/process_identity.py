"""Which process this is among those of all hosts that share a file system."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process on some host."""

    host: str
    pid: int
    boot: str
    """Identifies the host's running kernel and the container: equal values mean that process ids
    are comparable.
    """

    @property
    def clock(self) -> str:
        """Identifies its boot clock, which all containers of a kernel have in common, but for those
        with a clock of their own.
        """
        own = Path("/proc/self/ns/time")
        kernel = self.boot.partition(" pid:")[0]
        return f"{kernel} {os.readlink(own)}" if own.is_symlink() else kernel


def this_process() -> Process:
    """Return this process."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    kernel = boot.read_text().strip() if boot.exists() else _boot_time()
    container = Path("/proc/self/ns/pid")
    within = os.readlink(container) if container.is_symlink() else ""
    return Process(socket.gethostname(), os.getpid(), f"{kernel} {within}".strip())


def _boot_time() -> str:
    import psutil  # imported here, as every command that reads a study imports this module

    return f"{psutil.boot_time():.0f}"
