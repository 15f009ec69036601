"""One trial, complete and serialisable: another process or machine can run it without the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.points import is_active
from orchestrator.sweepfile.conditions import space_of
from orchestrator.sweepfile.data import ConfirmPartSpec, DataSpec
from orchestrator.sweepfile.digest import FORMAT, digest
from orchestrator.sweepfile.parameters import TABLE, Hyperparameters, ParameterValue
from orchestrator.sweepfile.sweep import EvaluationSpec, ModelSpec, SweepSpec


def rungs_of(steps: int, every: int) -> tuple[int, ...]:
    """The optimizer steps at which a trial of so many is evaluated."""
    return (*range(every, steps, every), steps)


class TrialParams(Hyperparameters):
    """The hyperparameters of one trial, with what follows from them and from the sweep file."""

    target_patterns: tuple[str, ...]
    """What the preset `target_modules` stands for."""
    averaged_steps: tuple[int, ...] = ()
    """Optimizer steps whose adapters' mean is the adapter of the last step, which is one of them;
    none: no mean. Steps and not rungs, because a confirmation is evaluated at other rungs and must
    train the same adapter."""
    adapter_scales: tuple[float, ...] = (1.0,)
    """Evaluated as W + scale * delta W; one training gives a result per scale."""


class TrialPlan(BaseModel):
    """Everything one trial depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sweep: str
    number: int
    """Optuna's trial number, or a negative number outside the study (confirmation runs)."""
    model: ModelSpec
    data: ConfirmPartSpec | DataSpec
    """Paths, like a model folder's, start at the project's folder where they lie below it."""
    evaluation: EvaluationSpec
    params: TrialParams
    contents: dict[str, str] = {}
    """Digests of what was trained and measured with, by train, replay, domain, heldout and model
    (its weights): all that were known when the plan was made."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Optimizer steps after which the trial is evaluated; the last is always `max_steps`."""
        return rungs_of(self.params.max_steps, self.evaluation.every)

    @property
    def recipe(self) -> str:
        """Digest of all that decides the result: equal recipes are exact duplicates, whatever their
        number.

        Data and model count by their contents, wherever they lie; by their names only while no
        content is known.
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
        """The evaluation as a part of the recipe."""
        # what the terms are is in the evaluation's fingerprint, and where their list lies in no
        # identity
        evaluation = self.evaluation.model_dump(mode="json", exclude={"terms"})
        # a recipe from before there was a choice of windows is the recipe of the stock ones, and one
        # from before training could have a precision of its own that of a training without
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
    """The complete plan of one trial: fixed and searched values, defaults for what is inactive,
    presets spelled out.

    `contents` are the digests of its data and model, where they are known: see
    `TrialPlan.contents`.

    Values searched for an inactive parameter are ignored, so that equal trials have equal recipes.

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
    """A plan like the sweep's first trial: the first starting point, and where it is silent the
    space's first value.
    """
    start = spec.start_with[0] if spec.start_with else {}
    first = {d.name: d.low if d.choices is None else d.choices[0] for d in spec.parameters.searched}
    return trial_plan(
        spec,
        0,
        {name: start.get(name, value) for name, value in first.items() if value is not None},
    )


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
