"""The conclusion of a study: the best trial, its confirmation, the decision; `concluding` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import StudyError
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Decision, Verdict, rate_name
from orchestrator.verdicts.confirming import ConfirmationRun

EXIT_CODES = {Decision.ACCEPT: 0, Decision.REJECT: 4, Decision.INCONCLUSIVE: 5}


@dataclass(frozen=True)
class SeedRun:
    """The retraining of a finalist with one fresh seed, and its verdict."""

    run: ConfirmationRun
    result: TrialResult | None
    """How it ended; None while it has not ended."""
    verdict: Verdict | None
    """The judgement of its measurement; None when nothing was measured."""

    @property
    def reproduces(self) -> bool | None:
        """Whether this seed alone keeps every limit literally; None where nothing was measured, or
        there is no limit.
        """
        limits = (*self.verdict.acceptance, *self.verdict.guardrails) if self.verdict else ()
        return all(limit.holds is True for limit in limits) if limits else None


@dataclass(frozen=True)
class Agreement:
    """Whether the fresh seeds of a finalist agree in lowering the objective."""

    better: int
    """How many seeds lower it."""
    measured: int
    """How many seeds were measured."""
    asked: int
    """How many seeds there are, including those that failed."""

    @property
    def all(self) -> bool:
        """Whether every seed, including those that failed, is better than the baseline."""
        return self.better == self.asked


@dataclass(frozen=True)
class Confirmed:
    """A finalist, judged on the confirm sets over all its seeds."""

    trial: int
    seeds: tuple[SeedRun, ...]
    verdict: Verdict | None
    """On the counts pooled over the seeds that were measured; None where none was."""
    optimism: float | None
    """Points by which the search flattered the finalist: the confirmed change of the objective less
    the search's.
    """

    @property
    def agreement(self) -> Agreement | None:
        """How many seeds lower the objective; None where no seed was measured."""
        verdicts = [seed.verdict for seed in self.seeds if seed.verdict]
        if not verdicts:
            return None
        changes = [verdict.delta.get(rate_name(verdict.metric, True), 0.0) for verdict in verdicts]
        better = sum(change < 0 for change in changes)
        return Agreement(better, len(changes), len(self.seeds))


@dataclass(frozen=True)
class Conclusion:
    """The state of a study and what follows from it."""

    results: tuple[TrialResult, ...]
    baseline: Measurement | None
    """The untuned model on the search's sets; None where it was not measured yet."""
    confirm_baseline: Measurement | None
    best: TrialResult | None
    """The trial to use: the best feasible one; once all finalists are confirmed, the one that the
    confirm sets favour.
    """
    verdict: Verdict | None
    """The verdict on the best trial, on the search's sets."""
    confirmed: tuple[Confirmed, ...]
    decision: Decision | None
    """By what has ended so far: see `shown_decision`. None while the confirmation is not done, and
    where the sweep declares no acceptance criteria.
    """

    @property
    def confirmation(self) -> Confirmed | None:
        """The confirmation of the best trial; None where it has none."""
        return next((c for c in self.confirmed if self.best and c.trial == self.best.number), None)

    @property
    def deciding(self) -> Verdict | None:
        """The verdict that the decision rests on: the confirmation's if there is one, else the
        search's.
        """
        return self.confirmation.verdict if self.confirmation else self.verdict

    @property
    def unconfirmed(self) -> int:
        """Confirmation runs that have not ended."""
        return sum(seed.result is None for finalist in self.confirmed for seed in finalist.seeds)

    def ended(self, number: int | None) -> TrialResult | None:
        """The result of the trial of this number; None where it has not ended."""
        return next((result for result in self.results if result.number == number), None)

    @property
    def lowest_domain(self) -> TrialResult | None:
        """The trial of lowest domain WER, feasible or not; of equal ones the first."""
        measured = [result for result in self.results if "domain" in result.wer]
        return min(measured, key=lambda result: (result.wer["domain"], result.number), default=None)

    def shown_decision(self, done: bool) -> Decision | None:
        """The decision as a person is told it; `done`: nothing is left to train, before which there
        is none: further trials may be better, and share the error of a proof. Without a feasible
        trial that is INCONCLUSIVE, whatever the sweep asks.
        """
        if not done:
            return None
        return Decision.INCONCLUSIVE if self.best is None else self.decision

    @property
    def exit_code(self) -> int:
        """0 accepted, or finished without criteria; 4 rejected; 5 inconclusive or no feasible
        trial.
        """
        if self.best is None:
            return 5
        return 0 if self.decision is None else EXIT_CODES[self.decision]


def n_competing(results: Sequence[TrialResult]) -> int:
    """Count the trials that the best was chosen from: those measured, without exact duplicates."""
    return sum(bool(result.wer) and result.duplicate_of is None for result in results)


def chosen_measurement(folder: StudyFolder, result: TrialResult) -> Measurement | None:
    """Return the measurement that a result is based on: that of its step and adapter scale."""
    rows = folder.read_measurements(result.number)
    return next(
        (m for m in rows if (m.step, m.adapter_scale) == (result.step, result.adapter_scale)), None
    )


def lacks_trial(
    folder: StudyFolder, conclusion: Conclusion, done: bool, number: int | None, kind: str
) -> StudyError:
    """Return the error for trial `number`, which has not ended or was never asked for; or, where
    that is None, for a study without a trial of some `kind`, such as "feasible". `done`: nothing
    is left to train.
    """
    goes_on = f"\n  Let it train on first: orchestrate run {folder.named}"
    if not conclusion.results and done:
        return StudyError(
            f"study {folder.name} has no trial: budget.wall_clock was spent before the first one\n"
            f"  With more time it goes on, as in: orchestrate run {folder.named} budget.wall_clock=2h"
        )
    if not conclusion.results:
        return StudyError(f"no trial of study {folder.name} has ended yet{goes_on}")
    if number is None:
        lists = f"`orchestrate status {folder.named}` lists those it has."
        return StudyError(f"study {folder.name} has no {kind} trial\n  Name one; {lists}")
    if number in folder.planned():
        return StudyError(f"trial {number} of study {folder.name} has not ended yet{goes_on}")
    return StudyError(
        f"study {folder.name} has no ended trial {number}\n"
        f"  `orchestrate status {folder.named}` lists those it has."
    )
