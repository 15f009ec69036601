"""One trial, complete and serialisable: another process or machine can run it without the sweep."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.sweepfile.data import ConfirmPartSpec, DataSpec
from orchestrator.sweepfile.identity import FORMAT, digest
from orchestrator.sweepfile.parameters import Hyperparameters
from orchestrator.sweepfile.sweep import EvaluationSpec, ModelSpec


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

    model_config = ConfigDict(frozen=True, extra="forbid")

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
                "evaluation": self._evaluation,
                "params": self.params.model_dump(mode="json"),
            }
        )

    @property
    def _evaluation(self) -> dict[str, Any]:
        """The evaluation as a part of the recipe."""
        # what the terms are is in the evaluation's fingerprint, and where their list lies in no
        # identity
        evaluation = self.evaluation.model_dump(mode="json", exclude={"terms"})
        # a recipe from before there was a choice of windows is the recipe of the stock ones
        return {
            name: value
            for name, value in evaluation.items()
            if (name, value) != ("encoder_windows", "stock")
        }
