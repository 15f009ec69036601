"""Who watches a sweep: the sweep says what happens, the observer shows it. Nothing comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.worker_protocol import Progress
from orchestrator.scoring.judge import Verdict


class Observer(Protocol):
    """Called from the sweep's own thread, in order."""

    def resumed(self, results: Sequence[TrialResult], seconds: float) -> None:
        """A run begins: the trials and confirmation runs that ended in earlier ones, and the
        seconds that the search has taken; nothing, and 0, for a new study.
        """

    def searched(self, seconds: float, goes_on: bool) -> None:
        """The search has taken so many seconds in all runs, as `budget.wall_clock` counts them; it
        goes on from here, or has ended.
        """

    def baseline(self, measurement: Measurement) -> None:
        """The untuned model is measured, now or by an earlier run."""

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """A trial took a slot; `step` is above 0 when it continues from a checkpoint."""

    def progress(self, event: Progress) -> None:
        """A trial trains on."""

    def measured(self, verdict: Verdict) -> None:
        """A trial reached a rung; the verdict is that of its best adapter scale there."""

    def ended(self, result: TrialResult) -> None:
        """A trial ended, in whatever state."""

    def say(self, text: str) -> None:
        """A sentence for the person at the terminal."""


class NullObserver:
    """Shows nothing."""

    def resumed(self, results: Sequence[TrialResult], seconds: float) -> None:
        """Nothing."""

    def searched(self, seconds: float, goes_on: bool) -> None:
        """Nothing."""

    def baseline(self, measurement: Measurement) -> None:
        """Nothing."""

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """Nothing."""

    def progress(self, event: Progress) -> None:
        """Nothing."""

    def measured(self, verdict: Verdict) -> None:
        """Nothing."""

    def ended(self, result: TrialResult) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
