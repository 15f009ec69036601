"""Duplicates: trials whose recipe another trial of the sweep already trains. They take its result
and train nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import TrialResult
from orchestrator.running.trial_stopping import WALL_CLOCK
from orchestrator.search.study import Asked


class Duplicates:
    """Keeps which trial trained each recipe first, and which trials wait for its result."""

    def __init__(self, read_result: Callable[[int], TrialResult | None]) -> None:
        self._read_result = read_result
        self._first: dict[str, int] = {}
        self._waiting: dict[int, list[Asked]] = {}

    def original(self, plan: TrialPlan, in_slots: Container[int]) -> int | None:
        """Return the earlier trial with the same recipe; None where the trial must be trained
        itself.

        A trial that the wall clock cut short has no result worth copying, so the next trial of its
        recipe takes its place.
        """
        first = self._first.setdefault(plan.recipe, plan.number)
        if first == plan.number:
            return None
        result = None if first in in_slots else self._read_result(first)
        if result is not None and result.pruned_by == WALL_CLOCK:
            self._first[plan.recipe] = plan.number
            return None
        return first

    def wait(self, original: int, duplicate: Asked) -> None:
        """Register a duplicate whose original is still in a slot, to be told when the original
        ends.
        """
        self._waiting.setdefault(original, []).append(duplicate)

    def take_waiting(self, original: int) -> list[Asked]:
        """Return and forget the duplicates that waited for this trial, which has ended."""
        return self._waiting.pop(original, [])


def duplicate_result(original: TrialResult, number: int, params: dict[str, Any]) -> TrialResult:
    """Return the result of a trial that was not trained because its recipe is that of
    `original`.
    """
    source = original.trained
    reason = f"same recipe as trial {source}, not trained again: {original.reason}"
    changes = {"number": number, "params": params, "duplicate_of": source, "reason": reason}
    return original.model_copy(update={**changes, "steps_trained": 0, "seconds": 0.0})
