"""Small sweeps for the tests of `running`, `cli` and `reporting`, and runs of them on the fake
worker.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import Observer
from orchestrator.running.signals import GracefulShutdown
from orchestrator.running.sweep_loop import SweepOutcome, run_sweep
from orchestrator.search.study import Study
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Dimension, SearchSpace
from orchestrator.sweepfile.sweep import Budget, EarlyStop, ModelSpec, SweepSpec
from tests.fake_worker import FakeWorker

RESAMPLES = 300
SPACE = (
    Dimension(name="learning_rate", choices=(1e-4, 5e-4, 1e-3, 3e-3)),
    Dimension(name="rank", low=4, high=32, log=True),
    Dimension(name="max_steps", choices=(200, 300)),
)


def make_spec(**changes: Any) -> SweepSpec:
    """Return a small sweep, searched by TPE. Of the changes, `searched`, `fixed` and `scales` go to
    its search space, the others replace its own fields.
    """
    space = SearchSpace(
        fixed={"replay_ratio": 0.0, "target_modules": "attention", **changes.pop("fixed", {})},
        searched=changes.pop("searched", SPACE),
        adapter_scales=changes.pop("scales", (0.5, 1.0)),
        presets={"attention": ("q_proj", "v_proj")},
    )
    values: dict[str, Any] = {
        "version": 1,
        "name": "s",
        "model": ModelSpec(id="fake/model"),
        "data": DataSpec(train=Path("/t"), domain=Path("/d"), heldout=Path("/h")),
        "evaluation": EvaluationSpec(every=100),
        "parameters": space,
        "guardrails": {"heldout_wer": Limit(max_regression=0.3)},
        "acceptance": {"domain_wer": Limit(min_gain=1.0), "heldout_wer": Limit(max_regression=0.3)},
        "budget": Budget(trials=8),
        "early_stop": EarlyStop(),
        "seed": 3,
    }
    return SweepSpec(**(values | changes))


def run(
    spec: SweepSpec,
    root: Path,
    worker: FakeWorker | None = None,
    observer: Observer | None = None,
    clock: Callable[[], float] | None = None,
    drain: GracefulShutdown | None = None,
    save_every: float = 0.0,
) -> SweepOutcome:
    """Run or continue a sweep as the command does: under the lock, with a study opened and closed.

    `save_every` is in seconds of `clock`. Without a clock of the test's own, time goes on by 0.01 s
    whenever it is read.
    """
    folder = StudyFolder(root, spec.name)
    with folder.lock():
        study = Study.open(folder.database, spec)
        try:
            return run_sweep(
                spec,
                folder,
                worker or FakeWorker(),
                study,
                observer,
                clock or _ticking(),
                drain,
                resamples=RESAMPLES,
                save_every=save_every,
            )
        finally:
            study.close()


def history(spec: SweepSpec, root: Path) -> list[tuple[Any, ...]]:
    """Return all that must not depend on interruptions, one row per trial: what the database says
    of it, its result without the time it took, its measurements and its exported adapters.
    """
    folder = StudyFolder(root, spec.name)
    study = Study.open(folder.database, spec)
    try:
        rows = []
        for trial in study.trials():
            result = folder.read_result(trial.number)
            assert result is not None, f"trial {trial.number} has no result"
            steps = [
                (m.step, m.adapter_scale, m.sets["domain"].wer)
                for m in folder.read_measurements(trial.number)
            ]
            adapters = [folder.adapter_folder(trial.number), folder.final_folder(trial.number)]
            configs = [adapter / "adapter_config.json" for adapter in adapters]
            exported = [config.read_text() if config.exists() else None for config in configs]
            attributes = {k: v for k, v in trial.user_attrs.items() if k != "seconds"}
            rows.append((trial.number, trial.state, trial.params, trial.value, attributes,
                         result.model_copy(update={"seconds": 0.0}), steps, exported))  # fmt: skip
        return rows
    finally:
        study.close()


def _ticking() -> Callable[[], float]:
    counter = itertools.count()
    return lambda: float(next(counter)) / 100
