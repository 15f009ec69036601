"""Make a pack of the workload's trials, filled and ready to step."""

from __future__ import annotations

from _shared.workload import Workload
from orchestrator.planning.trial_plan import trial_plan
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.training.pack_group import PackGroup
from orchestrator.tuning.worker import PackWorker, start_worker


def filled(
    work: Workload, k: int, targets: str, device: str, cores: int | str = "auto"
) -> tuple[PackWorker, list[PackGroup]]:
    """Start a worker whose slots hold the first `k` trials with these target modules ("mixed": with
    any), and measure its baseline. Returns the worker and its groups that have trials. `cores`:
    how many cores of the CPU everything is computed on.
    """
    written = work.write_sweep("filled", len(work.points), k, device)
    spec = load_spec(written, [f"execution.cores={cores}"])
    worker = start_worker(spec, work.folder / "cache")
    wanted = [point for point in work.points if targets in ("mixed", point["target_modules"])][:k]
    for number, point in enumerate(wanted):
        worker.admit(trial_plan(spec, number, point))
    worker.measure_baseline()
    return worker, [group for group in worker._groups.values() if group.slots]
