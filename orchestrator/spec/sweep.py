"""The sweep file as frozen values. No I/O, no torch; `loading.py` makes these from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of all spec values: immutable, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelSpec(Frozen):
    """A hub id or a local folder."""

    id: str
    revision: str = "main"


class ConfirmData(Frozen):
    """Sets that the search never reads."""

    domain: Path
    heldout: Path


class DataSpec(Frozen):
    """Manifests, as absolute paths once loaded."""

    train: Path
    replay: Path | None = None
    domain: Path
    heldout: Path
    confirm: ConfirmData | None = None
    max_seconds: float = 20.0
    """Longer training utterances are left out and counted; a longer evaluation utterance is an error."""


class EvaluationSpec(Frozen):
    """What a number depends on, beside the manifests and the model."""

    rms: float | None = 0.075
    """Each clip is scaled to this root mean square before padding; null leaves it."""
    normalizer: Literal["whisper-en", "basic", "none"] = "whisper-en"
    max_tokens_per_second: float = 6.5
    every: int = 100
    """Optimizer steps between evaluations."""


class Metric(Frozen):
    """What the search minimises."""

    name: Literal["domain_wer"] = "domain_wer"
    goal: Literal["minimize"] = "minimize"


class Limit(Frozen):
    """A limit against the baseline in WER points (absolute)."""

    max_regression: float | None = None
    """Strictly less than this."""
    min_gain: float | None = None
    """At least this."""


class Condition(Frozen):
    """One side of a `when`: the parameter is active while the named earlier parameter is so."""

    parameter: str
    operator: Literal["equals", "in", "above", "below"]
    value: Any


class Dimension(Frozen):
    """A searched parameter: either choices, or a range."""

    name: str
    choices: tuple[bool | int | float | str, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    when: tuple[Condition, ...] = ()

    @property
    def is_integer(self) -> bool:
        """Both ends of the range were written as integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class SearchSpace(Frozen):
    """`parameters:` of the file: what is fixed, what is searched, what is evaluated after training."""

    fixed: dict[str, bool | int | float | str]
    searched: tuple[Dimension, ...]
    """In file order; a condition refers to an earlier one."""
    adapter_scales: tuple[float, ...] = (1.0,)
    presets: dict[str, tuple[str, ...]]
    """Target-module presets by name: the built-in ones and the file's own."""


class ConfirmSpec(Frozen):
    """The finalists and the fresh seeds they are retrained with."""

    top: int = 2
    seeds: tuple[int, ...] = (101, 102, 103)


class Budget(Frozen):
    """How much may be spent; may change between runs."""

    trials: int
    wall_clock: float | None = None
    """Seconds, all runs of the sweep together."""


class EarlyStop(Frozen):
    """Stopping of trials that are behind the others (median, asha) or worse than the baseline (ratio)."""

    method: Literal["none", "median", "asha", "ratio"] = "none"
    ratio: float = 1.1
    """ratio: stop when domain WER exceeds this many times the baseline."""
    reduction_factor: int = 3
    """asha."""
    startup_trials: int = 4
    """median: trials that must have finished before it judges."""


class Execution(Frozen):
    """Where and how it runs; never part of the identity."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    pack: Literal["auto"] | int = "auto"
    """Adapter slots trained at once."""
    launcher: Literal["local"] = "local"
    workers: Literal[1] = 1


class SweepSpec(Frozen):
    """One sweep file, resolved: `extends` merged, overrides applied, paths absolute, defaults filled."""

    version: Literal[1]
    name: str
    description: str = ""
    model: ModelSpec
    data: DataSpec
    evaluation: EvaluationSpec
    method: Literal["tpe", "gp", "random", "grid", "qmc"] = "tpe"
    metric: Metric = Metric()
    parameters: SearchSpace
    start_with: tuple[dict[str, bool | int | float | str], ...] = ()
    guardrails: dict[Literal["heldout_wer"], Limit]
    acceptance: dict[Literal["domain_wer", "heldout_wer"], Limit]
    confirm: ConfirmSpec | None = None
    seed: int = 0
    """Seed of the search itself (the sampler), apart from the trials' `parameters.seed`."""
    early_stop: EarlyStop = EarlyStop()
    budget: Budget
    execution: Execution = Execution()
