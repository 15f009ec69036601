"""One optimizer step of a whole pack: the forward and backward pass of each micro-batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.tuning.adapters.pack import Pack
from orchestrator.tuning.adapters.packed_linear import bind_slots
from orchestrator.tuning.model.base_model import IGNORED, BaseModel
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.training.augmentation import augmented_frames
from orchestrator.tuning.training.kl_reference import (
    forget_oldest_untuned,
    kl_to_untuned,
    know_untuned,
)
from orchestrator.tuning.training.micro_batches import MicroBatch, micro_batches
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.training_set import TrainingSet


def pack_step(
    base: BaseModel,
    store: EncoderCache,
    data: TrainingSet,
    pack: Pack,
    optimizer: PackedAdamW,
    depth: int,
    division: int = 1,
) -> tuple[Tensor, Tensor]:
    """Make one optimizer step of every slot; return the cross-entropy per token (K,) in nats and
    the gradient norm (K,) of each, detached.

    `depth` is the pack's entry depth. `division` makes micro-batches so many times smaller, for
    less memory. Where it raises, no slot has made the step.
    """
    pack.grad.zero_()
    pack.step.view(-1).copy_(torch.tensor(optimizer.steps))
    count = len(pack.adapters)
    losses = pack.flat.new_zeros(count)
    parts = micro_batches(optimizer.params, optimizer.steps, data, base, division)
    store.keep("train", depth)
    # the untuned model's states for the KL term, a micro-batch at a time where memory is short
    groups = [parts] if division == 1 else [[part] for part in parts]
    for group in groups:
        know_untuned(base, store, data, _held_to_base(group))
    forget_oldest_untuned(data, _held_to_base(parts))

    def forward_and_backward(micro_batch: MicroBatch) -> tuple[Tensor, tuple[Tensor, ...]]:
        rows_a_slot = len(micro_batch.rows)
        # frames (K, F, width): the clips of a slot stand end to end, without padding between them
        frames, layout = augmented_frames(
            store, micro_batch.clips, micro_batch.draws, data.rms, depth, count
        )
        # dropout is drawn by row and frame, so that it is the same in any pack: (K, F) each
        pack.set_positions(micro_batch.rows[layout.clip], layout.position)
        memory = base.family.memory(base.encode(frames, layout, depth), layout)
        cross = base.decoder.cross_keys(memory, layout)
        # the tokens of a slot stand end to end, too; a row of the text is one utterance of one slot
        text = RaggedLayout((micro_batch.labels != IGNORED).sum(1), count)
        pack.set_positions(micro_batch.rows[text.clip], text.position)
        # -> (tokens, vocabulary), without padding between rows; `rows` (tokens,) is the row of each
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
            total = total + kl_to_untuned(base, data, micro_batch, logits, rows)
        return own.detach(), step.gradients(total)

    step = pack.of_step(base.linears)
    computed = base.cores.map(forward_and_backward, parts)
    with bind_slots(base.linears, step.layers), closing(computed):
        pack.add(step, _summed(computed, losses))
    return losses, optimizer.step(pack.flat, pack.grad)


def _summed(
    computed: Iterator[tuple[Tensor, tuple[Tensor, ...]]], losses: Tensor
) -> tuple[Tensor, ...]:
    """Add the losses of each micro-batch to `losses` (K,), and return the sum of their gradients.

    They are summed as they come: side by side, those of many take more memory than small ones save.
    """
    own, total = next(computed)
    losses += own
    for own, gradients in computed:
        losses += own
        total = torch._foreach_add(total, gradients)
    return total


def _held_to_base(parts: Sequence[MicroBatch]) -> set[int]:
    """Return the utterances of all parts that the KL term counts."""
    return {row for part in parts for row in part.held_to_base}
