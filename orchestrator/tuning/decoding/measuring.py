"""Measuring trials together, where one that cannot be measured does not fail the others.

What a trial hears does not depend on what is decoded with it, so where memory is short less is
decoded at once: smaller batches first, then one trial after the other, then one adapter scale after
the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.records.results import SetMeasurement
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.greedy_decoding import ScaledAdapter
from orchestrator.tuning.trial_faults import Done, Fault, attempt

MeasuredSets = tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]
"""Edit counts and raw hypotheses by set."""

MOST_DIVIDED = 64
"""The largest division of batches that is tried: a 64th of the usual batch is a single clip."""


@dataclass(frozen=True)
class DueTrial:
    """A trial that is to be measured."""

    scaled_adapters: Sequence[ScaledAdapter]
    said_before: Mapping[str, Sequence[str]]
    """Its hypotheses by set when it was last measured; empty before that."""


def measure_apart(
    evaluator: Evaluator, trials: Sequence[DueTrial], names: Collection[str] | None
) -> list[list[MeasuredSets] | Fault]:
    """Return for each trial what is measured at each of its adapter scales on the sets in `names`,
    or on all, or why it cannot be measured.
    """
    usual, device = evaluator.division, evaluator.base.device
    scaled_adapters = [adapter for own in trials for adapter in own.scaled_adapters]
    before = [own.said_before for own in trials for _ in own.scaled_adapters]
    outcome = attempt(lambda: evaluator.measure(scaled_adapters, names, before), device)
    while isinstance(outcome, Fault) and outcome.memory and evaluator.division < MOST_DIVIDED:
        evaluator.division *= 2
        outcome = attempt(lambda: evaluator.measure(scaled_adapters, names, before), device)
    if isinstance(outcome, Done):
        rows = iter(outcome.value)
        return [[next(rows) for _ in own.scaled_adapters] for own in trials]
    evaluator.division = usual
    if len(trials) > 1:
        return [alone for own in trials for alone in measure_apart(evaluator, [own], names)]
    return [_one_by_one(evaluator, trials[0], names, outcome)]


def _one_by_one(
    evaluator: Evaluator,
    trial: DueTrial,
    names: Collection[str] | None,
    fault: Fault,
) -> list[MeasuredSets] | Fault:
    """Measure a trial one scale after the other, after it ran out of memory with all at once; any
    other fault stands.
    """
    if len(trial.scaled_adapters) == 1 or not fault.memory:
        return fault
    together: list[MeasuredSets] = []
    for adapter in trial.scaled_adapters:
        (alone,) = measure_apart(evaluator, [replace(trial, scaled_adapters=[adapter])], names)
        if isinstance(alone, Fault):
            return alone
        together += alone
    return together
