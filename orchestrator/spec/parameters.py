"""The table of parameters a sweep may fix or search, and the check of one value against it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from orchestrator.spec.layer_ranges import FORMS, is_layer_range
from orchestrator.spec.reading import Node, Scalar, describe, nearest

ParameterValue = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One row: what a value must be, what it is when nobody says, and what it does."""

    name: str
    kind: Literal["float", "int", "bool", "word", "preset", "layers"]
    doc: str
    default: ParameterValue | None = None
    """None: required, or worked out from another parameter (alpha)."""
    low: float | None = None
    high: float | None = None
    open: Literal["", "low", "high"] = ""
    """The end of the interval that is itself not allowed."""
    words: tuple[str, ...] = ()
    required: bool = False

    @property
    def is_number(self) -> bool:
        """Only numbers may be searched as a range."""
        return self.kind in ("float", "int")

    @property
    def allowed(self) -> str:
        """What a value must be, for messages and the schema."""
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
        return " ".join(filter(None, ["a whole number" if self.kind == "int" else "a number", " and ".join(bounds)]))

    def read(self, node: Node) -> ParameterValue:
        """The value of a node in this parameter's own type (1 is 1.0 for a float); ValueError says what is wrong."""
        value = node.value if isinstance(node, Scalar) else None
        if self.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is None or not self._fits(value):
            guess = nearest(value, self.words) if isinstance(value, str) else ""
            raise ValueError(f"{self.name} cannot be {describe(node)}{guess or ';'} allowed: {self.allowed}")
        return value

    def _fits(self, value: ParameterValue) -> bool:
        if self.kind == "word":
            return isinstance(value, str) and value in self.words
        if self.kind == "layers":
            return isinstance(value, str) and is_layer_range(value)
        expected = {"float": float, "int": int, "bool": bool, "preset": str}[self.kind]
        return type(value) is expected and (isinstance(value, (bool, str)) or self._within(value))

    def _within(self, value: float) -> bool:
        above = self.low is None or value > self.low or (value == self.low and self.open != "low")
        below = self.high is None or value < self.high or (value == self.high and self.open != "high")
        return math.isfinite(value) and above and below


_SEEDS = 2**32 - 1

TABLE: dict[str, Parameter] = {
    row.name: row
    for row in (
        Parameter("learning_rate", "float", "Peak learning rate of AdamW; LoRA wants about ten times that of full "
                  "fine-tuning.", low=0, high=1, open="low", required=True),
        Parameter("max_steps", "int", "Optimizer steps, never micro-batches.", low=1, high=10_000_000, required=True),
        Parameter("scheduler", "word", "Course of the learning rate after the warm-up.", "linear",
                  words=("linear", "cosine", "constant")),
        Parameter("warmup_steps", "int", "Optimizer steps of linear warm-up.", 0, low=0, high=10_000_000),
        Parameter("batch_size", "int", "Utterances in one micro-batch.", 8, low=1, high=4096),
        Parameter("gradient_accumulation_steps", "int", "Micro-batches summed into one optimizer step.", 1,
                  low=1, high=4096),
        Parameter("max_grad_norm", "float", "The gradient's norm is clipped to this.", 1.0, low=0, open="low"),
        Parameter("weight_decay", "float", "Decoupled weight decay of AdamW.", 0.0, low=0, high=1),
        Parameter("adapter", "word", "Variant of the adapter.", "lora", words=("lora", "dora", "pissa", "pissa-dora")),
        Parameter("rank", "int", "Rank of the low-rank update.", 8, low=1, high=1024),
        Parameter("alpha", "float", "Scale of the update is alpha / rank; give this or alpha_ratio.",
                  low=0, open="low"),
        Parameter("alpha_ratio", "float", "alpha / rank, so that the scale stays while rank varies.", 1.0,
                  low=0, open="low"),
        Parameter("use_rslora", "bool", "Scale by alpha / sqrt(rank) instead.", False),
        Parameter("lora_dropout", "float", "Dropout before the adapter.", 0.0, low=0, high=1, open="high"),
        Parameter("loraplus_lr_ratio", "float", "Learning rate of B over that of A (LoRA+).", 1.0, low=0, open="low"),
        Parameter("target_modules", "preset", "Which linear layers get an adapter.", "attention"),
        Parameter("layers", "layers", "Which layers of each stack, among those that target_modules means.", "all",
                  words=FORMS),
        Parameter("average_rungs", "int", "The adapter at the last step is the mean of those at so many last "
                  "evaluations.", 1, low=1, high=1000),
        Parameter("replay_ratio", "float", "Share of each batch drawn from data.replay.", 0.0, low=0, high=1),
        Parameter("replay_labels", "word", "What replay rows are trained on: the manifest's text, or what the untuned "
                  "model hears.", "manifest", words=("manifest", "model")),
        Parameter("kl_weight", "float", "Weight of KL(base || tuned) on the replay rows.", 0.0, low=0),
        Parameter("speed_perturb", "float", "Largest relative change of a domain utterance's speed; 0 is none.", 0.0,
                  low=0, high=0.5),
        Parameter("noise_snr", "float", "White noise on domain utterances, at this many decibels to 15 more; 60 is "
                  "none.", 60.0, low=-10, high=60),
        Parameter("drop_chunks", "int", "Most chunks of 1000 to 2000 samples silenced in a domain utterance; 0 is "
                  "none.", 0, low=0, high=100),
        Parameter("augment_prob", "float", "Share of the domain utterances that speed, noise and chunks change.",
                  1.0, low=0, high=1),
        Parameter("seed", "int", "Seed of initialisation, dropout and data order.", 42, low=0, high=_SEEDS),
    )
}  # fmt: skip
"""Every name that may stand under `parameters:`, besides `adapter_scale`, in the order of TrialParams."""

ADAPTER_SCALE = Parameter(
    "adapter_scale", "float", "Evaluated as W + scale * delta W after training; costs no training.", 1.0, low=0, high=10
)
"""Never a search dimension: one training is evaluated at every scale."""

NAMES = (*TABLE, ADAPTER_SCALE.name)
