"""Estimate of the time that a sweep takes, from paces that a probe measured for each kind of trial.
Nothing is timed here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.cost import Cost, Work, short_time, time_range, within_budget
from orchestrator.planning.kinds_of_trials import KindOfTrial


class KindPace(BaseModel):
    """The paces that a probe measured for one kind of trial, in seconds: fastest and slowest."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    step: tuple[float, float]
    """Seconds of one optimizer step of one trial."""
    decode: tuple[float, float]
    """Seconds to decode one utterance with one adapter."""


class Pace(BaseModel):
    """All paces that a probe measured, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    device: str
    slots: int
    """Adapters in the probed pack; the time of a step of the pack is divided by them."""
    cores: int | None = None
    """CPU cores on which the pack was measured; None: all of them."""
    load: float
    """Seconds from the start of the process to the first step, without decoding the baseline."""
    baseline: float
    """Seconds to decode one utterance with the untuned model."""
    kinds: tuple[KindPace, ...]
    """The paces of the kinds of trials, in the order in which they were probed."""


def probed_cost(
    work: Work,
    kinds: Sequence[KindOfTrial],
    pace: Pace,
    wall_clock: float | None,
    packs: int = 1,
) -> Cost:
    """Estimate from a probe of one pack of each kind of trial; `wall_clock` is the most that the
    search may take, in seconds.

    `packs` packs compute at the same time, each assumed as fast as the probed one alone. The
    trials of the confirmation are assumed to be of the same kinds as those of the search.
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
    """Estimate the seconds from start to verdict, by the fastest paces where `end` is 0 and by the
    slowest where it is 1.
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
        + pace.load  # once: the confirmation uses the model that the search has loaded
    )


def _probed(kinds: Sequence[KindOfTrial], pace: Pace, packs: int) -> str:
    """Say in words what the estimate is based on."""
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
