"""The sweep file as frozen values. No I/O, no torch; `loading.py` makes these from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator

from orchestrator.checks import Ignorable, may_be_ignored
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.evaluation import EvaluationSpec, Precision
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.frozen import Frozen, Seed
from orchestrator.sweepfile.limits import Limit, metrics, short_form
from orchestrator.sweepfile.parameters import NAMES
from orchestrator.sweepfile.search_space import Metric, SearchSpace
from orchestrator.sweepfile.storage import StorageSpec
from orchestrator.sweepfile.tracking import TrackingSpec

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Pattern of a sweep's name, which is also its folder's name under `studies/`."""
NAME_FORM = "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first"
"""The pattern in words."""


def _not_a_bool(value: Any) -> Any:
    """Refuse true and false, which equal 1 and 0 and so are among the words of `Literal[1]`."""
    if isinstance(value, bool):
        raise ValueError("1")
    return value


class ModelSpec(Frozen):
    """The frozen base model: a hub id with its revision, or a local folder."""

    id: str = Field(min_length=1)
    """The hub id, or the path of the folder."""
    revision: str = Field(default="main", min_length=1)
    """Branch, tag or commit of the hub; a folder has none."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a local folder, absolute or relative to the project's folder, and no hub
        id.
        """
        return self.id.startswith(("/", "./"))

    def relative_to(self, root: Path) -> ModelSpec:
        """Return a copy in which a folder below `root` is relative to it (./data/base-model)."""
        if not self.is_folder or not Path(self.id).is_relative_to(root):
            return self
        return self.model_copy(update={"id": f"./{Path(self.id).relative_to(root).as_posix()}"})


class ConfirmSpec(Frozen):
    """How many finalists are confirmed, and the fresh seeds with which they are trained again."""

    top: int = Field(default=2, ge=1)
    """Number of finalists: the best trials of the search."""
    seeds: tuple[Seed, ...] = Field(default=(101, 102, 103), min_length=1)
    """Each finalist is trained again with each of these."""
    agree: Literal["any", "all"] = "any"
    """all: the sweep is rejected unless every seed alone lowers the rate that the search
    minimises. any: that is not asked for.
    """

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a list of different seeds")
        return seeds


