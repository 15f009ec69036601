"""The standing of a running sweep: the best trial so far, how much of the budget is done, and when
it should end. Pure functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.planning.cost import coarse_span
from orchestrator.planning.sweep_plan import sweep_plan
from orchestrator.records.results import TrialResult
from orchestrator.reporting.wording import (
    delta_text,
    ended_text,
    rate_heading,
    rates_of,
    search_time_text,
)
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import rank_feasible
from orchestrator.verdicts.judging import late_rates


@dataclass(frozen=True)
class Budgeted:
    """What a sweep has to do, by its file."""

    trials: int
    trained: int
    """Most trials that are trained: a point that is drawn again is not trained again."""
    confirmations: int
    """Largest number of confirmation runs."""
    longest: int
    """Optimizer steps of the longest trial that the space allows."""
    wall_clock: float | None
    """Seconds that the search may take; None sets no limit."""
    objective: str
    """The rate that the search minimises, as measurements name it."""
    rates: tuple[str, ...]
    """The rates that are shown, as measurements name them."""
    late: frozenset[str]
    """The rates that acceptance asks for and that are measured at a trial's last step only, where no
    confirmation follows: a trial that lacks one ranks behind those that have it.
    """

    @classmethod
    def of(cls, spec: SweepSpec) -> Budgeted:
        """Compute it for a sweep file."""
        plan = sweep_plan(spec, show=0)
        return cls(
            trials=plan.trials,
            trained=plan.trained,
            confirmations=plan.confirmation_trials,
            longest=plan.rungs[-1],
            wall_clock=spec.budget.wall_clock,
            objective=spec.objective,
            rates=rates_of(spec),
            late=late_rates(spec),
        )


@dataclass(frozen=True)
class InTraining:
    """A trial or confirmation run in a slot; negative numbers are confirmation runs."""

    number: int
    step: int
    max_steps: int


@dataclass(frozen=True)
class Standing:
    """The state of a sweep at one moment."""

    budget: Budgeted
    ended: tuple[TrialResult, ...]
    """The results of all runs of the study; negative numbers are confirmation runs."""
    training: tuple[InTraining, ...]
    steps: int
    """Optimizer steps of all trials and confirmation runs together, in the time `seconds`."""
    seconds: float
    """Time that `steps` took: of the search in earlier runs, and of this run so far."""
    searched: float
    """Seconds of the search alone, in all runs: what `budget.wall_clock` limits and `status` shows.
    """

    @property
    def best(self) -> TrialResult | None:
        """The best feasible trial of the search so far."""
        searched = [result for result in self.ended if result.number >= 0]
        return next(iter(rank_feasible(searched, self.budget.objective, self.budget.late)), None)

    @property
    def left(self) -> tuple[float, float] | None:
        """Estimated least and most seconds to the end of the sweep; None before the first step.

        The most assumes that no further trial is pruned; the least, that pruning saves the same
        share of the steps as it did so far.
        """
        if not self.steps or not self.seconds:
            return None
        pace = self.seconds / self.steps
        search = self._search_steps_left * pace
        low, high = search * self._share_trained, search
        if self.budget.wall_clock is not None:
            rest = max(0.0, self.budget.wall_clock - self.searched)
            low, high = min(low, rest), min(high, rest)
        confirm = self._confirm_steps_left * pace
        return low + confirm, high + confirm

    @property
    def _search_steps_left(self) -> float:
        searching = [trial for trial in self.training if trial.number >= 0]
        if len(searching) < len(self.training):
            return 0.0  # the confirmation has begun, so the search is over
        ended = [result for result in self.ended if result.number >= 0]
        trained = [result for result in ended if result.duplicate_of is None]
        lengths = [*map(self._max_steps, trained), *(trial.max_steps for trial in searching)]
        usual = sum(lengths) / len(lengths) if lengths else self.budget.longest
        waiting = min(
            self.budget.trained - len(trained) - len(searching),
            self.budget.trials - len(ended) - len(searching),
        )
        under_way = sum(trial.max_steps - trial.step for trial in searching)
        return under_way + max(0, waiting) * usual

    @property
    def _confirm_steps_left(self) -> float:
        """Estimated optimizer steps of the confirmation that are left. A run ends at the finalist's
        best step; that of the best trial stands in for all finalists.
        """
        confirming = [trial for trial in self.training if trial.number < 0]
        done = sum(result.number < 0 for result in self.ended) + len(confirming)
        length = (self.best and self.best.step) or self.budget.longest
        under_way = sum(max(0, length - trial.step) for trial in confirming)
        return under_way + max(0, self.budget.confirmations - done) * length

    @property
    def _share_trained(self) -> float:
        trained = [result for result in self.ended if result.number >= 0 and result.steps_trained]
        to_end = sum(map(self._max_steps, trained))
        return min(1.0, sum(result.steps_trained for result in trained) / to_end) if to_end else 1.0

    def _max_steps(self, result: TrialResult) -> int:
        return int(result.params.get("max_steps", self.budget.longest))


def best_text(standing: Standing) -> str:
    """Name the best trial so far with its rates, or say that there is none."""
    best = standing.best
    if not standing.ended:
        return "none yet: no trial has ended"
    if best is None:
        return "none: no trial that ended keeps the guardrails"
    rates = ", ".join(
        f"{rate_heading(rate)} {delta_text(best, rate)}" for rate in standing.budget.rates
    )
    return f"trial {best.number}, {rates}, step {best.step}, adapter scale {best.adapter_scale:g}"


def trials_text(standing: Standing) -> str:
    """Say how many trials and confirmation runs have ended, and in which states."""
    budget = standing.budget
    states = Counter(str(result.state) for result in standing.ended if result.number >= 0)
    how = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    text = ended_text(states.total(), budget.trials, "ended")
    text += f" ({how})" if how else ""
    text += f", {len(standing.training)} in training" if standing.training else ""
    if budget.confirmations:
        confirmed = sum(result.number < 0 for result in standing.ended)
        text += f"; confirmation {confirmed} of {budget.confirmations}"
    return text


def time_text(standing: Standing, now: datetime) -> str:
    """Say how long the search has taken and when the sweep should end; `now` is the time of day."""
    text = search_time_text(standing.searched, standing.budget.wall_clock)
    if standing.left is None or not standing.training:
        return text
    low, high = standing.left
    return f"{text}, {coarse_span(low, high)} left, until {_until_text(now, low, high)}"


def _until_text(now: datetime, low: float, high: float) -> str:
    first, last = (_time_of_day(now, now + timedelta(seconds=seconds)) for seconds in (low, high))
    return last if first == last else f"{first} to {last}"


def _time_of_day(now: datetime, then: datetime) -> str:
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%a %H:%M}"


def one_line(standing: Standing, now: datetime) -> str:
    """Return trials, best trial and time in one line, for a pipe or log file."""
    return (
        f"trials: {trials_text(standing)}; best so far: {best_text(standing)}; "
        f"time: {time_text(standing, now)}"
    )


def earlier_steps(results: Sequence[TrialResult]) -> int:
    """Count the optimizer steps of the search in earlier runs, without confirmation runs."""
    return sum(result.steps_trained for result in results if result.number >= 0)
