"""Results in Optuna's form: as a state, a value and attributes, and read back from these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial
from pydantic import ValidationError

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.scoring.limit_text import rate_text
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import guardrail_metrics

_AS_THEY_ARE = (
    "feasible",
    "reason",
    "adapter_scale",
    "steps_trained",
    "pruned_by",
    "duplicate_of",
    "seconds",
)
"""Fields of a result that are attributes of the same name."""


@dataclass(frozen=True)
class StudyTrial:
    """One trial as the study holds it. The `value` of a PRUNED trial is its last report, so never
    rank by it.
    """

    number: int
    state: TrialState
    params: dict[str, Any]
    value: float | None
    user_attrs: dict[str, Any]


def study_trial(spec: SweepSpec, held: FrozenTrial) -> StudyTrial:
    """Return a trial that was started, with its parameters as the sweep file has them."""
    return StudyTrial(
        held.number,
        TrialState(held.state.name),
        snapped_params(spec, held.params),
        held.value,
        held.user_attrs,
    )


def snapped_params(spec: SweepSpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return each parameter's value in the search space for one that a database has rounded."""
    dimensions = {dimension.name: dimension for dimension in spec.parameters.searched}
    return {
        name: dimensions[name].snapped(value) if name in dimensions else value
        for name, value in params.items()
    }


def optuna_end(spec: SweepSpec, result: TrialResult) -> tuple[TrialState, float | None]:
    """Return the state and value that Optuna is told of a trial. Raises StudyError for numbers that
    are not finite, and for a feasible trial that was not measured on everything it is judged by.
    """
    refuse_non_finite(result.number, {rate_text(name): value for name, value in result.wer.items()})
    refuse_non_finite(
        result.number, {f"constraint {name}": v for name, v in result.constraints.items()}
    )
    constrained = set(guardrail_metrics(spec)) <= set(result.constraints)
    measured = spec.objective in result.wer
    if result.state == TrialState.COMPLETE and result.feasible:
        if not (constrained and measured):
            needed = f"{', '.join(guardrail_metrics(spec))} and {rate_text(spec.objective)}"
            raise StudyError(
                f"trial {result.number} cannot be COMPLETE and feasible: {needed} "
                "must all be measured\n  It counts as infeasible until they are."
            )
        return TrialState.COMPLETE, result.wer[spec.objective]
    if result.state == TrialState.FAIL:
        return TrialState.FAIL, None
    if spec.method == "gp" and not result.feasible and constrained and measured:
        return TrialState.COMPLETE, result.wer[spec.objective]
    return TrialState.PRUNED, None


def result_attributes(result: TrialResult) -> dict[str, Any]:
    """Return what the dashboard shows of a result; numbers stay numbers, so that they can be
    plotted.
    """
    numbers = {f"wer_{name}": value for name, value in result.wer.items()}
    numbers |= {f"delta_{name}": value for name, value in result.delta.items()}
    words = {
        "feasible": result.feasible, "reason": result.reason, "best_step": result.step,
        "adapter_scale": result.adapter_scale, "steps_trained": result.steps_trained, "seconds": result.seconds,
        "pruned_by": result.pruned_by, "duplicate_of": result.duplicate_of,
    }  # fmt: skip
    return numbers | {name: value for name, value in words.items() if value is not None}


def read_result(
    trial: FrozenTrial, params: Mapping[str, Any], constraints: Mapping[str, float]
) -> TrialResult | None:
    """Return the result that `result_attributes` was made from, with the parameters and constraints
    that the study holds for the trial; None where the attributes are not those of a result.
    """
    held = trial.user_attrs
    fields: dict[str, Any] = {name: held[name] for name in _AS_THEY_ARE if name in held} | {
        "number": trial.number,
        "state": trial.state.name,
        "params": dict(params),
        "step": held.get("best_step"),
        "wer": _rates(held, "wer_"),
        "delta": _rates(held, "delta_"),
        "constraints": dict(constraints),
    }
    try:
        return TrialResult.model_validate({"adapter_scale": None, **fields})
    except ValidationError:
        return None


def _rates(attributes: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Return the attributes whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


def refuse_non_finite(number: int, values: Mapping[str, float]) -> None:
    """Raise StudyError for a value that is not finite, as Optuna would rank it."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise StudyError(
                f"trial {number}: {name} is {value}, which Optuna could rank as the best\n"
                "  A trial whose numbers are not finite has to end as FAIL, without them."
            )


def in_spec_order(spec: SweepSpec, constraints: Mapping[str, float]) -> list[str]:
    """Return the names of the constraints, those of guardrails first and in the sweep file's order.
    GP builds its matrix by position, so in another order two trials would swap their guardrails.
    """
    declared = [name for name in guardrail_metrics(spec) if name in constraints]
    return [*declared, *sorted(set(constraints) - set(declared))]