class TakeSpec(Frozen):
    """Parameters that are taken from the best trial of a finished study.

    Without `recipe` this is a request. With it the request is resolved: the values are among the
    fixed ones of `parameters`.
    """

    study: str = Field(pattern=NAME)
    """Name of the study under `studies/`."""
    parameters: tuple[str, ...] = Field(min_length=1)
    """Names of the parameters that are taken."""
    trial: int | None = Field(default=None, ge=0)
    """Number of the trial that they are taken from; null in a sweep file means the study's best
    one.
    """
    fallback: Literal["none", "lowest_domain"] = "none"
    """What to do if no trial of the study is feasible: take nothing and end, or take the trial of
    lowest domain WER.
    """
    recipe: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest of that trial's recipe, which says what it was, whatever the study holds later; null
    until the request is resolved.
    """
    infeasible: bool = False
    """Once resolved: whether that trial broke a guardrail of its study and is taken all the
    same.
    """

    @field_validator("parameters")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names) or not set(names) <= set(NAMES):
            raise ValueError(f"a list of different parameters, of {', '.join(NAMES)}")
        return names


class Budget(Frozen):
    """How much the search may spend, in all runs together. May change between runs of a study."""

    trials: int = Field(ge=1, le=1_000_000)
    """Number of trials."""
    wall_clock: float | None = Field(default=None, gt=0)
    """Seconds; null sets no limit."""


class EarlyStop(Frozen):
    """Rules that stop a trial early: it is behind the others (median, asha), or worse than the
    baseline (ratio).
    """

    method: Literal["none", "median", "asha", "ratio"] = "none"
    """The rule; `none` stops no trial for this reason."""
    ratio: float = Field(default=1.1, gt=1)
    """For `ratio`: a trial stops when what the search minimises exceeds this many times the
    baseline's.
    """
    reduction_factor: int = Field(default=3, ge=2)
    """For `asha`: about one of so many trials goes on from each rung of successive halving."""
    startup_trials: int = Field(default=4, ge=1)
    """For `median`: number of trials that must have ended COMPLETE before it judges. With method gp
    the database has trials that broke a guardrail as COMPLETE, so they count there.
    """


class ChecksSpec(Frozen):
    """Checks whose findings are accepted. May change between runs of a study."""

    ignore: tuple[Annotated[Ignorable, BeforeValidator(may_be_ignored)], ...] = ()
    """Names of these checks. What they find stops no sweep; it is in the notes and in the
    report.
    """


class SweepSpec(Frozen):
    """One sweep: model, data, the space of parameters, limits and a budget.

    As read from its file: `extends` merged, overrides applied, paths absolute, defaults filled in.
    """

    _project: Path | None = PrivateAttr(default=None)

    # model_construct: defaults of sections are made without validation. Validation would build the
    # sections' validators at import, which every command would wait for.
    version: Annotated[Literal[1], BeforeValidator(_not_a_bool)]
    """Version of the file's format."""
    name: str = Field(pattern=NAME)
    """Name of the study, and of its folder under `studies/`."""
    description: str = ""
    """For people."""
    model: ModelSpec
    data: DataSpec
    evaluation: EvaluationSpec = EvaluationSpec.model_construct()
    method: Literal["tpe", "gp", "random", "grid", "qmc"] = "tpe"
    """How the search chooses the next point."""
    metric: Metric = Metric.model_construct()
    take: TakeSpec | None = None
    """Parameters that another study decided; null takes none."""
    parameters: SearchSpace
    start_with: tuple[dict[str, bool | int | float | str], ...] = ()
    """Points that are tried first, in order. A point names searched parameters; the others are
    drawn.
    """
    guardrails: dict[str, Annotated[Limit, BeforeValidator(short_form)]] = Field(
        default_factory=dict
    )
    """What every trial must keep, by metric (see `limits.metrics`)."""
    acceptance: dict[str, Annotated[Limit, BeforeValidator(short_form)]] = Field(
        default_factory=dict
    )
    """What the winner must show, by metric; without any there is no verdict."""
    confirm: ConfirmSpec | None = None
    seed: Seed = 0
    """Seed of the search itself (the sampler). That of the trials is `parameters.seed`."""
    early_stop: EarlyStop = EarlyStop.model_construct()
    budget: Budget
    execution: Execution = Execution.model_construct()
    storage: StorageSpec | None = None
    """The study's database on a server; null keeps it as study.db in the study's folder. It is no
    part of `portable`, and so of no file of the study: these are the same wherever the database is.
    """
    checks: ChecksSpec = ChecksSpec.model_construct()
    record: bool = True
    """Whether a finished run gets its row in the project's docs/experiment_plan.md."""
    tracking: TrackingSpec | None = None
    """Trackers to which the study is also sent; null: none. The study itself does not keep it."""

    def __eq__(self, other: object) -> bool:
        """Compare the fields alone: the project's folder is no part of the sweep."""
        return isinstance(other, SweepSpec) and self.__dict__ == other.__dict__

    @property
    def project(self) -> Path:
        """The folder that the file's paths are relative to; the current folder for a spec that was
        made without a file.
        """
        return self._project or Path.cwd()

    def located(self, project: Path) -> SweepSpec:
        """Return a copy whose project is in that folder."""
        copy = self.model_copy()
        copy._project = project
        return copy

    @property
    def portable(self) -> SweepSpec:
        """The part of the sweep that a study keeps: with paths relative to the project's folder, so
        that it is equal wherever the project is, and without trackers and the database's place.
        """
        changes = {
            "storage": None,
            "data": self.data.relative_to(self.project),
            "model": self.model.relative_to(self.project),
            "evaluation": self.evaluation.relative_to(self.project),
            "tracking": None,
        }
        return self.model_copy(update=changes)

    @property
    def objective(self) -> str:
        """The rate that the search minimises, by the name that measurements use: domain or
        domain_cer.
        """
        return self.metric.name.removesuffix("_wer")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that limits may be set on."""
        sets = ("domain",) if self.data.heldout is None else ("domain", "heldout")
        return metrics(sets, self.data.also, self.evaluation.terms is not None)

    @property
    def replay_needs_text(self) -> bool:
        """Whether a trial may be trained on the texts of the replay manifest; if not, the replay
        speech need not be transcribed.
        """
        return "manifest" in self.parameters.possible("replay_labels")

    def precision_of(self, name: str) -> Precision:
        """Return the precision in which a set is measured, by the name that measurements use: a
        confirm set in that of the verdict.
        """
        precision = self.evaluation.precision
        return precision.search if name in self.data.evaluated else precision.verdict

    def measured_name(self, name: str) -> str:
        """Return the name that measurements use for a set of `data`: in the sweep of a
        confirmation, whose evaluation sets are the confirm sets, that of a confirm set.
        """
        is_confirmation = self.confirm is not None and self.data.confirming is None
        return confirm_name(name, is_confirmation and name in self.data.evaluated)

    @property
    def taken(self) -> str:
        """The parameters that were taken from another study, in words; empty where none were."""
        if self.take is None or self.take.recipe is None:
            return ""
        fixed: dict[str, Any] = self.parameters.fixed | {
            "adapter_scale": self.parameters.adapter_scales[0]
        }
        values = ", ".join(f"{name}={fixed[name]}" for name in self.take.parameters)
        text = f"{values} taken from trial {self.take.trial} of study {self.take.study}"
        doubt = ", which is INFEASIBLE: it does not keep the guardrails of that study"
        return text + doubt if self.take.infeasible else text

    @field_validator("guardrails")
    @classmethod
    def _guardrail_rules(cls, limits: dict[str, Limit]) -> dict[str, Limit]:
        return {metric: limit.ruled("proven") for metric, limit in limits.items()}

    @field_validator("acceptance")
    @classmethod
    def _acceptance_rules(cls, limits: dict[str, Limit]) -> dict[str, Limit]:
        rules = {metric: {*map(limit.rule_of, limit.questions)} for metric, limit in limits.items()}
        return {
            metric: limit.ruled(*rules[metric]) if len(rules[metric]) == 1 else limit
            for metric, limit in limits.items()
        }
