"""What the search tells Optuna's samplers of trials that still run, and of parameters that only
some points have. Also: whoever begins to write to the study's database holds it from the start.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.search import storage
from orchestrator.search.samplers import STARTUP_TRIALS, StatelessSampler, distribution_of
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import SweepSpec
from tests.search_helpers import MIXED, fast_folder, make_spec

RATE = Dimension(name="learning_rate", low=1e-4, high=1e-2, log=True)


def at(state: TrialState, spec: SweepSpec, value: float | None, **params: Any) -> FrozenTrial:
    space = {each.name: distribution_of(each) for each in spec.parameters.searched}
    own: dict[str, BaseDistribution] = {name: space[name] for name in params}
    return create_trial(state=state, value=value, params=params, distributions=own)


def with_history(spec: SweepSpec, points: list[dict[str, Any]]) -> optuna.Study:
    """A study in which these points ended, the first the best."""
    study = optuna.create_study(sampler=StatelessSampler(spec))
    for place, point in enumerate(points):
        study.add_trial(at(TrialState.COMPLETE, spec, float(place), **point))
    return study


def test_a_trial_that_still_runs_is_kept_away_from() -> None:
    """Optuna's constant liar: else the slots of a pack would all try the same place."""
    spec = make_spec(searched=(RATE,))
    rates: list[dict[str, Any]] = [
        {"learning_rate": 1e-3 * (1 + 0.1 * place)} for place in range(STARTUP_TRIALS + 4)
    ]

    def next_beside(running: float) -> float:
        study = with_history(spec, rates)
        for _ in range(6):
            study.add_trial(at(TrialState.RUNNING, spec, None, learning_rate=running))
        rate: float = study.ask().suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        return rate

    free = next_beside(9e-3)
    assert next_beside(9e-3) == free, "the same question, the same answer"
    assert next_beside(free) != free


def test_parameters_that_only_some_points_have_are_drawn_with_the_others() -> None:
    """Optuna leaves them out of what it models together unless it is told to group."""
    replay, weight = MIXED[3], MIXED[4]
    spec = make_spec(searched=(replay, weight))
    points: list[dict[str, Any]] = [
        {"replay_ratio": 0.7, "kl_weight": 0.1} if place % 2 else {"replay_ratio": 0.1}
        for place in range(2 * STARTUP_TRIALS)
    ]
    study = with_history(spec, points)
    together = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert set(together) == {"replay_ratio", "kl_weight"}


def test_whoever_begins_to_write_the_study_holds_it() -> None:
    """A transaction that becomes a writer half-way may be refused there, whatever its timeout."""
    with fast_folder() as folder:
        database = storage._open_file(folder / "study.db")
        with database.engine.begin():
            other = sqlite3.connect(folder / "study.db", timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        other.close()
        database.engine.dispose()
