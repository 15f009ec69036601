"""What a sweep takes in time by the pace that a probe measured, kind by kind of its trials. Pure;
nothing is timed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.cost import Cost, Work, short_time, time_range, within_budget
from orchestrator.planning.kinds_of_trials import KindOfTrial


class KindPace(BaseModel):
    """What a probe measured of trials of one kind, in seconds: the fastest and the slowest."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    step: tuple[float, float]
    """Of one optimizer step of one trial."""
    decode: tuple[float, float]
    """Of one utterance decoded with one adapter."""


class Pace(BaseModel):
    """What a probe measured, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    device: str
    slots: int
    """Adapters of a pack; the seconds of its step are shared out among them."""
    cores: int | None = None
    """Of the CPU, on which the pack was measured; None: all of them."""
    load: float
    """From the start of the process to the first step, decoding with the untuned model apart."""
    baseline: float
    """Of one utterance decoded with the untuned model."""
    kinds: tuple[KindPace, ...]
    """In the order of the kinds of trials that were probed."""


def probed_cost(
    work: Work,
    kinds: Sequence[KindOfTrial],
    pace: Pace,
    wall_clock: float | None,
    packs: int = 1,
) -> Cost:
    """From a probe of one pack of each kind of trial, of which so many packs compute at the same
    time, each taken to be as fast as that one alone; `wall_clock` is the most that the search may
    take, in seconds.

    The confirmation's trials are taken to be of the same kinds as those of the search.
    """
    low, high = (_seconds(work, kinds, pace, end, wall_clock, packs) for end in (0, 1))
    return Cost(low=low, high=high, basis=_probed(kinds, pace, packs))


def _seconds(
    work: Work,
    kinds: Sequence[KindOfTrial],
    pace: Pace,
    end: int,
    wall_clock: float | None,
    packs: int,
) -> float:
    """From start to verdict, by the fastest paces where `end` is 0 and by the slowest where it is
    1.
    """
    paced = list(zip(kinds, pace.kinds, strict=True))
    training = sum(kind.steps * of.step[end] for kind, of in paced)
    hearing = sum(kind.utterances * of.decode[end] for kind, of in paced)
    steps, utterances = (sum(kind.steps for kind in kinds), sum(kind.utterances for kind in kinds))
    confirming = work.confirm_steps * training / steps if steps else 0.0
    if utterances:
        confirming += work.confirm_utterances * hearing / utterances
    return (
        within_budget((training + hearing) / packs, wall_clock)
        + confirming / packs
        + work.baseline_utterances * pace.baseline
        + pace.load  # once: the confirmation takes the model of the search
    )


def _probed(kinds: Sequence[KindOfTrial], pace: Pace, packs: int) -> str:
    """What an estimate rests on, in words."""
    cores = "" if pace.cores is None else f" (cores: {pace.cores})"
    several = "" if packs == 1 else f"; {packs} packs side by side, each as fast as that one"
    first, *others = (
        (time_range(*of.step), time_range(*of.decode), kind.name)
        for kind, of in zip(kinds, pace.kinds, strict=True)
    )
    rest = "".join(f"; {step} and {decode} ({name})" for step, decode, name in others)
    return (
        f"a probe on {pace.device}{cores}, {pace.slots} at once: {first[0]} per optimizer step of one "
        f"trial and {first[1]} per utterance heard with one adapter ({first[2]}){rest}; "
        f"{short_time(pace.load)} to load{several}"
    )
