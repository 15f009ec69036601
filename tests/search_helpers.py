"""A small sweep and results for it, shared by the tests of search and records."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.records.results import TrialResult, TrialState
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Condition, Dimension, SearchSpace
from orchestrator.sweepfile.sweep import Budget, ModelSpec, SweepSpec


@contextmanager
def fast_folder() -> Iterator[Path]:
    """Yield a temporary folder, in memory where the system has such a place: every write of a study
    is synced to the disk, and the tests of the search make thousands.
    """
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


WHEN_REPLAY = (Condition(parameter="replay_ratio", operator="above", value=0.3),)
MIXED = (
    Dimension(name="learning_rate", low=1e-5, high=1e-2, log=True),
    Dimension(name="rank", low=2, high=64, log=True),
    Dimension(name="adapter", choices=("lora", "dora")),
    Dimension(name="replay_ratio", low=0.0, high=0.75),
    Dimension(name="kl_weight", choices=(0.0, 0.1, 0.3), when=WHEN_REPLAY),
)
FINITE = (
    Dimension(name="rank", choices=(2, 4, 8, 16)),
    Dimension(name="replay_ratio", choices=(0.0, 0.25, 0.5, 0.75)),
    Dimension(name="kl_weight", choices=(0.0, 0.1, 0.3), when=WHEN_REPLAY),
    Dimension(name="max_steps", low=100, high=300, step=100),
)


def make_spec(
    method: str = "tpe", searched: tuple[Dimension, ...] = MIXED, **changes: Any
) -> SweepSpec:
    """Return a sweep with one guardrail that searches the dimensions `searched`."""
    fields: dict[str, Any] = {
        "version": 1,
        "name": "small",
        "model": ModelSpec(id="model"),
        "data": DataSpec(train=Path("/t"), domain=Path("/d"), heldout=Path("/h")),
        "evaluation": EvaluationSpec(),
        "method": method,
        "parameters": SearchSpace(fixed={"batch_size": 8}, searched=searched, presets={}),
        "guardrails": {"heldout_wer": Limit(max_regression=0.2)},
        "budget": Budget(trials=40),
    }
    return SweepSpec(**(fields | changes))


def make_result(
    number: int, params: dict[str, Any], domain: float = 50.0, **changes: Any
) -> TrialResult:
    """Return a result of a trial, feasible unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "number": number,
        "state": TrialState.COMPLETE,
        "reason": "best at step 100",
        "params": params,
        "feasible": True,
        "step": 100,
        "adapter_scale": 1.0,
        "wer": {"domain": domain, "heldout": 5.0},
        "delta": {"domain": domain - 60, "heldout": -0.1},
        "constraints": {"heldout_wer": -0.3},
        "steps_trained": 100,
    }
    return TrialResult(**(fields | changes))
