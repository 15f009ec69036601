"""How the conclusion of a study is drawn from what is on disk. It is drawn anew on every call, and
nothing is written.

Nothing is taken from Optuna. Results on file say which trials are feasible, how they rank, and which
of its measurements each chose; the verdicts are judged anew from the edit counts of these
measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Decision, Verdict, best_feasible, optimism
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import (
    Conclusion,
    Confirmed,
    SeedRun,
    chosen_measurement,
    n_competing,
)
from orchestrator.verdicts.confirming import ConfirmationRun, confirmation_runs, rank_feasible
from orchestrator.verdicts.judging import RESAMPLES, judge_scores, late_rates, pool_scores, scores
from orchestrator.verdicts.shipping import asks_for_shipped, keeps_limits
from orchestrator.verdicts.training_losses import Losses, all_losses


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
