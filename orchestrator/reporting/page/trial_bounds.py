"""The bounds of every trial's changes, as crosses in the plot of gain against regression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.judge import Verdict
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement, n_competing
from orchestrator.verdicts.judging import RESAMPLES, judge_scores, scores

MOST = 40
"""Trials with the largest gain whose bounds are worked out; more crosses than that hide each other."""

Point = tuple[float, float, str]


def bound_crosses(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    dots: Sequence[TrialResult],
    resamples: int = RESAMPLES,
) -> Iterator[tuple[TrialResult, tuple[Point, ...]]]:
    """Of each trial in `dots` the ends of its bounds and its own point, as one line draws them.

    The bounds hold for all trials of the search at once, as the winner's do. Trials without bounds,
    where no limit is on either set, are left out.
    """
    competing = n_competing(conclusion.results)
    gained = sorted(
        (result for result in dots if result.duplicate_of is None),
        key=lambda result: (result.delta["domain"], result.number),
    )
    for result in sorted(gained[:MOST], key=lambda result: result.number):
        measurement = chosen_measurement(folder, result)
        if measurement is None or conclusion.baseline is None:
            continue
        verdict = judge_scores(
            spec,
            scores(measurement),
            scores(conclusion.baseline),
            n_comparisons=competing,
            resamples=resamples,
        )
        if points := _cross_points(verdict, f"trial {result.number}"):
            yield result, points


def bounds_in_points(verdict: Verdict) -> dict[str, tuple[float, float]]:
    """Metric -> lower and upper bound of its change in points, where a limit is on it so."""
    limits = (*verdict.guardrails, *verdict.acceptance)
    return {
        limit.criterion.metric: (limit.lower, limit.upper)
        for limit in limits
        if limit.criterion.unit == "points"
        and limit.criterion.kind != "max_rate"
        and isfinite(limit.lower)
        and isfinite(limit.upper)
    }


def _cross_points(verdict: Verdict, name: str) -> tuple[Point, ...]:
    """From end to end along x, back to the point, from end to end along y."""
    x, y = verdict.delta["heldout"], -verdict.delta["domain"]
    bounds = bounds_in_points(verdict)
    across = tuple((end, y, f"{name}, bound of held-out") for end in bounds.get("heldout_wer", ()))
    along = tuple((x, -end, f"{name}, bound of domain") for end in bounds.get("domain_wer", ()))
    return (*across, (x, y, name), *along) if across or along else ()
