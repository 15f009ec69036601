"""A pack of the workload's trials, filled and ready to step."""

from __future__ import annotations

from _shared.workload import Workload
from orchestrator.planning.sweep_plan import trial_plan
from orchestrator.spec.loading import load_spec
from orchestrator.tuning.engine import PackWorker, start_worker
from orchestrator.tuning.lane import Lane


def filled(work: Workload, k: int, targets: str, device: str) -> tuple[PackWorker, list[Lane]]:
    """The first `k` trials with these target modules ("mixed": with any) in slots, the baseline measured; the lanes."""
    spec = load_spec(work.write_sweep("filled", len(work.points), k, device))
    worker = start_worker(spec, work.folder / "cache")
    wanted = [point for point in work.points if targets in ("mixed", point["target_modules"])][:k]
    for number, point in enumerate(wanted):
        worker.admit(trial_plan(spec, number, point))
    worker.measure_baseline()
    return worker, [lane for lane in worker._lanes.values() if lane.slots]
