"""What an adapter gains and forgets as it is scaled after training: one curve a trial, the winner's
in a table too.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.document import Block, Heading, Paragraph, Plot, Table
from orchestrator.reporting.svg import Curve, Point, scatter
from orchestrator.reporting.wording import (
    plotted_limits,
    rate_heading,
    rates_of,
    shown_percent,
    shown_points,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import judged, scores

FEW = 10
"""Resamples: only measured numbers are shown here, and they need none."""


def blocks(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    """Nothing where no trial was evaluated at several scales."""
    by_trial = {
        result.number: verdicts
        for result in conclusion.results
        if result.duplicate_of is None and (verdicts := _scaled(spec, folder, conclusion, result))
    }
    if not by_trial:
        return
    best, rates = conclusion.best, rates_of(spec)
    if best is not None and best.number in by_trial:
        yield Heading(f"Adapter scales of trial {best.number}")
        yield Paragraph(f"At step {by_trial[best.number][0].step}, on the sets of the search.")
        yield Table(
            (
                "scale",
                *(head for rate in rates for head in (f"{rate_heading(rate)} %", "change")),
                "keeps the guardrails",
            ),
            tuple(_row(verdict, rates) for verdict in by_trial[best.number]),
        )
    if "heldout" not in spec.data.evaluated:
        return
    dots = [
        Point(
            v.delta["heldout"],
            -v.delta["domain"],
            f"trial {v.number}, scale {v.adapter_scale:g}",
            v.feasible,
        )
        for verdicts in by_trial.values()
        for v in verdicts
    ]
    paths = [
        Curve(f"trial {number}", tuple((v.delta["heldout"], -v.delta["domain"]) for v in verdicts))
        for number, verdicts in by_trial.items()
    ]
    yield Plot(
        "Gain against regression, along the adapter scales",
        scatter(dots, *plotted_limits(spec), paths),
    )


def _scaled(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, result: TrialResult
) -> list[Verdict]:
    """The trial's measurements at its last step that has several scales, by scale; empty when there
    is none.
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
    return [judged(spec, scores(row), baseline, resamples=FEW) for row in rungs[last]]


def _row(verdict: Verdict, rates: tuple[str, ...]) -> tuple[str, ...]:
    cells = [
        cell
        for rate in rates
        for cell in (
            shown_percent(rate, verdict.wer.get(rate)),
            shown_points(rate, verdict.delta.get(rate)),
        )
    ]
    return f"{verdict.adapter_scale:g}", *cells, "yes" if verdict.feasible else "no"
