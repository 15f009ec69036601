"""The probe of the start-up checks: two training and two evaluation utterances of a sweep, of very
long ones a single one, with everything that an adapter on them would go through.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from orchestrator.corpus.cache.clips import lengths_of
from orchestrator.errors import ModelError
from orchestrator.planning.trial_plan import TrialParams, TrialPlan, first_plan
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet
from orchestrator.tuning.decoding.greedy_decoding import are_decoded_together
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.training_set import TrainingSet

ALIKE = 1e-4
"""The share of the largest logit up to which two results count as the same, computed in another
order. In float32 sound models differ by 2e-7; weights rounded to bfloat16 once, by 8e-4."""
FRAMES_ALIKE = 1e-2
"""The same share for frames and encoder outputs, which a device may compute by another algorithm for
another batch: convolutions of a GPU do. What the checks look for, sound behind a clip's end or a
wrong mask, moves them by more.
"""
DIFFERENT = 1e-3
"""The share of the largest logit by which an adapter must change a result, within one batch, where
equal weights give equal numbers. A random adapter changes it by half, one that adapts only the
queries of a single encoder layer by a hundredth."""
MEMORY = 2**28
"""Bytes that the frames of the probe may take."""


@dataclass(frozen=True)
class Probe:
    """What the start-up checks compute with, see the module."""

    base: BaseModel
    plan: TrialPlan
    """A plain recipe of one step, on the sweep's first target modules that resolve."""
    targets: tuple[str, ...]
    store: EncoderCache
    data: TrainingSet
    evaluator: Evaluator
    start: Adapter
    """The adapter before its first step."""
    random: Adapter
    """An adapter whose change of each weight has the norm of the weight."""
    padded: tuple[np.ndarray, ...]
    """Four clips whose lengths differ by one unit of the front end each, and one about twice as
    long.
    """

    @property
    def depth(self) -> int:
        """The lowest encoder layer that the adapter touches."""
        return self.base.first_adapted_layer(self.targets)

    @property
    def max_new_tokens(self) -> list[int]:
        """The most tokens that each evaluation clip may give."""
        return self.evaluator.sets["domain"].max_new_tokens


def make_probe(
    base: BaseModel,
    spec: SweepSpec,
    sets: dict[str, EvaluationSet],
    data: TrainingSet,
    clips: dict[str, Sequence[np.ndarray]],
) -> Probe | None:
    """Set up the probe of a sweep; None when no target preset of the sweep fits the model."""
    resolved = _first_resolved(base, spec)
    if resolved is None:
        return None
    patterns, layers, targets = resolved
    rows = _two_clips(lengths_of(clips["train"]))
    small = sets["domain"].take(_probed_clips(base, sets["domain"].clips.sounds.lengths))
    probed = {"train": [clips["train"][row] for row in rows], "domain": list(small.clips)}
    padded = _clips_of_near_lengths(
        probed["domain"][-1], base.family.multiple, base.family.shortest
    )
    probed |= {"alone": [padded[0]], "padded": [padded[0], padded[-1]]}
    params = TrialParams(
        learning_rate=1e-3,
        max_steps=1,
        scheduler="constant",
        batch_size=2,
        rank=2,
        alpha=2.0,
        target_patterns=patterns,
        layers=layers,
    )
    plan = first_plan(spec).model_copy(update={"params": params})
    start = initial_adapter(base.linears, targets, params)
    store = EncoderCache(base.family, dict(probed), MEMORY, base.device)
    evaluator = Evaluator(base, store, {"domain": small}, spec.evaluation)
    training = TrainingSet([data.labels[row] for row in rows], len(rows))
    return Probe(
        base, plan, targets, store, training, evaluator, start, _random_adapter(base, start), padded
    )


def possible_targets(spec: SweepSpec) -> list[tuple[str, tuple[str, ...], str]]:
    """Return every choice of targets that a trial may have, as (preset, its patterns, layers), with
    that of the first plan first.
    """
    first = first_plan(spec).params
    presets = dict.fromkeys(
        [first.target_modules, *map(str, spec.parameters.possible("target_modules"))]
    )
    layers = dict.fromkeys([first.layers, *map(str, spec.parameters.possible("layers"))])
    return [
        (preset, spec.parameters.presets[preset], part) for preset in presets for part in layers
    ]


@torch.no_grad()
def _random_adapter(base: BaseModel, start: Adapter) -> Adapter:
    generator, modules = torch.Generator().manual_seed(0), {}
    for name, parts in start.modules.items():
        weight = base.linears[name].weight
        A, B = (torch.randn(parts[part].shape, generator=generator).to(weight) for part in "AB")
        modules[name] = {"A": A, "B": B * (weight.norm() / (start.scaling * (B @ A).norm()))}
    return replace(start, modules=modules)


def _first_resolved(
    base: BaseModel, spec: SweepSpec
) -> tuple[tuple[str, ...], str, tuple[str, ...]] | None:
    """Return the patterns, layers and modules of the first choice of targets that the model has."""
    for _, patterns, layers in possible_targets(spec):
        with suppress(ModelError):
            return patterns, layers, base.targets(patterns, layers)
    return None


def _probed_clips(base: BaseModel, lengths: Sequence[int]) -> list[int]:
    """Return the rows of `_two_clips`, or the shortest alone where two adapters do not decode both
    in one batch: the checks compare the logits of one batch.
    """
    rows = _two_clips(lengths)
    together = are_decoded_together(base, [lengths[row] for row in rows], adapters=2)
    return rows if together else rows[:1]


def _two_clips(lengths: Sequence[int]) -> list[int]:
    """Return the rows of the shortest clip and of one that is longer than a quarter of all."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return list(dict.fromkeys([order[0], order[len(order) // 4]]))


def _clips_of_near_lengths(
    clip: np.ndarray, multiple: int, shortest: int
) -> tuple[np.ndarray, ...]:
    """Return the clip cut to about half its length, in four lengths that differ by one unit, and
    the whole clip. An error in the mask of a strided front end depends on the length modulo the
    stride.
    """
    half = max(len(clip) // 2, shortest + 3 * multiple)
    return (*(clip[: half - back * multiple] for back in range(4)), clip)


def stock_input(base: BaseModel, clip: np.ndarray) -> Tensor:
    """Return a clip as the stock model takes it, (1, samples)."""
    kept = len(clip) // base.family.multiple * base.family.multiple
    return torch.from_numpy(np.array(clip[:kept]))[None].to(base.device, base.model.dtype)


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Return the largest difference as a share of the largest value; NaN when either holds one."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()))


def difference_text(a: Tensor, b: Tensor) -> str:
    return (
        f"{100 * relative_difference(a, b):.2g} %"
        if a.shape == b.shape
        else f"its shape ({len(a[0])} frames, not {len(b[0])})"
    )
