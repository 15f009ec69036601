"""The utterances to train on, and which of them each optimizer step takes.

Their order, and how each is augmented, depend on the trial and the data alone, never on the
packing.
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
    """All rows to train on: first the domain utterances, then the replay utterances by their
    transcripts, then replay utterances once more by what the untuned model hears in them.

    The clips of the first two kinds are set "train" of the encoder cache, in the same order.
    """

    labels: list[list[int]]
    """The labels [tokens, EOS] of every row."""
    domain: int
    """The number of domain utterances."""
    pseudo_labelled: tuple[int, ...] = ()
    """The clip of each row of the third kind; there are none where no trial may want them."""
    speakers: tuple[str, ...] = ()
    """The speaker of each domain utterance, "" where unknown; () stands for all unknown."""
    places: tuple[str, ...] = ()
    """Manifest and line of each domain utterance, for messages."""
    rms: float | None = None
    """The level that an augmented clip is scaled back to; None leaves it as it is."""
    untuned: dict[int, Tensor] = field(default_factory=dict, compare=False)
    """Row -> the last hidden states (tokens, width) of the untuned decoder on it. They are kept,
    because they are the same at every step.
    """
    _shares: dict[float, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """`train_share` -> the rows that it leaves."""

    def domain_rows(self, params: TrialParams) -> Sequence[int]:
        """Return the rows that a trial's domain utterances are drawn from."""
        if params.train_share == 1.0:
            return range(self.domain)
        if params.train_share not in self._shares:
            speakers = self.speakers or ("",) * self.domain
            self._shares[params.train_share] = rows_of_share(speakers, params.train_share)
        return self._shares[params.train_share]

    def replay(self, params: TrialParams) -> range:
        """Return the rows that a trial's replay utterances are drawn from."""
        transcribed = len(self.labels) - len(self.pseudo_labelled)
        by_model = params.replay_labels == "model"
        return range(transcribed, len(self.labels)) if by_model else range(self.domain, transcribed)

    def clip(self, row: int) -> int:
        """Return the clip of set "train" that a row is spoken in."""
        transcribed = len(self.labels) - len(self.pseudo_labelled)
        return row if row < transcribed else self.pseudo_labelled[row - transcribed]


def rows_of_share(speakers: Sequence[str], share: float) -> tuple[int, ...]:
    """Return the rows of about `share` of the utterances, in order: those of whole speakers, added
    one speaker after the other in a pseudo-random order.

    That order does not depend on the share, so a smaller share is part of a larger one; nor on the
    trial's seed, so trials that differ in it train on the same speech. An utterance without a
    speaker counts as a speaker of its own, and so does each where there is only one speaker.
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


# two streams in each of 64 slots, and two epochs of each where a step goes from one to the next
@lru_cache(maxsize=4 * 64)
def _epoch_permutation(seed: int, stream: str, epoch: int, size: int) -> np.ndarray:
    order = np.random.default_rng(derived_seed(seed, stream, epoch)).permutation(size)
    return order.astype(np.int32)


def _stream_positions(seed: int, stream: str, size: int, first: int, count: int) -> list[int]:
    """Return the utterances at positions first .. first + count - 1 of an endless sequence of
    epochs, each of which has all `size` utterances in its own shuffled order.
    """
    return [
        int(_epoch_permutation(seed, stream, at // size, size)[at % size])
        for at in range(first, first + count)
    ]


def step_rows(params: TrialParams, step: int, data: TrainingSet) -> list[int]:
    """Return the rows of the training set that a trial takes in optimizer step `step` (0 is the
    first), domain ones first, then replay.

    Where the replay ratio gives no whole number q of rows, it is met on average: step s takes
    floor((s+1) q) - floor(s q) of them.
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
    """Return the positions in the endless sequences of domain and of replay utterances that step
    `step` takes.
    """
    # the replay rows of a step in millionths, so that their sums over steps are exact
    batch = params.batch_size * params.gradient_accumulation_steps
    share = round(params.replay_ratio * batch * 1_000_000)
    before, after = step * share // 1_000_000, (step + 1) * share // 1_000_000
    return range(step * batch - before, (step + 1) * batch - after), range(before, after)


def step_draws(params: TrialParams, step: int, data: TrainingSet) -> list[Draw | None]:
    """Return how each row of `step_rows` is augmented; None, as for all replay rows: not at all."""
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
