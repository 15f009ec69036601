"""Commands run and measured from outside: wall clock from before the start to after the end, memory
of the tree.
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


@dataclass(frozen=True)
class Usage:
    """What a set of commands took."""

    seconds: float
    peak_bytes: int
    """Most resident memory of all processes together, sampled."""
    each: tuple[float, ...]
    """Seconds from the common start to the end of each command, in the order given."""


def run_all(
    commands: Sequence[Sequence[str]],
    at_once: int = 1,
    accepted: Sequence[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run the commands in order, `at_once` at a time; ends the program with the output of one that
    fails.
    """
    began, peak, started = time.perf_counter(), 0, 0
    running: dict[int, subprocess.Popen[bytes]] = {}
    ended = [0.0] * len(commands)
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
            peak = max(peak, sum(_tree_bytes(process.pid) for process in running.values()))
            _wait(next(iter(running.values())))
            for index in [
                index for index, process in running.items() if process.poll() is not None
            ]:
                ended[index] = time.perf_counter() - began
                code = running.pop(index).returncode
                if code not in accepted:
                    raise SystemExit(
                        f"{' '.join(commands[index])}\nended with {code}:\n{_tail(outputs[index])}"
                    )
    return Usage(time.perf_counter() - began, peak, tuple(ended))


def _kill(running: Mapping[int, subprocess.Popen[bytes]]) -> None:
    """What still runs when the program ends early."""
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
    """Resident bytes of a process and its descendants."""
    try:
        top = psutil.Process(pid)
        return sum(map(_bytes, [top, *top.children(recursive=True)]))
    except psutil.Error:
        return 0


def _bytes(process: psutil.Process) -> int:
    """Resident bytes of one process; 0 once it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
