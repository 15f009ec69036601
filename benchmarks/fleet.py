"""Two packs of one core each, in processes, against one pack of as many slots on two cores: the
same trials, by turns.

    python benchmarks/fleet.py                              the shipped corpus and model
    python benchmarks/fleet.py --trials 4 --steps 6 --utterances 12       a quick look
    python benchmarks/fleet.py --config streaming-tiny      the real size, random weights; or v1-tiny

Time is from the first trial admitted to the last released, evaluations included; loading is apart.
Memory is the most that the process and its packs held together, shared pages counted once (PSS).
Processor time is of all of them; on a busy machine it says more than the clock, but not who waited.
Compare rows of one run with each other, on a quiet machine, and not with another run's. It adds no
search: which trials are under way changes nothing here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from _shared import ROOT, workload
from _shared.processes import held_bytes
from _shared.tables import markdown

MEBI = 2**20
SIDES = {
    "one pack, two cores": {"packs": 1, "cores": 2},
    "two packs in processes, one core each": {"packs": 2, "cores": 1, "processes": True},
    "two packs inline, one core each": {"packs": 2, "cores": 1, "processes": False},
}
"""Name of a side -> the sweep file's `execution`, without the number of slots."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument(
        "--slots", type=int, default=4, help="of all packs together; an even number"
    )
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps a trial")
    parser.add_argument(
        "--utterances", type=int, default=40, help="of each of the two evaluation sets"
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="runs of each row; the median is shown"
    )
    parser.add_argument("--targets", choices=(*workload.TARGETS, "mixed"), default="mixed")
    parser.add_argument("--config", choices=("shipped", *workload.REAL_SIZES), default="shipped")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "base-model")
    parser.add_argument("--side", nargs=2, metavar=("SWEEP", "REPORT"), help=argparse.SUPPRESS)
    return parser.parse_args()


class MostMemory:
    """A context that samples the memory of this process and its descendants, in bytes; `bytes` is
    the most that they held together.
    """

    def __enter__(self) -> MostMemory:
        self.bytes, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            own = psutil.Process()
            self.bytes = max(self.bytes, sum(map(held_bytes, [own, *own.children(recursive=True)])))


def _worked() -> float:
    """Return the processor seconds that this process and its descendants have used so far."""
    own = psutil.Process()
    times = [process.cpu_times() for process in [own, *own.children(recursive=True)]]
    return sum(spent.user + spent.system for spent in times)


def run_side(sweep: Path, report: Path) -> None:
    """Train all starting points of a sweep file without a study, and write to `report` how long
    loading and training took, the processor seconds and the peak memory.
    """
    from orchestrator.commands.output import pack_worker
    from orchestrator.planning.trial_plan import trial_plan
    from orchestrator.records.store import StudyFolder
    from orchestrator.running.pack_sizes import in_packs
    from orchestrator.sweepfile.loading import load_spec

    spec = load_spec(sweep)
    folder = StudyFolder(sweep.parent / "studies", spec.name)
    began = time.perf_counter()
    template = pack_worker(spec, folder)
    template.measure_baseline()
    loaded = time.perf_counter() - began
    waiting = [trial_plan(spec, number, point) for number, point in enumerate(spec.start_with)]
    packs = in_packs(template, spec, folder, pack_worker, len(waiting), print, lambda: None)
    with MostMemory() as memory, packs as worker:
        began, before = time.perf_counter(), _worked()
        while waiting or worker.active:
            while waiting and len(worker.active) < worker.capacity:
                worker.admit(waiting.pop(0))
            for event in worker.advance():
                if getattr(event, "final", False):
                    worker.release(event.number)  # type: ignore[union-attr]
        seconds, worked = time.perf_counter() - began, _worked() - before
    found = {"loaded": loaded, "seconds": seconds, "worked": worked, "bytes": memory.bytes}
    report.write_text(json.dumps(found))


def main() -> None:
    chosen = options()
    if chosen.side:
        run_side(*map(Path, chosen.side))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, model = chosen.data, chosen.model
        if chosen.config != "shipped":
            data, model = workload.real_size(
                folder, chosen.config, 4 * chosen.steps, chosen.utterances
            )
        rate = 13.0 if chosen.config == "shipped" else 6.5
        work = workload.build(
            folder, data, model, 3 * chosen.trials, chosen.steps, 2, chosen.utterances, rate
        )
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
        for _ in range(chosen.repeats):
            for number, (name, execution) in enumerate(SIDES.items()):
                rows[name].append(measured(folder, work, f"side-{number}", execution, chosen))
        print(table(rows, chosen.trials * chosen.steps))


def measured(
    folder: Path,
    work: workload.Workload,
    name: str,
    execution: dict[str, Any],
    chosen: argparse.Namespace,
) -> dict[str, float]:
    """Run one side in a process of its own and return what it reports."""
    sweep = work.write_sweep(name, chosen.trials, chosen.slots // execution["packs"], "cpu")
    written = json.loads(sweep.read_text())
    points = [
        point for point in work.points if chosen.targets in ("mixed", point["target_modules"])
    ]
    written["start_with"] = points[: chosen.trials]
    written["execution"] |= execution
    sweep.write_text(json.dumps(written))
    report = folder / f"{name}.json"
    subprocess.run([sys.executable, __file__, "--side", str(sweep), str(report)], check=True)
    found: dict[str, float] = json.loads(report.read_text())
    return found


def table(rows: dict[str, list[dict[str, float]]], steps: int) -> str:
    """Return a Markdown table with one line per side; ratios are to the first side."""
    head = ["", "seconds", "trial-steps/s", "times the first"]
    head += ["processor, s", "memory, MiB", "to load, s"]
    lines = []
    first = 0.0
    for name, runs in rows.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        first = first or seconds
        memory = max(run["bytes"] for run in runs) / MEBI
        loaded = statistics.median(run["loaded"] for run in runs)
        lines.append(
            [
                name,
                f"{seconds:.1f}",
                f"{steps / seconds:.1f}",
                f"{first / seconds:.2f}",
                f"{statistics.median(run['worked'] for run in runs):.1f}",
                f"{memory:.0f}",
                f"{loaded:.1f}",
            ]
        )
    return markdown(head, lines)


if __name__ == "__main__":
    main()
