"""The table of parameters that a sweep may fix or search, and the check of a value against it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from orchestrator.sweepfile.layer_ranges import FORMS, is_layer_range
from orchestrator.sweepfile.located_nodes import Node, Scalar, describe_node, did_you_mean

ParameterValue = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One row of the table: what values are allowed, the default, and what the parameter does."""

    name: str
    kind: Literal["float", "int", "bool", "word", "preset", "layers"]
    doc: str
    default: ParameterValue | None = None
    """None: it is required, or computed from another parameter (alpha)."""
    low: float | None = None
    high: float | None = None
    open: Literal["", "low", "high"] = ""
    """Which end of the interval from low to high is itself not allowed."""
    words: tuple[str, ...] = ()
    required: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a number; only numbers may be searched as a range."""
        return self.kind in ("float", "int")

    @property
    def allowed(self) -> str:
        """What a value must be, in words, for messages."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "preset":
            return "the name of a preset"
        if self.kind == "word":
            return "one of " + ", ".join(self.words)
        if self.kind == "layers":
            return f"one of {', '.join(self.words)}; N counts layers, A-B are numbers from 0"
        bounds = []
        if self.low is not None:
            bounds.append(f"{'above' if self.open == 'low' else 'at least'} {self.low:g}")
        if self.high is not None:
            bounds.append(f"{'below' if self.open == 'high' else 'at most'} {self.high:.10g}")
        return " ".join(
            filter(
                None, ["a whole number" if self.kind == "int" else "a number", " and ".join(bounds)]
            )
        )

    def read(self, node: Node) -> ParameterValue:
        """Return the value of a node in this parameter's own type (1 is 1.0 for a float). Raises
        ValueError that says what is wrong and what is allowed.
        """
        value = node.value if isinstance(node, Scalar) else None
        if self.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is None or not self._has_own_type(value):
            guess = did_you_mean(value, self.words) if isinstance(value, str) else ""
            raise ValueError(
                f"{self.name} cannot be {describe_node(node)}{guess or ';'} allowed: {self.allowed}"
            )
        return value

    def _has_own_type(self, value: ParameterValue) -> bool:
        if self.kind == "word":
            return isinstance(value, str) and value in self.words
        if self.kind == "layers":
            return isinstance(value, str) and is_layer_range(value)
        expected = {"float": float, "int": int, "bool": bool, "preset": str}[self.kind]
        return type(value) is expected and (
            isinstance(value, (bool, str)) or self._within_bounds(value)
        )

    def _within_bounds(self, value: float) -> bool:
        above = self.low is None or value > self.low or (value == self.low and self.open != "low")
        below = (
            self.high is None or value < self.high or (value == self.high and self.open != "high")
        )
        return math.isfinite(value) and above and below


_SEEDS = 2**32 - 1
_LARGEST_FACTOR = 1e5
"""Far above all use, and what is multiplied by it stays within float32."""


@dataclass(frozen=True)
class _Kind:
    """Marks a text field of `Hyperparameters` that holds a preset's name or a range of layers."""

    kind: Literal["preset", "layers"]


