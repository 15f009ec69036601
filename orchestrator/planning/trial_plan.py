"""The plan of one trial, complete and serialisable, so that another process or machine can run it
without the sweep file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.points import is_active
from orchestrator.sweepfile.conditions import space_of
from orchestrator.sweepfile.data import ConfirmPartSpec, DataSpec
from orchestrator.sweepfile.digest import FORMAT, digest
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.parameters import TABLE, Hyperparameters, ParameterValue
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.sweep import ModelSpec, SweepSpec


def rungs_of(steps: int, every: int) -> tuple[int, ...]:
    """Return the rungs of a trial: the optimizer steps at which it is evaluated, the last
    always.
    """
    return (*range(every, steps, every), steps)


class TrialParams(Hyperparameters):
    """The hyperparameters of one trial, with what is derived from them and from the sweep file."""

    target_patterns: tuple[str, ...]
    """The module patterns of the preset `target_modules`."""
    averaged_steps: tuple[int, ...] = ()
    """The optimizer steps whose adapters are averaged into that of the last step, which is one of
    them; empty for no averaging. Given as steps and not as a number of rungs, because a
    confirmation is evaluated at other rungs and must train the same adapter.
    """
    adapter_scales: tuple[float, ...] = (1.0,)
    """Scales at which the adapter is evaluated after training: W + scale * delta W."""


class TrialPlan(BaseModel):
    """Everything that one trial depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sweep: str
    number: int
    """Optuna's trial number, or a negative number outside the study (confirmation runs)."""
    model: ModelSpec
    data: ConfirmPartSpec | DataSpec
    """Paths below the project's folder, also that of a model folder, are relative to it."""
    evaluation: EvaluationSpec
    params: TrialParams
    contents: dict[str, str] = {}
    """Digests of the content of the sets and of the model's weights, keyed train, replay, domain,
    heldout and so on, and model: all that were known when the plan was made."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Optimizer steps after which the trial is evaluated; the last is always `max_steps`."""
        return rungs_of(self.params.max_steps, self.evaluation.every)

    @property
    def last_rung(self) -> int:
        """Step of its last evaluation: a confirmation run ends at its first rung, which is the best
        step of its finalist.
        """
        return self.rungs[0] if self.number < 0 else self.rungs[-1]

    @property
    def recipe(self) -> str:
        """Digest of all that decides the result: trials with equal recipes are exact duplicates,
        whatever their number.

        Data and model enter by the digest of their content, wherever they are stored, or by their
        name while that is not known.
        """
        data = self.data
        paths = {"train": data.train, "replay": data.replay}
        names = {name: str(path) for name, path in paths.items() if path is not None}
        names |= {name: "|".join(map(str, source)) for name, source in data.evaluated.items()}
        names["model"] = f"{self.model.id}@{self.model.revision}"
        return digest(
            {
                "format": FORMAT,
                "contents": names | self.contents,
                "part": getattr(data, "part", "search"),
                "max_seconds": data.max_seconds,
                "evaluation": self._evaluation_part,
                "params": self.params.model_dump(mode="json"),
            }
        )

    @property
    def _evaluation_part(self) -> dict[str, Any]:
        """The evaluation as a part of the recipe, as JSON values."""
        # The terms themselves are in the evaluation's fingerprint; the path of their list is no
        # part of what a trial is.
        evaluation = self.evaluation.model_dump(mode="json", exclude={"terms"})
        # These fields were added later: at their defaults they are left out, so that recipes of
        # older studies keep their digest.
        before = {"encoder_windows": "stock", "training_precision": None}
        return {
            name: value
            for name, value in evaluation.items()
            if name not in before or before[name] != value
        }


def trial_plan(
    spec: SweepSpec,
    number: int,
    searched: Mapping[str, ParameterValue],
    contents: Mapping[str, str] | None = None,
) -> TrialPlan:
    """Make the complete plan of one trial: fixed and searched values, defaults for inactive
    parameters, presets replaced by their patterns.

    `contents` are the digests of its data and model, where they are known: see
    `TrialPlan.contents`. Values searched for an inactive parameter are ignored, so that equal
    trials have equal recipes.

    Raises:
        ValueError: a searched value is missing, unknown or outside the space.
    """
    values: dict[str, ParameterValue] = dict(spec.parameters.fixed)
    unknown = set(searched) - {dimension.name for dimension in spec.parameters.searched}
    if unknown:
        raise ValueError(
            f"trial {number}: {', '.join(sorted(unknown))} not searched by sweep {spec.name}"
        )
    for dimension in spec.parameters.searched:
        if is_active(dimension, values):
            if dimension.name not in searched or not dimension.contains(searched[dimension.name]):
                raise ValueError(
                    f"trial {number}: {dimension.name} must be {space_of(dimension)}, "
                    f"not {searched.get(dimension.name)}"
                )
            values[dimension.name] = searched[dimension.name]
    portable = spec.portable
    return TrialPlan(
        sweep=spec.name,
        number=number,
        model=portable.model,
        data=portable.data,
        evaluation=spec.portable.evaluation,
        params=_trial_params(spec, values),
        contents=dict(contents or {}),
    )


def first_plan(spec: SweepSpec) -> TrialPlan:
    """Make a plan like the sweep's first trial: the first point of `start_with`, and for parameters
    that it lacks the first value of the space.
    """
    start = spec.start_with[0] if spec.start_with else {}
    first = {d.name: d.low if d.choices is None else d.choices[0] for d in spec.parameters.searched}
    return trial_plan(
        spec,
        0,
        {name: start.get(name, value) for name, value in first.items() if value is not None},
    )


def alpha_ratio_of(params: TrialParams, space: SearchSpace) -> float:
    """Return the `alpha_ratio` from which the alpha of a trial of this search space was computed.

    It is that of the space to the bit, while alpha / rank may differ in the last digit. Only where
    any number of a range may have been searched it is alpha / rank, which gives the same alpha.
    """
    quotient = params.alpha / params.rank
    ranges = [d for d in space.searched if d.name == "alpha_ratio" and d.choices is None]
    known = (*space.possible("alpha_ratio"), *(each.snapped(quotient) for each in ranges))
    ratios = (ratio for ratio in map(float, known) if ratio * params.rank == params.alpha)
    return next(ratios, quotient)


def _trial_params(spec: SweepSpec, values: Mapping[str, ParameterValue]) -> TrialParams:
    complete: dict[str, Any] = {
        name: row.default for name, row in TABLE.items() if row.default is not None
    } | dict(values)
    ratio = complete.pop("alpha_ratio")
    complete.setdefault("alpha", float(ratio * complete["rank"]))
    patterns = spec.parameters.presets[complete["target_modules"]]
    if complete["average_rungs"] > 1:
        rungs = rungs_of(complete["max_steps"], spec.evaluation.every)
        complete["averaged_steps"] = rungs[-complete["average_rungs"] :]
    return TrialParams(
        **complete, target_patterns=patterns, adapter_scales=spec.parameters.adapter_scales
    )
