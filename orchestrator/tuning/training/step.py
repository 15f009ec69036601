"""One optimizer step of a whole pack: its micro-batches, which loss, one backward pass.

The loss of a trial is the mean over the tokens of its optimizer step, so micro-batches change
nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.tuning.adapters.pack import Pack
from orchestrator.tuning.adapters.packed_linear import bind_slots
from orchestrator.tuning.model.base_model import IGNORED, BaseModel, padded_labels
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.training.augmentation import Draw, augmented_frames
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.training_set import TrainingSet, step_draws, step_rows

UNTUNED_BYTES = 1 << 28
"""Of what the untuned decoder gives on replay rows; older rows are computed again."""


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
    labels: Tensor
    draws: tuple[Draw | None, ...]
    """Per row, how its clip is augmented."""

    @property
    def held_to_base(self) -> list[int]:
        """The utterances that the KL term counts, in order."""
        return [
            row
            for row, held in zip(self.utterances, (self.kl_weights > 0).tolist(), strict=True)
            if held
        ]


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
    # by slot: its rows of the training set, and over how many tokens its loss and its KL term are
    # means
    rows = [step_rows(p, step, data) for p, step in zip(params, steps, strict=True)]
    tokens = [sum(len(data.labels[row]) for row in own) for own in rows]
    replayed = [sum(len(data.labels[row]) for row in own if row >= data.domain) for own in rows]
    draws = [step_draws(p, step, data) for p, step in zip(params, steps, strict=True)]
    width, size = max(map(len, rows)), max(p.batch_size for p in params)
    # tokens at each place of the step, all slots together: parts of like length keep all cores busy
    length = [
        sum(len(data.labels[own[at]]) for own in rows if at < len(own)) for at in range(width)
    ]
    made = []
    for first in range(0, width, size):
        for part in balance_by_length(
            range(first, min(first + size, width)), length, base.cores.count * division
        ):
            utterances, weights, kl_weights, changed = [], [], [], []
            for p, own, own_draws, total, replay_total in zip(
                params, rows, draws, tokens, replayed, strict=True
            ):
                for at in part:
                    here = at < len(own)
                    utterances.append(own[at] if here else 0)
                    weights.append(1 / total if here else 0.0)
                    kl_weights.append(
                        p.kl_weight / replay_total if here and own[at] >= data.domain else 0.0
                    )
                    changed.append(own_draws[at] if here else None)
            inputs, labels = padded_labels(
                [data.labels[row] for row in utterances], base.decoder.start
            )
            like = base.decoder.head.weight
            made.append(
                MicroBatch(
                    tuple(utterances),
                    torch.tensor([data.clip(row) for row in utterances], device=like.device),
                    torch.tensor(part, device=like.device),
                    like.new_tensor(weights),
                    like.new_tensor(kl_weights),
                    inputs.to(like.device),
                    labels.to(like.device),
                    tuple(changed),
                )
            )
    return made


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
    division = 1
    while base.cores.count * division < max(
        hyperparameters.batch_size for hyperparameters in params
    ):
        division *= 2
    return division


def pack_step(
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    pack: Pack,
    optimizer: PackedAdamW,
    depth: int,
    division: int = 1,
) -> tuple[Tensor, Tensor]:
    """One optimizer step of every slot; returns cross-entropies per token (K,) and gradient norms
    (K,), detached.

    `division`: so many times smaller micro-batches, for less memory. Where it raises, no slot has
    made the step.
    """
    pack.grad.zero_()
    pack.step.view(-1).copy_(torch.tensor(optimizer.steps))
    count = len(pack.adapters)
    losses = pack.flat.new_zeros(count)
    parts = micro_batches(optimizer.params, optimizer.steps, data, base, division)
    store.keep("train", depth)
    for some in [parts] if division == 1 else [[micro_batch] for micro_batch in parts]:
        know_untuned(
            base, store, data, {row for micro_batch in some for row in micro_batch.held_to_base}
        )
    _forget_oldest(data.untuned, {row for part in parts for row in part.held_to_base})

    def forward_and_backward(micro_batch: MicroBatch) -> tuple[Tensor, list[Tensor]]:
        rows_a_slot = len(micro_batch.rows)
        # frames (K, F, width): the clips of a slot stand end to end, without padding between them
        frames, layout = augmented_frames(
            store, micro_batch.clips, micro_batch.draws, data.rms, depth, count
        )
        # dropout is drawn by row and frame, so that it is the same in any pack
        pack.set_positions(micro_batch.rows[layout.clip], layout.position)
        memory = base.family.memory(base.encode(frames, layout, depth), layout)
        cross = base.decoder.cross_keys(memory, layout)
        # the tokens of a slot stand end to end, too; a row is an utterance, slot after slot
        text = RaggedLayout((micro_batch.labels != IGNORED).sum(1), count)
        pack.set_positions(micro_batch.rows[text.clip], text.position)
        # (tokens, vocabulary): the real labels of all rows, one after the other, and the row of
        # each
        states = base.decoder(micro_batch.inputs, cross, layout.mask, text=text)
        logits, rows = base.decoder.head(states[text.valid]), text.row[text.valid]
        labels = micro_batch.labels[micro_batch.labels != IGNORED]
        losses_a_token = F.cross_entropy(logits.to(losses.dtype), labels, reduction="none")
        # (K,): every token goes to the loss of its row's slot, with the weight of its row
        own = losses.new_zeros(count).index_add(
            0, rows // rows_a_slot, losses_a_token * micro_batch.weights[rows]
        )
        total = own.sum()  # one backward pass for all: no parameter belongs to two slots
        if bool(micro_batch.kl_weights.any()):
            total = total + _kl_to_base(base, data, micro_batch, logits, rows)
        return own.detach(), pack.gradients(total)

    with bind_slots(base.linears, pack.layers):
        for own, gradients in base.cores.map(forward_and_backward, parts):
            losses += own
            pack.add(gradients)
    return losses, optimizer.step(pack.flat, pack.grad)


def _kl_to_base(
    base: BaseModel, data: TrainingSet, micro_batch: MicroBatch, logits: Tensor, rows: Tensor
) -> Tensor:
    """Sum of weighted KL(base || tuned) over the tokens of replay rows (Hinton et al. 2015,
    temperature 1).

    The untuned model's head runs once per distinct utterance of the micro-batch: slots that see the
    same one share it.
    """
    weights = micro_batch.kl_weights[rows]
    kept = weights > 0
    held = micro_batch.held_to_base
    distinct = sorted(set(held))
    starts = dict(
        zip(
            distinct,
            np.cumsum([0, *(len(data.labels[row]) for row in distinct)]).tolist(),
            strict=False,
        )
    )
    index = [starts[row] + place for row in held for place in range(len(data.labels[row]))]
    with torch.no_grad():
        teacher = base.decoder.head(torch.cat([data.untuned[row] for row in distinct])).to(
            base.model.dtype
        )
        target = teacher.log_softmax(-1)[torch.tensor(index, device=logits.device)]
    tuned = logits[kept].to(base.model.dtype).log_softmax(-1)
    divergence = F.kl_div(tuned, target, reduction="none", log_target=True).sum(-1)
    return (divergence * weights[kept]).sum()


@torch.no_grad()
def know_untuned(base: BaseModel, store: EncoderCache, data: TrainingSet, rows: set[int]) -> None:
    """Fill `data.untuned` with what the untuned decoder gives on each row's own labels."""
    missing = sorted(rows - data.untuned.keys())
    if not missing:
        return
    clips = torch.tensor([data.clip(row) for row in missing], device=base.device)
    encoded, layout = store("train", clips, base.encoder_depth)
    cross = base.decoder.cross_keys(base.family.memory(encoded, layout), layout)
    inputs, labels = padded_labels([data.labels[row] for row in missing], base.decoder.start)
    hidden = base.decoder(inputs.to(base.device), cross, layout.mask)
    for row, states, own in zip(missing, hidden, labels != IGNORED, strict=True):
        data.untuned[row] = states[: int(own.sum())].clone()


def _forget_oldest(untuned: dict[int, Tensor], needed: set[int]) -> None:
    """Keep no more than `UNTUNED_BYTES`, but what is `needed` now."""
    used = sum(states.numel() * states.element_size() for states in untuned.values())
    for row in [row for row in untuned if row not in needed]:
        if used <= UNTUNED_BYTES:
            break
        states = untuned.pop(row)
        used -= states.numel() * states.element_size()
