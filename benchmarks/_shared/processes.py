"""Run commands and measure them from outside: wall clock from before the start to after the end,
and the memory of the whole process tree.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import psutil

POLL_SECONDS = 0.1
MEMORY_SECONDS = 0.5
"""Seconds between two samples of the memory. Counting shared pages once takes milliseconds per
process, so it is not done at every poll.
"""


@dataclass(frozen=True)
class Usage:
    """The time and memory that a set of commands took."""

    seconds: float
    """Wall-clock seconds from the start of the first command to the end of the last."""
    peak_bytes: int
    """The most resident memory of all processes together, as sampled; pages that they share are
    counted once.
    """
    each: tuple[float, ...]
    """Seconds from the common start to the end of each command, in the order given."""
    codes: tuple[int, ...]
    """Exit codes, in the same order."""


def run_all(
    commands: Sequence[Sequence[str]],
    at_once: int = 1,
    accepted: Sequence[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run the commands in order, `at_once` at a time. When one ends with a code that is not in
    `accepted`, the others are killed and the program ends with the output of that one.
    """
    began, peak, started, look = time.perf_counter(), 0, 0, 0.0
    running: dict[int, subprocess.Popen[bytes]] = {}
    ended, codes = [0.0] * len(commands), [0] * len(commands)
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        stack.callback(_kill, running)
        while started < len(commands) or running:
            while started < len(commands) and len(running) < at_once:
                running[started] = subprocess.Popen(
                    commands[started],
                    stdout=outputs[started],
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
                started += 1
            if time.perf_counter() >= look:
                peak = max(peak, sum(_tree_bytes(process.pid) for process in running.values()))
                look = time.perf_counter() + MEMORY_SECONDS
            _wait(next(iter(running.values())))
            for index in [
                index for index, process in running.items() if process.poll() is not None
            ]:
                ended[index] = time.perf_counter() - began
                codes[index] = code = running.pop(index).returncode
                if code not in accepted:
                    raise SystemExit(
                        f"{' '.join(commands[index])}\nended with {code}:\n{_tail(outputs[index])}"
                    )
    return Usage(time.perf_counter() - began, peak, tuple(ended), tuple(codes))


def _kill(running: Mapping[int, subprocess.Popen[bytes]]) -> None:
    """Kill the processes that still run when the program ends early."""
    for process in running.values():
        process.kill()


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read()[-4000:].decode(errors="replace")


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return


def _tree_bytes(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; 0 once it has ended."""
    try:
        top = psutil.Process(pid)
        return sum(map(held_bytes, [top, *top.children(recursive=True)]))
    except psutil.Error:
        return 0


def held_bytes(process: psutil.Process) -> int:
    """Return the resident bytes of one process; 0 once it has ended. On Linux these are its
    proportional set size (PSS), in which it has only its part of pages shared with others.
    """
    try:
        found = process.memory_full_info() if psutil.LINUX else process.memory_info()
        return int(getattr(found, "pss", found.rss))
    except psutil.Error:
        return 0
