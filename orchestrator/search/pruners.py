"""Stopping trials that are behind the others, by Optuna's rules, without their bookkeeping."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.sweepfile.sweep import SweepSpec


def is_behind(spec: SweepSpec, trials: Iterable[FrozenTrial], number: int) -> bool:
    """Whether `early_stop` of the spec (median, asha) stops trial `number` at the value it reported
    last.

    A pure function of what the trials have reported: Optuna's own pruner is asked on a copy of the
    study in memory. On the study itself successive halving would write that the rung is passed, and
    answer differently when a run that was killed asks again.
    """
    pruner = _pruner(spec)
    if pruner is None:
        return False
    trials = [trial for trial in trials if trial.state != TrialState.WAITING]
    others = [_copy(trial, spec, upto=None) for trial in trials if trial.number != number]
    [judged] = [
        _copy(trial, spec, upto=trial.last_step) for trial in trials if trial.number == number
    ]
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials([*others, judged])
    return bool(pruner.prune(study, study.get_trials(deepcopy=False)[-1]))


def _pruner(spec: SweepSpec) -> BasePruner | None:
    stop = spec.early_stop
    if stop.method == "median":
        return MedianPruner(n_startup_trials=stop.startup_trials)
    if stop.method == "asha":
        return SuccessiveHalvingPruner(
            min_resource=spec.evaluation.every, reduction_factor=stop.reduction_factor
        )
    return None


def _copy(trial: FrozenTrial, spec: SweepSpec, upto: int | None) -> FrozenTrial:
    """The trial's reports; the rungs of successive halving it has passed, below step `upto`, as
    Optuna marks them.
    """
    reports = sorted(trial.intermediate_values.items())
    rungs: dict[str, float] = {}
    boundary = spec.evaluation.every
    while spec.early_stop.method == "asha":
        passed = [
            value for step, value in reports if step >= boundary and (upto is None or step < upto)
        ]
        if not passed:
            break
        rungs[f"completed_rung_{len(rungs)}"] = passed[0]
        boundary *= spec.early_stop.reduction_factor
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return create_trial(
        state=trial.state, value=value, intermediate_values=dict(reports), system_attrs={**rungs}
    )
