"""Trials heard together, of whom one that cannot be heard costs itself alone.

Words do not depend on who is decoded beside whom, so less at once is exact: smaller batches, then fewer trials, then
one adapter scale after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orchestrator.records.results import SetMeasurement
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.transcription import ScaledAdapter
from orchestrator.tuning.faults import Done, Fault, attempt

Heard = tuple[dict[str, SetMeasurement], dict[str, tuple[str, ...]]]
"""Edit counts and raw hypotheses by set."""

MOST_DIVIDED = 64
"""A batch of so small a part of the usual is a single clip."""


def hear(
    evaluator: Evaluator, trials: Sequence[Sequence[ScaledAdapter]], names: Collection[str] | None
) -> list[list[Heard] | Fault]:
    """Per trial, what each of its scaled_adapters hears in the sets of `names`, or why it cannot be said."""
    usual, scaled_adapters, device = (
        evaluator.division,
        [voice for own in trials for voice in own],
        evaluator.base.device,
    )
    outcome = attempt(lambda: evaluator.measure(scaled_adapters, names), device)
    while isinstance(outcome, Fault) and outcome.memory and evaluator.division < MOST_DIVIDED:
        evaluator.division *= 2
        outcome = attempt(lambda: evaluator.measure(scaled_adapters, names), device)
    if isinstance(outcome, Done):
        rows = iter(outcome.value)
        return [[next(rows) for _ in own] for own in trials]
    evaluator.division = usual
    if len(trials) > 1:
        return [heard for own in trials for heard in hear(evaluator, [own], names)]
    return [_one_by_one(evaluator, trials[0], names, outcome)]


def _one_by_one(
    evaluator: Evaluator, scaled_adapters: Sequence[ScaledAdapter], names: Collection[str] | None, fault: Fault
) -> list[Heard] | Fault:
    """A trial that failed with all its scales at once."""
    if len(scaled_adapters) == 1 or not fault.memory:
        return fault
    together: list[Heard] = []
    for voice in scaled_adapters:
        (heard,) = hear(evaluator, [[voice]], names)
        if isinstance(heard, Fault):
            return heard
        together += heard
    return together
