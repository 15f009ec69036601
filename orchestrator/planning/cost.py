"""Estimate of the time that a sweep takes: its work, times a pace that was measured elsewhere.
Nothing is timed here.

Work is counted with every trial trained to its end. Pruned and repeated trials make a sweep
shorter. So the upper end of an estimate takes all the work and the slowest pace; the lower end
takes the fastest pace and, where an earlier study shows it, only the share of the steps that
remained after pruning.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.trial_plan import TrialPlan


class Work(BaseModel):
    """The most work that a sweep can have to do."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    search_steps: int
    """Optimizer steps of all trials together."""
    confirm_steps: int
    """Optimizer steps of all confirmation runs together."""
    confirm_utterances: int
    """Utterances decoded for all confirmation runs together."""
    baseline_utterances: int
    """Utterances decoded with the untuned model, in search and confirmation."""


class Spent(BaseModel):
    """The time and the steps that the search of a study has taken so far."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    study: str
    seconds: float
    steps: int
    """Optimizer steps that its trials trained."""
    steps_to_end: int
    """Optimizer steps that the same trials would have trained without pruning."""

    @property
    def pace(self) -> float:
        """Seconds per optimizer step of one trial, evaluations included."""
        return self.seconds / self.steps


class Cost(BaseModel):
    """An estimate of the seconds from start to verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    low: float
    high: float
    basis: str
    """What the estimate is based on, in words."""


def recorded_cost(work: Work, spent: Sequence[Spent], wall_clock: float | None) -> Cost | None:
    """Estimate from what earlier searches took; None where no trial was trained in any of them.

    Their pace includes their evaluations, so it fits only as far as model, data and evaluations are
    alike.
    """
    trained = [cost for cost in spent if cost.steps and cost.seconds]
    if not trained:
        return None
    paces = sorted(cost.pace for cost in trained)
    share = min(1.0, *(cost.steps / max(cost.steps, cost.steps_to_end) for cost in trained))
    confirm = [work.confirm_steps * paces[end] for end in (0, -1)]
    low = within_budget(work.search_steps * share * paces[0], wall_clock) + confirm[0]
    high = within_budget(work.search_steps * paces[-1], wall_clock) + confirm[1]
    names = ", ".join(cost.study for cost in trained[:3]) + (", ..." if len(trained) > 3 else "")
    what = "study" if len(trained) == 1 else f"{len(trained)} studies"
    pace = (
        f"{time_range(paces[0], paces[-1])} per optimizer step of one trial, evaluations included"
    )
    cut = f", {100 * (1 - share):.0f} % of the steps cut" if share < 0.995 else ""
    return Cost(low=low, high=high, basis=f"{what} {names}: {pace}{cut}")


def within_budget(seconds: float, wall_clock: float | None) -> float:
    """Return the seconds that a search takes where `wall_clock` (None: no limit) may end it."""
    return seconds if wall_clock is None else min(seconds, wall_clock)


ENCODER_ROW, DECODER_ROW = 4, 1
"""Relative cost of a row of a batch in a training step. A trial that adapts the encoder runs it
forward and backward; one that adapts the decoder alone reads cached encoder frames. Rough numbers
are enough: the order of a fleet's events depends on them, no result does."""


def step_cost(plan: TrialPlan) -> int:
    """Return the relative cost of one optimizer step of a trial, in the unit `DECODER_ROW`."""
    params = plan.params
    decoder_alone = all(pattern.startswith("decoder.") for pattern in params.target_patterns)
    rows = params.batch_size * params.gradient_accumulation_steps
    return rows * (DECODER_ROW if decoder_alone else ENCODER_ROW)


_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))


def coarse_span(low: float, high: float) -> str:
    """Put a span of seconds in words, as coarse as such an estimate is: `about 25 to 40 min`,
    `about 3 h`.
    """
    first, last = _coarse_time(low), _coarse_time(high)
    if first == last:
        return f"about {last}"
    (number, unit), other = first.split(), last.split()[1]
    return f"about {number if unit == other else first} to {last}"


def _coarse_time(seconds: float) -> str:
    """Round to a readable number: minutes to whole ones, from ten on to fives; hours and days to
    halves, from ten on to whole ones; seconds to tens.
    """
    for size, unit in _UNITS:
        # what would round to one unit of the next size is said in that
        if seconds >= 1.5 * size:
            count = seconds / size
            step = 0.5
            if count >= 10 or unit == "min":
                step = 1.0
            if count >= 10 and unit == "min":
                step = 5.0
            return f"{step * round(count / step):g} {unit}"
    return f"{max(10, 10 * round(seconds / 10))} s"


def short_time(seconds: float) -> str:
    """Put seconds in words with two digits: `0.12 s`, `35 ms`."""
    if seconds < 0.0995:  # what would round to 100 ms is 0.1 s
        return f"{1000 * seconds:.2g} ms"
    return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"


def time_range(low: float, high: float) -> str:
    """Put a range of seconds in words, by `short_time`; one number where both read the same."""
    return (
        short_time(high)
        if short_time(low) == short_time(high)
        else f"{short_time(low)} to {short_time(high)}"
    )
