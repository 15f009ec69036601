"""The conclusion of a study as it is on disk: the best trial, its confirmation, the decision.

It is computed anew on every call and writes nothing. Nothing is taken from Optuna. Results on file
say which trials are feasible, how they rank, and which of its measurements each chose; the verdicts
are judged anew from the edit counts of these measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from orchestrator.errors import StudyError
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Decision, Verdict, best_feasible, optimism, rate_name
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import ConfirmationRun, confirmation_runs, rank_feasible
from orchestrator.verdicts.judging import RESAMPLES, judge_scores, late_rates, pool_scores, scores
from orchestrator.verdicts.shipping import asks_for_shipped, keeps_limits
from orchestrator.verdicts.training_losses import Losses, all_losses

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


def conclude(spec: SweepSpec, folder: StudyFolder, resamples: int = RESAMPLES) -> Conclusion:
    """Read a study and judge it. Raises StudyError for damaged files, FingerprintError for mixed
    evaluations.
    """
    results = folder.results()
    baseline = _search_baseline(folder, results) or _baseline_so_far(folder)
    confirmed = _confirmed_finalists(spec, folder, results, resamples)
    best = _best_trial(rank_feasible(results, spec.objective, late_rates(spec)), confirmed)
    verdict = _verdict_of_best(spec, folder, best, baseline, n_competing(results), resamples)
    confirm_baseline = _search_baseline(
        folder, [s.result for c in confirmed for s in c.seeds if s.result]
    )
    conclusion = Conclusion(results, baseline, confirm_baseline, best, verdict, confirmed, None)
    decision = _decide_study(spec, conclusion)
    if decision is not None and asks_for_shipped(spec) and best is not None:
        decision = _as_shipped(decision, keeps_limits(spec, folder, conclusion))
    return replace(conclusion, decision=decision)


def _decide_study(spec: SweepSpec, conclusion: Conclusion) -> Decision | None:
    """Return the decision by the deciding verdict, and with `confirm.agree: all` also by whether
    all seeds lower the objective; None where there is no decision, or not yet.
    """
    if conclusion.verdict is None or conclusion.verdict.decision is None or conclusion.unconfirmed:
        return None
    if conclusion.deciding is None:  # every seed of the finalist failed
        return Decision.INCONCLUSIVE
    agreement = conclusion.confirmation.agreement if conclusion.confirmation else None
    decision = conclusion.deciding.decision
    if spec.confirm is None or spec.confirm.agree != "all" or agreement is None:
        return decision
    if agreement.better < agreement.measured:
        return Decision.REJECT
    # a seed that failed has lowered nothing
    return Decision.INCONCLUSIVE if not agreement.all and decision is Decision.ACCEPT else decision


def _as_shipped(decision: Decision, kept: bool | None) -> Decision:
    """Return the decision for a sweep that asks that the exported model keeps the limits, too.

    `kept` says whether it does; None means that it was not measured, which makes ACCEPT
    INCONCLUSIVE.
    """
    if kept is None and decision is Decision.ACCEPT:
        return Decision.INCONCLUSIVE
    return Decision.REJECT if kept is False else decision


def _best_trial(
    by_rank: Sequence[TrialResult], confirmed: Sequence[Confirmed]
) -> TrialResult | None:
    """Return the best of the feasible trials `by_rank` (best first): where every finalist has a
    verdict, or none of its seeds gave one, that which the confirm sets favour, or else the first
    finalist that has a verdict.
    """
    if all(each.verdict or all(seed.result for seed in each.seeds) for each in confirmed):
        judged = [finalist for finalist in confirmed if finalist.verdict]
        favoured = best_feasible([finalist.verdict for finalist in judged if finalist.verdict])
        trial = next(
            (each.trial for each in judged if favoured is None or each.verdict is favoured), None
        )
        return next((r for r in by_rank if r.number == trial), next(iter(by_rank), None))
    return next(iter(by_rank), None)


def chosen_measurement(folder: StudyFolder, result: TrialResult) -> Measurement | None:
    """Return the measurement that a result is based on: that of its step and adapter scale."""
    rows = folder.read_measurements(result.number)
    return next(
        (m for m in rows if (m.step, m.adapter_scale) == (result.step, result.adapter_scale)), None
    )


def _search_baseline(folder: StudyFolder, results: Sequence[TrialResult]) -> Measurement | None:
    """Return the baseline of the evaluation of the first result that was measured."""
    for result in results:
        measurement = chosen_measurement(folder, result)
        if measurement is not None:
            return folder.read_baseline(measurement.fingerprint)
    return None


def _baseline_so_far(folder: StudyFolder) -> Measurement | None:
    """Return the baseline of a study none of whose ended trials was measured: that of the first
    trial under way that was, or else the only one there is.
    """
    for number in folder.planned():
        if rows := folder.read_measurements(number):
            return folder.read_baseline(rows[0].fingerprint)
    found = folder.baselines()
    return found[0] if len(found) == 1 else None


def _verdict_of_best(
    spec: SweepSpec,
    folder: StudyFolder,
    best: TrialResult | None,
    baseline: Measurement | None,
    n_comparisons: int,
    resamples: int,
) -> Verdict | None:
    measurement = chosen_measurement(folder, best) if best else None
    if measurement is None or baseline is None:
        return None
    losses = all_losses(spec, folder, best) if best else ()
    return judge_scores(
        spec,
        scores(measurement, *losses),
        scores(baseline),
        n_comparisons=n_comparisons,
        resamples=resamples,
    )


def _confirmed_finalists(
    spec: SweepSpec, folder: StudyFolder, results: Sequence[TrialResult], resamples: int
) -> tuple[Confirmed, ...]:
    """Judge every finalist on the counts pooled over its seeds, best finalist first."""
    by_number = {result.number: result for result in results}
    found = []
    all_runs = confirmation_runs(spec, folder, results)
    finalists = len({run.trial for run in all_runs})
    for trial, runs in groupby(all_runs, key=lambda run: run.trial):
        losses = all_losses(spec, folder, by_number[trial])
        seeds = [_seed_run(spec, folder, run, losses, resamples) for run in runs]
        measured = [seed.result for seed in seeds if seed.result and seed.verdict]
        rows = [m for m in (chosen_measurement(folder, result) for result in measured) if m]
        verdict = None
        if rows and (baseline := folder.read_baseline(rows[0].fingerprint)):
            # a confirmation run has one rung, so limits on the loss use the losses of the search
            pooled = pool_scores(rows)
            tuned = replace(pooled, losses=losses[0], later_losses=losses[1], number=trial)
            verdict = judge_scores(
                spec,
                tuned,
                scores(baseline),
                n_comparisons=finalists,
                confirmed=True,
                resamples=resamples,
            )
        flattery = None
        rate = spec.objective
        if verdict and confirm_name(rate) in verdict.delta and rate in by_number[trial].delta:
            flattery = optimism(by_number[trial].delta[rate], verdict.delta[confirm_name(rate)])
        found.append(Confirmed(trial, tuple(seeds), verdict, flattery))
    return tuple(found)


def _seed_run(
    spec: SweepSpec,
    folder: StudyFolder,
    run: ConfirmationRun,
    losses: tuple[Losses, Losses],
    resamples: int,
) -> SeedRun:
    result = folder.read_result(run.number)
    measurement = chosen_measurement(folder, result) if result else None
    baseline = folder.read_baseline(measurement.fingerprint) if measurement else None
    if measurement is None or baseline is None:
        return SeedRun(run, result, None)
    tuned = scores(measurement, *losses)
    return SeedRun(
        run,
        result,
        judge_scores(spec, tuned, scores(baseline), confirmed=True, resamples=resamples),
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
