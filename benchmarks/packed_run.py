"""The product's own command with two clocks on it: how long it trains, how long it decodes.

    python benchmarks/packed_run.py REPORT.json run SWEEP.yaml --quiet --studies FOLDER

What runs is `orchestrate` with these arguments, from its command line to its written report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def clocked(owner: type, name: str, seconds: dict[str, float], phase: str) -> None:
    """Add the time spent in a method to `seconds[phase]`. It ends with values on the host, so a GPU
    is done by then.
    """
    method: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            seconds[phase] += time.perf_counter() - began

    setattr(owner, name, timed)


def main() -> None:
    from orchestrator.cli import main as orchestrate
    from orchestrator.commands.output import pack_worker

    report, *arguments = sys.argv[1:]
    seconds = {"train": 0.0, "decode": 0.0}
    capacity = 0

    def make_worker(spec: Any, folder: Any) -> Any:
        nonlocal capacity
        worker = pack_worker(spec, folder)
        from orchestrator.tuning.decoding.evaluation import Evaluator
        from orchestrator.tuning.training.pack_group import PackGroup

        # from here on: the steps that `pack: auto` takes to measure the machine are start-up
        clocked(PackGroup, "step_group", seconds, "train")
        clocked(Evaluator, "measure", seconds, "decode")
        clocked(Evaluator, "measure_baseline", seconds, "decode")
        capacity = worker.capacity
        return worker

    try:
        orchestrate(arguments, make_worker)
    finally:
        torch = sys.modules.get("torch")  # not there when the sweep file was refused
        device_peak = (
            torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
        )
        Path(report).write_text(
            json.dumps({"seconds": seconds, "capacity": capacity, "device_peak": device_peak})
        )


if __name__ == "__main__":
    main()
