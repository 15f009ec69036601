"""How the rows that the slots of a pack take in one optimizer step are put into micro-batches.

The loss of a trial is the mean over the tokens of its optimizer step, so micro-batches change
nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.tuning.model.base_model import BaseModel, padded_labels
from orchestrator.tuning.training.augmentation import Draw
from orchestrator.tuning.training.training_set import TrainingSet, step_draws, step_rows


@dataclass(frozen=True)
class MicroBatch:
    """Rows that go through the model together: equally many a slot, trial-major; rows of weight 0
    are padding.
    """

    utterances: tuple[int, ...]
    """Rows of the training set (K * b)."""
    clips: Tensor
    """(K * b,) the clips they are spoken in."""
    rows: Tensor
    """(b,) which rows of each trial's step they are."""
    weights: Tensor
    """(K * b,) weight of each token of the row in its trial's loss; 0 for a padding row."""
    kl_weights: Tensor
    """(K * b,) the same for the KL term; 0 but on replay rows."""
    inputs: Tensor
    """(K * b, tokens) what the decoder reads."""
    labels: Tensor
    """(K * b, tokens) what it should say."""
    draws: tuple[Draw | None, ...]
    """Per row, how its clip is augmented."""

    @property
    def held_to_base(self) -> list[int]:
        """The utterances that the KL term counts, in order."""
        counted = (self.kl_weights > 0).tolist()
        return [row for row, held in zip(self.utterances, counted, strict=True) if held]


@dataclass(frozen=True)
class StepRow:
    """One row of a slot's step; without arguments the row that pads a slot with fewer."""

    utterance: int = 0
    weight: float = 0.0
    kl_weight: float = 0.0
    draw: Draw | None = None


@dataclass(frozen=True)
class SlotStep:
    """What one slot takes in one optimizer step."""

    rows: tuple[StepRow, ...]

    def at(self, place: int) -> StepRow:
        """The row at a place of the step; padding beyond the last."""
        return self.rows[place] if place < len(self.rows) else StepRow()


def slot_step(params: TrialParams, step: int, data: TrainingSet) -> SlotStep:
    """The rows of optimizer step `step`, each with the weight of its tokens: loss and KL term are
    means over the tokens of the step that they count.
    """
    rows = step_rows(params, step, data)
    tokens = sum(len(data.labels[row]) for row in rows)
    replayed = sum(len(data.labels[row]) for row in rows if row >= data.domain)
    kl_weight = params.kl_weight / replayed if replayed else 0.0
    draws = step_draws(params, step, data)
    return SlotStep(
        tuple(
            StepRow(row, 1 / tokens, kl_weight if row >= data.domain else 0.0, draw)
            for row, draw in zip(rows, draws, strict=True)
        )
    )


def micro_batches(
    params: Sequence[TrialParams],
    steps: Sequence[int],
    data: TrainingSet,
    base: BaseModel,
    division: int = 1,
) -> list[MicroBatch]:
    """What one optimizer step of all slots computes: each micro-batch in `base.cores.count *
    division` parts of like length, and each part with the same rows of every slot.

    A slot with fewer rows than the widest is padded with weight 0.
    """
    slots = [slot_step(own, step, data) for own, step in zip(params, steps, strict=True)]
    size = max(own.batch_size for own in params)
    # tokens at each place of the step, all slots together: parts of like length keep all cores busy
    lengths = [
        sum(
            len(data.labels[slot.rows[place].utterance]) for slot in slots if place < len(slot.rows)
        )
        for place in range(max(len(slot.rows) for slot in slots))
    ]
    made = []
    for first in range(0, len(lengths), size):
        places = range(first, min(first + size, len(lengths)))
        for part in balance_by_length(places, lengths, base.cores.count * division):
            made.append(_micro_batch(slots, part, data, base))
    return made


def _micro_batch(
    slots: Sequence[SlotStep], places: Sequence[int], data: TrainingSet, base: BaseModel
) -> MicroBatch:
    rows = [slot.at(place) for slot in slots for place in places]
    utterances = tuple(row.utterance for row in rows)
    inputs, labels = padded_labels([data.labels[row] for row in utterances], base.decoder.start)
    like = base.decoder.head.weight
    return MicroBatch(
        utterances,
        torch.tensor([data.clip(row) for row in utterances], device=like.device),
        torch.tensor(places, device=like.device),
        like.new_tensor([row.weight for row in rows]),
        like.new_tensor([row.kl_weight for row in rows]),
        inputs.to(like.device),
        labels.to(like.device),
        tuple(row.draw for row in rows),
    )


def balance_by_length(places: Sequence[int], length: Sequence[int], parts: int) -> list[list[int]]:
    """`places` in at most `parts` groups whose total lengths are alike: the longest first, to and
    fro.
    """
    groups: list[list[int]] = [[] for _ in range(min(parts, len(places)))]
    for turn, place in enumerate(sorted(places, key=lambda at: -length[at])):
        lap, at = divmod(turn, len(groups))
        groups[at if lap % 2 == 0 else -1 - at].append(place)
    return groups


def most_divided(params: Sequence[TrialParams], base: BaseModel) -> int:
    """The division at which every micro-batch holds one row a slot, or the next above it."""
    largest = max(own.batch_size for own in params)
    division = 1
    while base.cores.count * division < largest:
        division *= 2
    return division