class Hyperparameters(BaseModel):
    """The parameters of one training, under the names of PEFT and transformers where they exist.

    The one declaration of bounds, defaults and descriptions: TABLE, the JSON schema and
    `TrialParams` follow from it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )

    learning_rate: float = Field(
        gt=0,
        le=1,
        description="Peak learning rate of AdamW; LoRA wants about ten times that of full "
        "fine-tuning.",
    )
    max_steps: int = Field(
        ge=1,
        le=10_000_000,
        description="Length of the training in optimizer steps, never in micro-batches.",
    )
    scheduler: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="How the learning rate changes after the warm-up."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Optimizer steps in which the learning rate rises linearly from 0.",
    )
    batch_size: int = Field(
        default=8, ge=1, le=4096, description="Number of utterances in one micro-batch."
    )
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Number of micro-batches that make one optimizer step.",
    )
    max_grad_norm: float = Field(
        default=1.0,
        gt=0,
        description="A gradient whose norm is larger is scaled down to this norm.",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="Decoupled weight decay of AdamW."
    )
    adapter: Literal["lora", "dora", "pissa", "pissa-dora"] = Field(
        default="lora", description="Variant of the low-rank adapter."
    )
    rank: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="Rank of the adapter's low-rank update; larger means more weights.",
    )
    alpha: float = Field(
        default=8.0,
        gt=0,
        le=1e9,  # above the largest alpha_ratio times the largest rank
        description="The update is scaled by alpha / rank; give this or alpha_ratio.",
    )
    use_rslora: bool = Field(
        default=False, description="Whether the update is scaled by alpha / sqrt(rank) instead."
    )
    lora_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout rate on the input of the adapter."
    )
    loraplus_lr_ratio: float = Field(
        default=1.0,
        gt=0,
        le=_LARGEST_FACTOR,
        description="Learning rate of the adapter's matrix B, divided by that of A (LoRA+).",
    )
    target_modules: Annotated[str, _Kind("preset")] = Field(
        default="attention", description="Preset that says which linear layers get an adapter."
    )
    layers: Annotated[str, _Kind("layers")] = Field(
        default="all",
        description="Which layers of encoder and decoder get an adapter, among those that "
        "target_modules means.",
    )
    average_rungs: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="The adapter at the last step is the mean of those at this many last "
        "evaluations.",
    )
    train_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of data.train that is trained on, in whole speakers where they are "
        "named; a smaller share is part of a larger one.",
    )
    replay_ratio: float = Field(
        default=0.0, ge=0, le=1, description="Share of each batch that is drawn from data.replay."
    )
    replay_labels: Literal["manifest", "model"] = Field(
        default="manifest",
        description="Which texts replay utterances are trained on: those of the manifest, or what "
        "the untuned model hears.",
    )
    kl_weight: float = Field(
        default=0.0,
        ge=0,
        le=_LARGEST_FACTOR,
        description="Weight of KL(base || tuned) on replay utterances, which holds the tuned model "
        "to the untuned one.",
    )
    speed_perturb: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Largest relative change of speed of a domain utterance in training, rounded to "
        "hundredths; 0 is none.",
    )
    noise_snr: float = Field(
        default=60.0,
        ge=-10,
        le=60,
        description="Signal-to-noise ratio of white noise on domain utterances in training: from "
        "this many decibels to 15 more; 60 is none.",
    )
    drop_chunks: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Largest number of chunks of 1000 to 2000 samples that are silenced in a "
        "domain utterance in training; 0 is none.",
    )
    augment_prob: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the domain utterances in training that get another speed, noise or "
        "silenced chunks.",
    )
    seed: int = Field(
        default=42,
        ge=0,
        le=_SEEDS,
        description="Seed of the adapter's initialisation, of dropout and of the order of the "
        "data.",
    )


def _parameter_of(name: str, field: FieldInfo) -> Parameter:
    """Make the table's row for a field of `Hyperparameters`."""
    limits = {type(limit): limit for limit in field.metadata}
    low, high = limits.get(Ge) or limits.get(Gt), limits.get(Le) or limits.get(Lt)
    words = get_args(field.annotation)
    kinds: dict[object, Any] = {float: "float", int: "int", bool: "bool"}
    marked = limits.get(_Kind)
    kind = marked.kind if marked else kinds.get(field.annotation, "word")
    open_end: Literal["", "low", "high"] = ""
    if Gt in limits:
        open_end = "low"
    elif Lt in limits:
        open_end = "high"
    return Parameter(
        name,
        kind,
        field.description or "",
        None if field.is_required() else field.default,
        low=getattr(low, "ge", getattr(low, "gt", None)),
        high=getattr(high, "le", getattr(high, "lt", None)),
        open=open_end,
        words=FORMS if kind == "layers" else words,
        required=field.is_required(),
    )


_ALPHA_RATIO = Parameter(
    "alpha_ratio",
    "float",
    "The value of alpha / rank, which then stays while rank varies.",
    1.0,
    low=0,
    high=_LARGEST_FACTOR,
    open="low",
)


def _parameter_table() -> dict[str, Parameter]:
    rows: dict[str, Parameter] = {}
    for name, field in Hyperparameters.model_fields.items():
        rows[name] = _parameter_of(name, field)
        if name == "alpha":  # where neither is written, alpha_ratio's default decides
            rows[name] = replace(rows[name], default=None)
            rows[_ALPHA_RATIO.name] = _ALPHA_RATIO
    return rows


TABLE = _parameter_table()
"""Every parameter that may be written under `parameters:`, except `adapter_scale`, by name, in the
order of Hyperparameters.
"""

ADAPTER_SCALE = Parameter(
    "adapter_scale",
    "float",
    "The trained adapter is evaluated as W + scale * delta W; another scale costs no training.",
    1.0,
    low=0,
    high=10,
)
"""Not in TABLE, because it is never a dimension of the search: one training is evaluated at every
scale.
"""

NAMES = (*TABLE, ADAPTER_SCALE.name)
