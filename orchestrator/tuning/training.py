"""One optimizer step of a whole pack: which utterances, which loss, one backward pass.

The order of samples, and how each is augmented, depend on the trial and the data alone, never on the packing; the loss
of a trial is the mean over the tokens of its optimizer step, so micro-batches change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.spec.identity import derived_seed
from orchestrator.tuning.augmentation import Draw, augmented_frames, augments, drawn
from orchestrator.tuning.families import valid_frames
from orchestrator.tuning.features import FrameStore
from orchestrator.tuning.model import IGNORED, BaseModel, padded_labels
from orchestrator.tuning.optimizer import PackedAdamW
from orchestrator.tuning.pack import Pack, bound


@dataclass(frozen=True)
class TrainingSet:
    """Labels of the domain's training utterances, of the replay utterances, and once more of the replay utterances as
    the untuned model hears them; the frames of the first two are set "train"."""

    labels: list[list[int]]
    domain: int
    """How many of them are domain utterances."""
    heard: tuple[int, ...] = ()
    """The clips of the last rows of `labels`, which hold what the untuned model hears there."""
    rms: float | None = None
    """The level of every clip, which an augmented one is brought back to; None leaves it."""

    def replay(self, params: TrialParams) -> range:
        """The rows that a trial's replay is drawn from."""
        transcribed = len(self.labels) - len(self.heard)
        by_model = params.replay_labels == "model"
        return range(transcribed, len(self.labels)) if by_model else range(self.domain, transcribed)

    def clip(self, row: int) -> int:
        """The clip of set "train" that a row is spoken in."""
        transcribed = len(self.labels) - len(self.heard)
        return row if row < transcribed else self.heard[row - transcribed]


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
    domain, replay = _drawn(params, step)
    general = data.replay(params)
    again = _stream(params.seed, "replay", len(general), replay.start, len(replay)) if replay else []
    return [
        *_stream(params.seed, "domain", data.domain, domain.start, len(domain)),
        *(general[row] for row in again),
    ]


def _drawn(params: TrialParams, step: int) -> tuple[range, range]:
    """Positions in the endless sequences of domain and of replay utterances that step `step` takes."""
    batch = params.batch_size * params.gradient_accumulation_steps
    share = round(params.replay_ratio * batch * 1_000_000)
    before, after = step * share // 1_000_000, (step + 1) * share // 1_000_000
    return range(step * batch - before, (step + 1) * batch - after), range(before, after)


def step_draws(params: TrialParams, step: int, data: TrainingSet) -> list[Draw | None]:
    """How each row of `step_rows` is augmented; None is as it is, and replay rows always are."""
    if not augments(params):
        return [None] * (params.batch_size * params.gradient_accumulation_steps)
    domain, replay = _drawn(params, step)
    clips = _stream(params.seed, "domain", data.domain, domain.start, len(domain))
    epochs = (position // data.domain for position in domain)
    return [*(drawn(params, clip, epoch) for clip, epoch in zip(clips, epochs, strict=True)), *[None] * len(replay)]


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
    draws: list[Draw | None]
    """Per row, how its clip is augmented."""


def chunks(params: Sequence[TrialParams], steps: Sequence[int], data: TrainingSet, base: BaseModel) -> list[Chunk]:
    """The chunks of one optimizer step of all slots; a slot with fewer rows than the widest is padded with weight 0."""
    rows = [step_rows(p, step, data) for p, step in zip(params, steps, strict=True)]
    tokens = [sum(len(data.labels[row]) for row in own) for own in rows]
    replayed = [sum(len(data.labels[row]) for row in own if row >= data.domain) for own in rows]
    draws = [step_draws(p, step, data) for p, step in zip(params, steps, strict=True)]
    width, size = max(map(len, rows)), max(p.batch_size for p in params)
    made = []
    for first in range(0, width, size):
        taken = [own[first : first + size] for own in rows]
        most = max(map(len, taken))
        clips, weights, kl_weights, changed = [], [], [], []
        for p, own, total, replay_total in zip(params, taken, tokens, replayed, strict=True):
            padding = most - len(own)
            clips += [*own, *[0] * padding]
            weights += [*[1 / total] * len(own), *[0.0] * padding]
            kl_weights += [p.kl_weight / replay_total if row >= data.domain else 0.0 for row in own] + [0.0] * padding
        for each in draws:
            changed += [*each[first : first + size], *[None] * (most - len(each[first : first + size]))]
        inputs, labels = padded_labels([data.labels[row] for row in clips], base.decoder.start)
        like = base.decoder.head.weight
        tensor = like.new_tensor
        made.append(
            Chunk(
                torch.tensor([data.clip(row) for row in clips], device=like.device),
                tensor(weights),
                tensor(kl_weights),
                inputs.to(like.device),
                labels.to(like.device),
                changed,
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
        pack.first_row[0] = first_row
        first_row += len(chunk.clips) // count
        frames, lengths = augmented_frames(store, chunk.clips, chunk.draws, data.rms, depth)
        with bound(base.linears, pack.layers):
            logits, rows = _logits(base, base.encode(frames, lengths, depth), lengths, chunk)
        nll = F.cross_entropy(logits.to(losses.dtype), chunk.labels[chunk.labels != IGNORED], reduction="none")
        slot = rows // (len(chunk.clips) // count)
        own = losses.new_zeros(count).index_add(0, slot, nll * chunk.weights[rows])
        losses += own.detach()
        total = own.sum()
        if bool(chunk.kl_weights.any()):
            total = total + _kl_to_base(base, store, chunk, logits, rows)
        pack.backward(total)
    return losses, optimizer.step(pack.flat, pack.grad)


def _logits(base: BaseModel, encoded: Tensor, lengths: Tensor, chunk: Chunk) -> tuple[Tensor, Tensor]:
    """Logits (tokens, vocabulary) at real labels only, and the row of each: padding never meets the big head."""
    cross = base.decoder.cross_keys(base.family.memory(encoded))
    mask = valid_frames(lengths, encoded.shape[1])[:, None, None]
    hidden = base.decoder(chunk.inputs, cross, mask)
    real = chunk.labels != IGNORED
    return base.decoder.head(hidden[real]), real.nonzero()[:, 0]


def _kl_to_base(base: BaseModel, store: FrameStore, chunk: Chunk, logits: Tensor, rows: Tensor) -> Tensor:
    """Sum of weighted KL(base || tuned) over the tokens of replay rows (Hinton et al. 2015, temperature 1)."""
    with torch.no_grad():
        frames, lengths = store("train", chunk.clips, base.encoder_depth)
        teacher, _ = _logits(base, frames, lengths, chunk)
    logits, teacher = logits.to(base.model.dtype), teacher.to(base.model.dtype)
    divergence = F.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    return (divergence * chunk.kl_weights[rows]).sum()
