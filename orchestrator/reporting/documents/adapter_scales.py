"""How gain and regression of an adapter depend on its scale after training: a table for the best
trial, verdicts for every trial.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.rendering.report_blocks import Block, Heading, Paragraph, Table
from orchestrator.reporting.wording import beside_answer, rate_heading, rates_of
from orchestrator.scoring.judge import Verdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import guardrails_of, judge_scores, scores
from orchestrator.verdicts.training_losses import trial_losses

FEW = 10
"""Number of bootstrap resamples. Few are enough, as no bounds are shown here."""


def blocks(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    """Yield the best trial's table; nothing where it was not evaluated at several scales."""
    best, rates = conclusion.best, rates_of(spec)
    verdicts = _verdicts_by_scale(spec, folder, conclusion, best) if best is not None else []
    if best is not None and verdicts:
        yield Heading(f"Adapter scales of trial {best.number}")
        yield Paragraph(f"At step {verdicts[0].step}, on the sets of the search.")
        yield Table(
            (
                "scale",
                *(head for rate in rates for head in (f"{rate_heading(rate)} %", "change")),
                "keeps the guardrails",
            ),
            tuple(_scale_row(spec, verdict, rates) for verdict in verdicts),
        )


def by_trial(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion
) -> dict[int, list[Verdict]]:
    """Map each trial that was evaluated at several scales to its verdicts, one for each scale."""
    return {
        result.number: verdicts
        for result in conclusion.results
        if result.duplicate_of is None
        and (verdicts := _verdicts_by_scale(spec, folder, conclusion, result))
    }


def _verdicts_by_scale(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, result: TrialResult
) -> list[Verdict]:
    """Judge the trial at every scale, at its last step that was measured at several; empty when
    there is no such step.
    """
    if conclusion.baseline is None:
        return []
    rungs: dict[int, list[Measurement]] = {}
    for row in folder.read_measurements(result.number):
        if row.fingerprint == conclusion.baseline.fingerprint and set(spec.data.evaluated) <= set(
            row.sets
        ):
            rungs.setdefault(row.step, []).append(row)
    last = max((step for step, rows in rungs.items() if len(rows) > 1), default=None)
    if last is None:
        return []
    baseline = scores(conclusion.baseline)
    losses = trial_losses(spec, folder, result.trained, last)
    return [judge_scores(spec, scores(row, losses), baseline, resamples=FEW) for row in rungs[last]]


def _scale_row(spec: SweepSpec, verdict: Verdict, rates: tuple[str, ...]) -> tuple[str, ...]:
    limits, cells = guardrails_of(spec), list[str]()
    for rate in rates:
        numbers = verdict.rates.get(rate), verdict.delta.get(rate)
        cells += beside_answer(limits, rate, *numbers)
    return f"{verdict.adapter_scale:g}", *cells, "yes" if verdict.feasible else "no"
