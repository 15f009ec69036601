"""One trial, complete and serialisable: another process or machine can run it without the sweep."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.spec.data import ConfirmPartSpec, DataSpec
from orchestrator.spec.identity import FORMAT, digest
from orchestrator.spec.sweep import EvaluationSpec, ModelSpec


def rungs_of(steps: int, every: int) -> tuple[int, ...]:
    """The optimizer steps at which a trial of so many is evaluated."""
    return (*range(every, steps, every), steps)


class TrialParams(BaseModel):
    """The hyperparameters of one trial, under the names of PEFT and transformers where they exist."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    learning_rate: float
    max_steps: int
    """Optimizer steps, never micro-batches."""
    scheduler: Literal["linear", "cosine", "constant"] = "linear"
    warmup_steps: int = 0
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    adapter: Literal["lora", "dora", "pissa", "pissa-dora"] = "lora"
    rank: int = 8
    alpha: float = 8.0
    use_rslora: bool = False
    lora_dropout: float = 0.0
    loraplus_lr_ratio: float = 1.0
    target_modules: str = "attention"
    """The preset's name; `target_patterns` is what it stands for."""
    target_patterns: tuple[str, ...]
    layers: str = "all"
    """Of the modules that the patterns mean, those in this part of each stack; see `spec.layer_ranges`."""
    average_rungs: int = 1
    """How many of the last rungs `averaged_steps` are."""
    averaged_steps: tuple[int, ...] = ()
    """Optimizer steps whose adapters' mean is the adapter of the last step, which is one of them; none: no mean. Steps
    and not rungs, because a confirmation is evaluated at other rungs and must train the same adapter."""
    replay_ratio: float = 0.0
    """Share of each batch drawn from the replay set."""
    replay_labels: Literal["manifest", "model"] = "manifest"
    """model: the untuned model's own greedy transcript."""
    kl_weight: float = 0.0
    """Weight of KL(base || tuned) on the replay rows, added to the cross-entropy."""
    speed_perturb: float = 0.0
    """Largest relative change of speed; 0 is none."""
    noise_snr: float = 60.0
    """Least decibels of speech over noise; 60 is no noise."""
    drop_chunks: int = 0
    """Most silenced chunks an utterance."""
    augment_prob: float = 1.0
    """Share of the domain rows that these three change."""
    seed: int = 42
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
    """Digests of what was trained and measured with, by train, replay, domain, heldout and model (its weights): all
    that were known when the plan was made."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Optimizer steps after which the trial is evaluated; the last is always `max_steps`."""
        return rungs_of(self.params.max_steps, self.evaluation.every)

    @property
    def recipe(self) -> str:
        """Digest of all that decides the result: equal recipes are exact duplicates, whatever their number.

        Data and model count by their contents, wherever they lie; by their names only while no content is known.
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
                "evaluation": self.evaluation.model_dump(mode="json"),
                "params": self.params.model_dump(mode="json"),
            }
        )
