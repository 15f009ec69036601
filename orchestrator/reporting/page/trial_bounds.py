"""The confidence bounds of every trial's changes, drawn as crosses in the plot of gain against
regression.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.wording import plotted_rates
from orchestrator.scoring.judge import Verdict, rate_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, chosen_measurement, n_competing
from orchestrator.verdicts.judging import judge_scores, scores

MOST = 40
"""Most trials whose bounds are computed, those with the largest gain; more crosses hide
each other.
"""

Point = tuple[float, float, str]


def bound_crosses(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    dots: Sequence[TrialResult],
) -> Iterator[tuple[TrialResult, tuple[Point, ...]]]:
    """Yield each trial in `dots`, up to MOST, with the points of a line that draws its bounds as a
    cross.

    The bounds hold for all trials of the search at once (Bonferroni), as the winner's do. Trials
    without bounds, where no limit is on either set, are left out.
    """
    competing, rates = n_competing(conclusion.results), plotted_rates(spec)
    largest = sorted(
        (result for result in dots if result.duplicate_of is None),
        key=lambda result: (result.delta[rates[0]], result.number),
    )
    for result in sorted(largest[:MOST], key=lambda result: result.number):
        measurement = chosen_measurement(folder, result)
        if measurement is None or conclusion.baseline is None:
            continue
        verdict = judge_scores(
            spec,
            scores(measurement),
            scores(conclusion.baseline),
            n_comparisons=competing,
        )
        if points := _cross_points(verdict, f"trial {result.number}", rates):
            yield result, points


def bounds_in_points(verdict: Verdict) -> dict[str, tuple[float, float]]:
    """Map rates to the lower and upper bound of their change in points; only those that have a limit
    in points.
    """
    limits = (*verdict.guardrails, *verdict.acceptance)
    return {
        rate_name(limit.criterion.metric, verdict.confirmed): (limit.lower, limit.upper)
        for limit in limits
        if limit.criterion.unit == "points"
        and limit.criterion.kind != "max_rate"
        and isfinite(limit.lower)
        and isfinite(limit.upper)
    }


def _cross_points(verdict: Verdict, name: str, rates: tuple[str, str]) -> tuple[Point, ...]:
    """Return the points of one line that draws a cross: the ends of the bounds along x, the trial's
    own point, the ends of the bounds along y.
    """
    gained, risen = rates
    x, y = verdict.delta[risen], -verdict.delta[gained]
    bounds = bounds_in_points(verdict)
    across = tuple((end, y, f"{name}, bound of held-out") for end in bounds.get(risen, ()))
    along = tuple((x, -end, f"{name}, bound of domain") for end in bounds.get(gained, ()))
    return (*across, (x, y, name), *along) if across or along else ()
