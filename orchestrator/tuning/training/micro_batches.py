"""The micro-batches of a pack: how the rows of all its slots in one optimizer step are divided.

A row is one utterance of one slot. The loss of a trial is the mean over the tokens of its whole
optimizer step, not of a micro-batch, so the division changes nothing but rounding.
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
    """The rows that go through the model together: b of each of the K slots, slot after slot. A
    slot with fewer rows is padded with rows of weight 0.
    """

    utterances: tuple[int, ...]
    """(K * b): the row of the training set that each row takes."""
    clips: Tensor
    """(K * b,) int64: the clip of set "train" of each row."""
    rows: Tensor
    """(b,) int64: the index of each row in its trial's step, the same in every slot."""
    weights: Tensor
    """(K * b,): the weight of each token of the row in its trial's loss; 0 for a padding row."""
    kl_weights: Tensor
    """(K * b,): the weight of each token of the row in the KL term; 0 except on replay rows."""
    inputs: Tensor
    """(K * b, tokens) int64: the tokens that the decoder is fed."""
    labels: Tensor
    """(K * b, tokens) int64: the tokens that it should give, padded with IGNORED."""
    draws: tuple[Draw | None, ...]
    """(K * b): how each row's clip is augmented; None is not at all."""

    @property
    def held_to_base(self) -> list[int]:
        """The utterances that the KL term counts, in the order of the rows."""
        counted = (self.kl_weights > 0).tolist()
        return [row for row, held in zip(self.utterances, counted, strict=True) if held]


@dataclass(frozen=True)
class StepRow:
    """One row of a slot's step. Without arguments it is the padding row, which has no weight."""

    utterance: int = 0
    weight: float = 0.0
    kl_weight: float = 0.0
    draw: Draw | None = None


@dataclass(frozen=True)
class SlotStep:
    """The rows of one slot in one optimizer step."""

    rows: tuple[StepRow, ...]

    def at(self, place: int) -> StepRow:
        """Return the row at a place of the step; the padding row beyond the last."""
        return self.rows[place] if place < len(self.rows) else StepRow()


def slot_step(params: TrialParams, step: int, data: TrainingSet) -> SlotStep:
    """Return the rows of optimizer step `step` of a trial, each with the weight of its tokens. The
    loss is the mean over all tokens of the step, the KL term over those of replay rows.
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
    division: int,
) -> list[MicroBatch]:
    """Return the micro-batches of one optimizer step of all slots.

    Every `batch_size` rows (the largest of any slot) are divided into `base.cores.count * division`
    parts of similar length: `count` of them are computed at the same time, and a larger `division`
    takes less memory. Each part has the same rows of every slot; a slot with fewer rows than the
    widest is padded with rows of weight 0.
    """
    slots = [slot_step(own, step, data) for own, step in zip(params, steps, strict=True)]
    size = max(own.batch_size for own in params)
    # tokens at each place of the step, all slots together: with parts of similar length no core
    # waits
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
    """Make the micro-batch of the rows at some places of the step, slot after slot."""
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
    """Divide `places` into at most `parts` groups of similar total length: dealt out from the
    longest to the shortest, forwards and backwards in turn.
    """
    groups: list[list[int]] = [[] for _ in range(min(parts, len(places)))]
    for turn, place in enumerate(sorted(places, key=lambda at: -length[at])):
        lap, at = divmod(turn, len(groups))
        groups[at if lap % 2 == 0 else -1 - at].append(place)
    return groups


def most_divided(params: Sequence[TrialParams], base: BaseModel) -> int:
    """Return the first power of two at which, as a division, every micro-batch holds one row of
    each slot.
    """
    largest = max(own.batch_size for own in params)
    division = 1
    while base.cores.count * division < largest:
        division *= 2
    return division
