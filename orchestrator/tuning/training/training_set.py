"""Which utterances there are to train on, and which of them a step takes.

The order of samples, and how each is augmented, depend on the trial and the data alone, never on
the packing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from torch import Tensor

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.sweepfile.digest import derived_seed
from orchestrator.tuning.training.augmentation import Draw, augments_audio, draw_for


@dataclass(frozen=True)
class TrainingSet:
    """Labels of the domain's training utterances, of the replay utterances, and once more of the
    replay utterances as the untuned model hears them; the frames of the first two are set
    "train"."""

    labels: list[list[int]]
    domain: int
    """How many of them are domain utterances."""
    pseudo_labelled: tuple[int, ...] = ()
    """The clips of the last rows of `labels`, which hold what the untuned model hears there."""
    speakers: tuple[str, ...] = ()
    """Of the domain utterances; empty, or the empty text, where unknown."""
    places: tuple[str, ...] = ()
    """Manifest and line of the domain utterances."""
    rms: float | None = None
    """The level of every clip, which an augmented one is brought back to; None leaves it."""
    untuned: dict[int, Tensor] = field(default_factory=dict, compare=False)
    """Row -> what the untuned decoder gives there (tokens, width), kept once computed: it is the
    same at every step.
    """
    _shares: dict[float, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    def domain_rows(self, params: TrialParams) -> Sequence[int]:
        """The rows that a trial's domain utterances are drawn from."""
        if params.train_share == 1.0:
            return range(self.domain)
        if params.train_share not in self._shares:
            speakers = self.speakers or ("",) * self.domain
            self._shares[params.train_share] = rows_of_share(speakers, params.train_share)
        return self._shares[params.train_share]

    def replay(self, params: TrialParams) -> range:
        """The rows that a trial's replay is drawn from."""
        transcribed = len(self.labels) - len(self.pseudo_labelled)
        by_model = params.replay_labels == "model"
        return range(transcribed, len(self.labels)) if by_model else range(self.domain, transcribed)

    def clip(self, row: int) -> int:
        """The clip of set "train" that a row is spoken in."""
        transcribed = len(self.labels) - len(self.pseudo_labelled)
        return row if row < transcribed else self.pseudo_labelled[row - transcribed]


def rows_of_share(speakers: Sequence[str], share: float) -> tuple[int, ...]:
    """Rows of about `share` of the utterances, in order: whole speakers, one after the other in an
    order of their own.

    The order does not depend on the share, so a smaller share is part of a larger one; nor on the
    trial's seed, so trials that differ in it train on the same speech. Utterances without a
    speaker, and those of a lone one, stand for themselves.
    """
    named = {speaker for speaker in speakers if speaker}
    groups: dict[str, list[int]] = {}
    for row, speaker in enumerate(speakers):
        groups.setdefault(
            f"speaker {speaker}" if speaker and len(named) > 1 else f"row {row}", []
        ).append(row)
    wanted = max(1, round(share * len(speakers)))
    rows: list[int] = []
    for name in sorted(groups, key=lambda utterance_id: derived_seed("train_share", utterance_id)):
        if len(rows) >= wanted:
            break
        rows += groups[name]
    return tuple(sorted(rows))


@lru_cache(maxsize=4 * 64)  # two streams of each slot of a large pack, at the turn of an epoch
def _epoch_permutation(seed: int, stream: str, epoch: int, size: int) -> np.ndarray:
    order = np.random.default_rng(derived_seed(seed, stream, epoch)).permutation(size)
    return order.astype(np.int32)


def _stream_positions(seed: int, stream: str, size: int, first: int, count: int) -> list[int]:
    """Positions first .. first + count - 1 of an endless sequence of shuffled epochs over `size`
    utterances.
    """
    return [
        int(_epoch_permutation(seed, stream, at // size, size)[at % size])
        for at in range(first, first + count)
    ]


def step_rows(params: TrialParams, step: int, data: TrainingSet) -> list[int]:
    """Utterances of optimizer step `step` (0 is the first), domain ones first, then replay.

    A replay share that is no whole number of rows is met on average: step s takes floor((s+1) q) -
    floor(s q) rows.
    """
    domain, replay = _positions_of_step(params, step)
    general = data.replay(params)
    again = (
        _stream_positions(params.seed, "replay", len(general), replay.start, len(replay))
        if replay
        else []
    )
    own = data.domain_rows(params)
    taken = _stream_positions(params.seed, "domain", len(own), domain.start, len(domain))
    return [*(own[row] for row in taken), *(general[row] for row in again)]


def _positions_of_step(params: TrialParams, step: int) -> tuple[range, range]:
    """Positions in the endless sequences of domain and of replay utterances that step `step`
    takes.
    """
    batch = params.batch_size * params.gradient_accumulation_steps
    share = round(params.replay_ratio * batch * 1_000_000)
    before, after = step * share // 1_000_000, (step + 1) * share // 1_000_000
    return range(step * batch - before, (step + 1) * batch - after), range(before, after)


def step_draws(params: TrialParams, step: int, data: TrainingSet) -> list[Draw | None]:
    """How each row of `step_rows` is augmented; None is as it is, and replay rows always are."""
    if not augments_audio(params):
        return [None] * (params.batch_size * params.gradient_accumulation_steps)
    domain, replay = _positions_of_step(params, step)
    own = data.domain_rows(params)
    clips = [
        own[row]
        for row in _stream_positions(params.seed, "domain", len(own), domain.start, len(domain))
    ]
    epochs = (position // len(own) for position in domain)
    return [
        *(draw_for(params, clip, epoch) for clip, epoch in zip(clips, epochs, strict=True)),
        *[None] * len(replay),
    ]
