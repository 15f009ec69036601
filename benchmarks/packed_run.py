"""Run the product's own command and measure how long it trains and how long it decodes.

    python benchmarks/packed_run.py REPORT.json run SWEEP.yaml --quiet --studies FOLDER

What runs is `orchestrate` with these arguments, from its command line to its written report.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Clock:
    """The seconds spent in one phase. Those of packs that run in forked processes are summed apart
    from those of this process.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        # in shared memory: one sum for this process, one for all processes forked from it
        self._here, self._forked = (multiprocessing.Value("d") for _ in range(2))

    def add(self, seconds: float) -> None:
        """Add seconds to the sum of the process that calls this."""
        own = self._here if os.getpid() == self._process else self._forked
        with own.get_lock():
            own.value += seconds

    def read(self, at_once: int) -> float:
        """Return the wall-clock seconds of the phase, where `at_once` packs run side by side."""
        return float(self._here.value + self._forked.value / at_once)


def clocked(owner: type, name: str, clock: Clock) -> None:
    """Patch a method so that its time is added to `clock`. The methods measured here end with
    values on the host, so a GPU is done by then.
    """
    method: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            clock.add(time.perf_counter() - began)

    setattr(owner, name, timed)


def main() -> None:
    from orchestrator.cli import main as orchestrate
    from orchestrator.commands.output import pack_worker

    report, *arguments = sys.argv[1:]
    clocks = {"train": Clock(), "decode": Clock()}
    packs = 1

    def make_worker(spec: Any, folder: Any) -> Any:
        nonlocal packs
        worker: Any = pack_worker(spec, folder)
        packs = worker.execution.packs
        from orchestrator.tuning.decoding.evaluation import Evaluator
        from orchestrator.tuning.training.pack_group import PackGroup

        # from here on: the steps that `pack: auto` takes to measure the machine are start-up
        clocked(PackGroup, "step_group", clocks["train"])
        clocked(Evaluator, "measure", clocks["decode"])
        clocked(Evaluator, "measure_baseline", clocks["decode"])
        return worker

    try:
        orchestrate(arguments, make_worker)
    finally:
        torch = sys.modules.get("torch")  # not there when the sweep file was refused
        device_peak = (
            torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
        )
        seconds = {phase: clock.read(packs) for phase, clock in clocks.items()}
        Path(report).write_text(json.dumps({"seconds": seconds, "device_peak": device_peak}))


if __name__ == "__main__":
    main()
