"""What the untuned model predicts on replay rows is the same to the bit whatever was computed before:
a resumed run has to compute other rows than the one that was stopped.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import Event, Measured
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.training.kl_reference import know_untuned
from orchestrator.tuning.worker import PackWorker, start_worker
from tests.embedded import small_sweep, trial

pytestmark = pytest.mark.usefixtures("without_model_checks")

SIZES = {"train": 8, "replay": 16, "domain": 2, "heldout": 2}
KEPT = {"learning_rate": 1e-2, "max_steps": 6, "replay_ratio": 0.5, "kl_weight": 0.5}


@pytest.fixture(scope="module", name="spec")
def _spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    often = {"every": 3, "max_tokens_per_second": 13}
    return small_sweep(tmp_path_factory.mktemp("sweep"), SIZES, parameters=KEPT, evaluation=often)


@pytest.fixture(scope="module", name="cache")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_row_does_not_depend_on_those_beside_it(spec: SweepSpec, cache: Path) -> None:
    worker = start_worker(spec, cache)
    base, store, data = worker.base, worker.store, worker.data
    rows = range(data.domain, len(data.labels))
    kept = []
    for division in ([rows], [rows[::2], rows], [[row] for row in reversed(rows)]):
        data.untuned.clear()
        for some in division:
            know_untuned(base, store, data, set(some))
        kept.append(dict(data.untuned))
    assert set(kept[0]) == set(rows)
    for other in kept[1:]:
        assert all(torch.equal(kept[0][row], other[row]) for row in rows)
    assert [len(kept[0][row]) for row in rows] == [len(data.labels[row]) for row in rows]


def test_a_trial_trains_alike_after_others_and_in_a_new_process(
    spec: SweepSpec, cache: Path, tmp_path: Path
) -> None:
    def trained(worker: PackWorker, plan: TrialPlan) -> tuple[Event, ...]:
        worker.admit(plan)
        events: list[Event] = []
        while not any(isinstance(each, Measured) and each.final for each in events):
            events += worker.advance()
        worker.export(plan.number, 1.0, tmp_path / f"{id(worker)}-{plan.number}")
        worker.release(plan.number)
        return tuple(events)

    before, fresh = start_worker(spec, cache), start_worker(spec, cache)
    trained(before, trial(spec, 0, seed=7, **KEPT))  # draws other rows, which are then known
    assert fresh.data.untuned.keys() != before.data.untuned.keys()
    plan = trial(spec, 1, **KEPT)
    for worker in (before, fresh):
        trained(worker, plan)
    own, other = (
        (tmp_path / f"{id(worker)}-1" / "adapter_model.safetensors").read_bytes()
        for worker in (before, fresh)
    )
    assert own == other
