"""Decides whether a trial is behind the others and is stopped, by Optuna's rules, but without
letting Optuna write anything to the study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.sweepfile.sweep import SweepSpec


@dataclass(frozen=True)
class _Reports:
    """The part of a trial that a pruner reads."""

    state: TrialState
    intermediate_values: Mapping[int, float]
    system_attrs: Mapping[str, float]
    """The rungs of successive halving that it has passed, as Optuna marks them."""
    _trial_id: int

    @property
    def last_step(self) -> int | None:
        return max(self.intermediate_values, default=None)


class _Reported:
    """The part of a study that a pruner reads. It keeps nothing that is written; Optuna's own study
    in memory would copy and check every trial at every rung.
    """

    direction = StudyDirection.MINIMIZE

    def __init__(self, trials: Sequence[_Reports]) -> None:
        self.trials = trials

    @property
    def _storage(self) -> _Reported:
        return self

    def get_trials(
        self, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None
    ) -> list[_Reports]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Do nothing: which rungs a trial has passed is computed from its reports."""


class Pruner:
    """The rule of `early_stop` (median, asha) of a study: Optuna's own pruner, called on a view of
    what the trials have reported. Called on the study itself, successive halving would write down
    that a rung is passed, and answer differently when a run that was killed asks again.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._spec, self._pruner = spec, _pruner(spec)
        self._ended: dict[int, _Reports] = {}
        """The views of trials that have ended, by number: they report nothing more, so each is made
        once.
        """

    def is_behind(self, trials: Iterable[FrozenTrial], number: int) -> bool:
        """Say whether the rule stops trial `number` at the value it reported last. The answer
        depends on what `trials`, all of the study, have reported and on nothing else.
        """
        if self._pruner is None:
            return False
        judged: _Reports | None = None
        others = []
        for trial in trials:
            if trial.number == number:
                judged = _reports(trial, self._spec, upto=trial.last_step)
            elif trial.state != TrialState.WAITING:
                others.append(self._reports_of(trial))
        assert judged is not None, f"trial {number} was asked for"
        study = cast(optuna.Study, _Reported([*others, judged]))
        return bool(self._pruner.prune(study, cast(FrozenTrial, judged)))

    def _reports_of(self, trial: FrozenTrial) -> _Reports:
        known = self._ended.get(trial.number)
        if known is not None:
            return known
        view = _reports(trial, self._spec, upto=None)
        if trial.state.is_finished():
            self._ended[trial.number] = view
        return view


def _pruner(spec: SweepSpec) -> BasePruner | None:
    stop = spec.early_stop
    if stop.method == "median":
        return MedianPruner(n_startup_trials=stop.startup_trials)
    if stop.method == "asha":
        return SuccessiveHalvingPruner(
            min_resource=spec.evaluation.every, reduction_factor=stop.reduction_factor
        )
    return None


def _reports(trial: FrozenTrial, spec: SweepSpec, upto: int | None) -> _Reports:
    """Return the view of a trial. With `upto`, the rungs of successive halving that it has passed
    are counted from reports before that step only.
    """
    rungs: dict[str, float] = {}
    if spec.early_stop.method == "asha":
        rungs = _passed_rungs(spec, sorted(trial.intermediate_values.items()), upto)
    return _Reports(trial.state, trial.intermediate_values, rungs, trial._trial_id)


def _passed_rungs(
    spec: SweepSpec, reports: Sequence[tuple[int, float]], upto: int | None
) -> dict[str, float]:
    """Return the marks of the rungs that these reports have passed, as Optuna writes them. Rung k
    lies at `every * reduction_factor ** k` steps, and is marked with the first value reported there
    or later.
    """
    rungs: dict[str, float] = {}
    boundary = spec.evaluation.every
    while True:
        passed = [
            value for step, value in reports if step >= boundary and (upto is None or step < upto)
        ]
        if not passed:
            return rungs
        rungs[f"completed_rung_{len(rungs)}"] = passed[0]
        boundary *= spec.early_stop.reduction_factor
