"""The trials that a sweep asked for: what the study says of each, and their plans.

A trial has a plan on file only when the database knows it, and a plan on file says what the
database says.
"""

from __future__ import annotations

from typing import Any

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.records.store import StudyFolder
from orchestrator.search.study import Study
from orchestrator.sweepfile.sweep import SweepSpec


class AskedTrials:
    """Trials by number, those first that an earlier run asked for."""

    def __init__(
        self, spec: SweepSpec, folder: StudyFolder, study: Study, contents: dict[str, str]
    ) -> None:
        """`contents`: of what trials are trained on and measured with, as plans hold them."""
        self._spec, self._folder, self._study, self._contents = spec, folder, study, contents
        self._unwritten: list[TrialPlan] = []
        """Plans of trials that the database may not know yet."""
        self.params = {trial.number: trial.params for trial in study.trials()}
        """Searched values of the trials that earlier runs asked for."""
        self.count = 0
        """How many of all were taken up."""

    @property
    def left(self) -> range:
        """Those of earlier runs that were not taken up."""
        return range(self.count, len(self.params))

    def take_next(self) -> tuple[TrialPlan, dict[str, Any]] | None:
        """The next trial's plan and searched values; None where the space has no further point.

        Raises StudyError when somebody else has written to the study.
        """
        params = self._next_params()
        if params is None:
            return None
        plan = self.checked_plan(self.count, params)
        self._unwritten.append(plan)
        self.count += 1
        return plan, params

    def plan(self, number: int) -> TrialPlan:
        """Of a trial that was asked for before this run."""
        return self._make_plan(number, self.params[number])

    def checked_plan(self, number: int, params: dict[str, Any]) -> TrialPlan:
        """The plan of a trial that is to be trained. Raises StudyError when the sweep cannot have
        asked for it, or its plan.json, which is sealed, says other parameters.
        """
        plan = self._make_plan(number, params)
        sealed = self._folder.read_plan(number)
        if sealed is not None and sealed.params != plan.params:
            raise StudyError(
                f"{self._study.called} says other parameters of trial {number} than its plan.json, which is "
                f"sealed\n  {self._study.remake}"
            )
        return plan

    def commit(self) -> None:
        """Bring the study to its database, then the plans of what it knows by that to their
        files. Raises StudyError where the study is not this process's any more.
        """
        self._folder.ownership.confirm()
        self._study.commit()
        self._folder.write_plans(*self._unwritten)
        self._unwritten.clear()

    def commit_plans(self) -> None:
        """The same where a plan waits for it: a result stands beside its plan."""
        if self._unwritten:
            self.commit()

    def _next_params(self) -> dict[str, Any] | None:
        if self.count in self.params:
            return self.params[self.count]
        asked = self._study.ask()
        if asked is None:
            return None
        if asked.number != self.count:
            raise StudyError(
                f"{self._study.called} gave trial {asked.number} where {self.count} was next: something else writes "
                "to it\n  Only `orchestrate` may add trials. Restore it from a copy, or use --fork NAME."
            )
        return asked.params

    def _make_plan(self, number: int, params: dict[str, Any]) -> TrialPlan:
        try:
            return trial_plan(self._spec, number, params, self._contents)
        except ValueError as error:
            raise StudyError(
                f"{self._study.called} holds a trial that this sweep cannot have asked for: {error}\n"
                f"  Only `orchestrate` may write to it. {self._study.remake}"
            ) from error
