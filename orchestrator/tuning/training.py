"""One optimizer step of a whole pack: which utterances, which loss, one backward pass.

The order of samples depends on (trial seed, data, effective batch, replay ratio) alone, never on the packing; the loss
of a trial is the mean over the tokens of its optimizer step, so micro-batches change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.spec.identity import derived_seed
from orchestrator.tuning.decoder import KeyValue
from orchestrator.tuning.features import FrameStore
from orchestrator.tuning.layout import Layout
from orchestrator.tuning.model import IGNORED, BaseModel, padded_labels
from orchestrator.tuning.optimizer import PackedAdamW
from orchestrator.tuning.pack import Pack, bound


@dataclass(frozen=True)
class TrainingSet:
    """Labels of the domain's training utterances, then of the replay utterances; their frames are set "train"."""

    labels: list[list[int]]
    domain: int
    """How many of them are domain utterances."""
    untuned: dict[int, Tensor] = field(default_factory=dict, compare=False)
    """Row -> what the untuned decoder gives there (tokens, width), kept once computed: it is the same at every step."""

    @property
    def replay(self) -> int:
        return len(self.labels) - self.domain


@lru_cache(maxsize=64)
def _permutation(seed: int, stream: str, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng(derived_seed(seed, stream, epoch)).permutation(size)


def _stream(seed: int, stream: str, size: int, first: int, count: int) -> list[int]:
    """Positions first .. first + count - 1 of an endless sequence of shuffled epochs over `size` utterances."""
    return [int(_permutation(seed, stream, at // size, size)[at % size]) for at in range(first, first + count)]


def step_rows(params: TrialParams, step: int, data: TrainingSet) -> list[int]:
    """Utterances of optimizer step `step` (0 is the first), domain ones first, then replay.

    A replay share that is no whole number of rows is met on average: step s takes floor((s+1) q) - floor(s q) rows.
    """
    batch = params.batch_size * params.gradient_accumulation_steps
    share = round(params.replay_ratio * batch * 1_000_000)
    before, after = step * share // 1_000_000, (step + 1) * share // 1_000_000
    domain = _stream(params.seed, "domain", data.domain, step * batch - before, batch - (after - before))
    replay = _stream(params.seed, "replay", data.replay, before, after - before) if after > before else []
    return [*domain, *(data.domain + row for row in replay)]


@dataclass(frozen=True)
class Chunk:
    """Rows that go through the model together: `per_slot` rows a slot, trial-major; rows of weight 0 are padding."""

    clips: Tensor
    weights: Tensor
    """(K * b,) weight of each token of the row in its trial's loss; 0 for a padding row."""
    kl_weights: Tensor
    """(K * b,) the same for the KL term; 0 but on replay rows."""
    inputs: Tensor
    labels: Tensor


def chunks(params: Sequence[TrialParams], steps: Sequence[int], data: TrainingSet, base: BaseModel) -> list[Chunk]:
    """The chunks of one optimizer step of all slots; a slot with fewer rows than the widest is padded with weight 0."""
    rows = [step_rows(p, step, data) for p, step in zip(params, steps, strict=True)]
    tokens = [sum(len(data.labels[row]) for row in own) for own in rows]
    replayed = [sum(len(data.labels[row]) for row in own if row >= data.domain) for own in rows]
    width, size = max(map(len, rows)), max(p.batch_size for p in params)
    made = []
    for first in range(0, width, size):
        taken = [own[first : first + size] for own in rows]
        most = max(map(len, taken))
        clips, weights, kl_weights = [], [], []
        for p, own, total, replay_total in zip(params, taken, tokens, replayed, strict=True):
            padding = most - len(own)
            clips += [*own, *[0] * padding]
            weights += [*[1 / total] * len(own), *[0.0] * padding]
            kl_weights += [p.kl_weight / replay_total if row >= data.domain else 0.0 for row in own] + [0.0] * padding
        inputs, labels = padded_labels([data.labels[row] for row in clips], base.decoder.start)
        like = base.decoder.head.weight
        tensor = like.new_tensor
        made.append(
            Chunk(
                torch.tensor(clips, device=like.device),
                tensor(weights),
                tensor(kl_weights),
                inputs.to(like.device),
                labels.to(like.device),
            )
        )
    return made


def pack_step(
    base: BaseModel, store: FrameStore, data: TrainingSet, pack: Pack, optimizer: PackedAdamW, depth: int
) -> tuple[Tensor, Tensor]:
    """One optimizer step of every slot; returns cross-entropies per token (K,) and gradient norms (K,), detached."""
    pack.grad.zero_()
    pack.step.view(-1).copy_(torch.tensor(optimizer.steps))
    count, first_row = len(pack.adapters), 0
    losses = pack.flat.new_zeros(count)
    for chunk in chunks(optimizer.params, optimizer.steps, data, base):
        each = len(chunk.clips) // count
        frames, layout = store("train", chunk.clips, depth, count)
        with bound(base.linears, pack.layers):
            pack.at(first_row + layout.clip, layout.position)
            cross = base.decoder.cross_keys(base.family.memory(base.encode(frames, layout, depth), layout), layout)
            pack.at(*_token_places(chunk.inputs, each, first_row))
            logits, rows = _logits(base, cross, layout, chunk.inputs, chunk.labels)
        first_row += each
        nll = F.cross_entropy(logits.to(losses.dtype), chunk.labels[chunk.labels != IGNORED], reduction="none")
        own = losses.new_zeros(count).index_add(0, rows // each, nll * chunk.weights[rows])
        losses += own.detach()
        total = own.sum()
        if bool(chunk.kl_weights.any()):
            total = total + _kl_to_base(base, store, data, chunk, logits, rows)
        pack.backward(total)
    return losses, optimizer.step(pack.flat, pack.grad)


def _token_places(tokens: Tensor, each: int, first_row: int) -> tuple[Tensor, Tensor]:
    """Row within its trial's step, and position, of `tokens` (K * each, T) as (1, each * T): the same in every slot."""
    row = torch.arange(first_row, first_row + each, device=tokens.device).repeat_interleave(tokens.shape[1])
    return row[None], torch.arange(tokens.shape[1], device=tokens.device).repeat(each)[None]


def _logits(
    base: BaseModel, cross: list[KeyValue], layout: Layout, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits (tokens, vocabulary) at real labels only, and the row of each: padding never meets the big head."""
    real = labels != IGNORED
    return base.decoder.head(base.decoder(inputs, cross, layout.mask)[real]), real.nonzero()[:, 0]


def _kl_to_base(
    base: BaseModel, store: FrameStore, data: TrainingSet, chunk: Chunk, logits: Tensor, rows: Tensor
) -> Tensor:
    """Sum of weighted KL(base || tuned) over the tokens of replay rows (Hinton et al. 2015, temperature 1).

    The untuned model is run once per utterance and its head once per distinct utterance of the chunk: slots that see
    the same one share it.
    """
    weights = chunk.kl_weights[rows]
    kept = weights > 0
    clips = chunk.clips[chunk.kl_weights > 0].tolist()
    distinct = sorted(set(clips))
    lengths = [len(data.labels[clip]) for clip in distinct]
    starts = dict(zip(distinct, np.cumsum([0, *lengths]).tolist(), strict=False))
    index = [place for clip in clips for place in range(starts[clip], starts[clip] + len(data.labels[clip]))]
    with torch.no_grad():
        teacher = base.decoder.head(torch.cat(_untuned(base, store, data, distinct))).to(base.model.dtype)
        target = teacher.log_softmax(-1)[torch.tensor(index, device=logits.device)]
    tuned = logits[kept].to(base.model.dtype).log_softmax(-1)
    divergence = F.kl_div(tuned, target, reduction="none", log_target=True).sum(-1)
    return (divergence * weights[kept]).sum()


def _untuned(base: BaseModel, store: FrameStore, data: TrainingSet, clips: list[int]) -> list[Tensor]:
    """Hidden states (tokens, width) of the untuned decoder on each clip's own labels."""
    missing = [clip for clip in clips if clip not in data.untuned]
    if missing:
        index = torch.tensor(missing, device=base.device)
        encoded, layout = store("train", index, base.encoder_depth)
        cross = base.decoder.cross_keys(base.family.memory(encoded, layout), layout)
        inputs, labels = padded_labels([data.labels[clip] for clip in missing], base.decoder.start)
        hidden = base.decoder(inputs.to(base.device), cross, layout.mask)
        for clip, states, own in zip(missing, hidden, labels != IGNORED, strict=True):
            data.untuned[clip] = states[: int(own.sum())].clone()
    return [data.untuned[clip] for clip in clips]
