"""The interface of whoever watches a sweep: the sweep says what happens, the observer shows it, and
nothing comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.worker_protocol import Progress
from orchestrator.scoring.judge import Verdict


class Observer(Protocol):
    """Shows what happens in a sweep. Its methods are called from the sweep's own thread, in
    order.
    """

    def resumed(self, results: Sequence[TrialResult], seconds: float) -> None:
        """A run begins. `results` are the trials and confirmation runs that ended in earlier runs,
        `seconds` is what the search has taken so far; for a new study they are empty and 0.
        """

    def searched(self, seconds: float, goes_on: bool) -> None:
        """The search has taken `seconds` in all runs together, as `budget.wall_clock` counts them;
        `goes_on` says whether it goes on from here or has ended.
        """

    def baseline(self, measurement: Measurement) -> None:
        """The untuned model is measured, now or by an earlier run."""

    def admitted(self, plan: TrialPlan, step: int) -> None:
        """A trial took a slot; `step` is above 0 when it continues from a checkpoint."""

    def progress(self, event: Progress) -> None:
        """A trial has trained some steps further."""

    def measured(self, verdict: Verdict) -> None:
        """A trial reached a rung; the verdict is that of its best adapter scale there."""

    def ended(self, result: TrialResult) -> None:
        """A trial ended, in whatever state."""

    def confirmed(self, results: Sequence[TrialResult]) -> None:
        """The search has ended in this run, and these confirmation runs of its finalists ended in
        earlier runs.
        """

    def say(self, text: str) -> None:
        """A sentence for the person at the terminal."""


class NullObserver:
    """An observer that shows nothing."""

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

    def confirmed(self, results: Sequence[TrialResult]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
