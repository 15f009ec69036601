"""The trials that a sweep asked for: what the Optuna study says of each, and their plans.

Two rules hold: a plan is written to its file only after the database knows the trial, and a plan on
file must agree with what the database says of its trial.
"""

from __future__ import annotations

from typing import Any

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan, trial_plan
from orchestrator.records.store import StudyFolder
from orchestrator.search.study import Study
from orchestrator.sweepfile.sweep import SweepSpec


class AskedTrials:
    """Hands out trials in order of their number; those that an earlier run asked for come first."""

    def __init__(
        self, spec: SweepSpec, folder: StudyFolder, study: Study, contents: dict[str, str]
    ) -> None:
        """`contents` are the digests of what trials are trained on and measured with, as plans hold
        them.
        """
        self._spec, self._folder, self._study, self._contents = spec, folder, study, contents
        self._unwritten: list[TrialPlan] = []
        """Plans not written to their files yet, because the database may not know their trials."""
        self.params = {trial.number: trial.params for trial in study.trials()}
        """Trial number -> searched values, of the trials that earlier runs asked for."""
        self.count = 0
        """How many trials have been taken up so far, those before the checkpoint included; also the
        number of the next one.
        """

    @property
    def left(self) -> range:
        """The numbers of the trials that earlier runs asked for and this run has not taken up
        yet.
        """
        return range(self.count, len(self.params))

    def take_next(self) -> tuple[TrialPlan, dict[str, Any]] | None:
        """Take up the next trial and return its plan and searched values; None where the search
        space has no further point.

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
        """Return the plan of a trial that was asked for before this run."""
        return self._make_plan(number, self.params[number])

    def checked_plan(self, number: int, params: dict[str, Any]) -> TrialPlan:
        """Return the plan of a trial that is to be trained. Raises StudyError when the sweep cannot
        have asked for it, or when its sealed plan.json says other parameters.
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
        """Commit the study to its database, then write the plans of the trials that the database
        knows from now on. Raises StudyError where another process owns the study by now.
        """
        self._folder.ownership.confirm()
        self._study.commit()
        if self._unwritten:
            self._folder.write_plans(*self._unwritten)
            self._unwritten.clear()

    def commit_plans(self) -> None:
        """Commit if a plan is still unwritten, as one must be on file before the result of its
        trial is.
        """
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
