"""The untuned model's predictions on replay rows, and the KL term that uses them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.tuning.model.base_model import BaseModel, padded_labels
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.micro_batches import MicroBatch
from orchestrator.tuning.training.training_set import TrainingSet

UNTUNED_BYTES = 1 << 28
"""The most bytes of the untuned decoder's states that are kept; beyond it the oldest rows are
dropped, and computed again when they are needed.
"""


@torch.no_grad()
def know_untuned(base: BaseModel, store: EncoderCache, data: TrainingSet, rows: set[int]) -> None:
    """Add to `data.untuned` the last hidden states of the untuned decoder on the labels of `rows`,
    where they are not there yet.

    Each row is computed alone, so that its states are the same to the bit whatever was computed
    before: how a product rounds depends on the rows beside, and a resumed run lacks other rows than
    the one that was stopped. It must run while no pack is bound to the model.
    """
    for row in sorted(rows - data.untuned.keys()):
        clip = torch.tensor([data.clip(row)], device=base.device)
        encoded, layout = store("train", clip, base.encoder_depth)
        cross = base.decoder.cross_keys(base.family.memory(encoded, layout), layout)
        inputs, _ = padded_labels([data.labels[row]], base.decoder.start)
        data.untuned[row] = base.decoder(inputs.to(base.device), cross, layout.mask)[0]


def forget_oldest_untuned(data: TrainingSet, needed: set[int]) -> None:
    """Drop the oldest rows of `data.untuned`, but none that is `needed` now, until no more than
    `UNTUNED_BYTES` are left.
    """
    untuned = data.untuned
    used = sum(states.numel() * states.element_size() for states in untuned.values())
    for row in [row for row in untuned if row not in needed]:
        if used <= UNTUNED_BYTES:
            break
        states = untuned.pop(row)
        used -= states.numel() * states.element_size()


def kl_to_untuned(
    base: BaseModel, data: TrainingSet, micro_batch: MicroBatch, logits: Tensor, rows: Tensor
) -> Tensor:
    """Return the weighted sum of KL(untuned || tuned) over the tokens of replay rows (Hinton et al.
    2015, temperature 1).

    `logits` (tokens, vocabulary) are those of the tuned models, `rows` (tokens,) is the row of the
    micro-batch that each token belongs to.
    """
    weights = micro_batch.kl_weights[rows]
    counted = weights > 0
    # tokens stand row after row, and so do those of `held_to_base`: the two are in the same order
    target = _untuned_log_probabilities(base, data, micro_batch.held_to_base)
    tuned = logits[counted].to(base.model.dtype).log_softmax(-1)
    divergence = F.kl_div(tuned, target, reduction="none", log_target=True).sum(-1)
    return (divergence * weights[counted]).sum()


@torch.no_grad()
def _untuned_log_probabilities(
    base: BaseModel, data: TrainingSet, utterances: Sequence[int]
) -> Tensor:
    """Return the untuned model's log probabilities (tokens, vocabulary) on the utterances, one
    after the other. The output head runs once for each distinct utterance, for several slots may
    take the same one.
    """
    distinct = sorted(set(utterances))
    states = [data.untuned[row] for row in distinct]
    ends = np.cumsum([len(own) for own in states])
    places = {
        row: range(end - len(own), end)
        for row, own, end in zip(distinct, states, ends.tolist(), strict=True)
    }
    # for each token of `utterances`, its place among the tokens of the distinct ones
    of_tokens = [place for row in utterances for place in places[row]]
    logits: Tensor = base.decoder.head(torch.cat(states))
    log_probabilities = logits.to(base.model.dtype).log_softmax(-1)
    return log_probabilities[torch.tensor(of_tokens, device=log_probabilities.device)]
