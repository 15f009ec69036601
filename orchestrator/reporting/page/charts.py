"""The data of the page's plots, which the page's script passes to the plotting library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import adapter_scales, train_shares
from orchestrator.reporting.page.trial_bounds import MOST, bound_crosses, bounds_in_points
from orchestrator.reporting.wording import (
    params_text,
    plotted_limits,
    plotted_rates,
    rates_of,
)
from orchestrator.scoring.importance import FEWEST, importances
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import is_share_found, rate_text
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import scores

Role = Literal["trial", "broken", "best", "confirmed", "bounds"]
View = Literal["", "chosen", "bounds", "scales", "steps"]
VIEWS: tuple[tuple[View, str], ...] = (
    ("chosen", "chosen measurements"),
    ("bounds", "bounds of all trials"),
    ("scales", "along adapter scales"),
    ("steps", "along steps, at the smallest adapter scale"),
)
"""The views of a chart between which a reader may choose, and their names."""


@dataclass(frozen=True)
class Series:
    """Points of a plot that belong together; where `joined`, a line connects them in
    their order.
    """

    name: str
    points: tuple[tuple[float, float, str], ...]
    """x, y and the tooltip of each point."""
    role: Role = "trial"
    joined: bool = False
    view: View = ""
    """The view in which the series is shown; in all views where empty."""


@dataclass(frozen=True)
class Chart:
    """One plot."""

    id: str
    title: str
    note: str
    """What to look for in the plot, in a sentence or two."""
    x: str
    y: str
    series: tuple[Series, ...]
    limits: tuple[tuple[str, float, str], ...] = ()
    """Lines across the plot: the axis (x or y) that `value` is on, the value, and the label."""
    bars: bool = False
    """Whether it is a bar chart: a bar for each series, labelled by its name, as long as its x."""
    views: tuple[tuple[View, str], ...] = ()


def charts(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Chart]:
    """Yield the charts for which the study has numbers."""
    yield from _gain_against_regression(spec, folder, conclusion)
    for rate in rates_of(spec):
        if not is_share_found(rate):
            yield from _over_steps(folder, conclusion, rate)
    yield from _importance_charts(spec, conclusion)
    yield from _share_charts(spec, conclusion)


def _gain_against_regression(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion
) -> Iterator[Chart]:
    rates = gained, risen = plotted_rates(spec)
    dots = [result for result in conclusion.results if set(rates) <= result.delta.keys()]
    if not dots:
        return
    best = conclusion.best.number if conclusion.best else None
    winner = [result for result in dots if result.number == best]
    others = [result for result in dots if result.feasible and result not in winner]
    broken = [result for result in dots if not result.feasible]
    series = [
        _dots_series("other feasible trials", others, "trial", rates),
        _dots_series("trials that do not keep every guardrail", broken, "broken", rates),
        _dots_series(f"trial {best}, the winner", winner, "best", rates),
    ]
    for said, verdict in (
        ("on the search's sets", conclusion.verdict),
        ("confirmed", _confirmed_verdict(conclusion)),
    ):
        if verdict is not None:
            series += _with_bounds(said, verdict, conclusion, rates)
    series += _bounded_series(spec, folder, conclusion, dots)
    series += _along_scales(spec, folder, conclusion, rates)
    series += _along_steps(folder, conclusion, dots, rates)
    gain, rise = plotted_limits(spec)
    limits = [("y", 0.0, "no gain")] if gain != 0 else []
    limits += [("x", 0.0, "no regression")] if rise != 0 else []
    if gain is not None:
        limits.append(("y", gain, f"asked for: {gain:g}"))
    if rise is not None:
        limits.append(("x", rise, f"allowed: less than {rise:g}"))
    yield Chart(
        "gain",
        "Gain against regression",
        "Good trials are at the top left: domain errors fall and held-out errors do not rise. "
        "Bars are 95 % bounds: here of the winner, and of other trials where you choose so.",
        f"rise of {_axis_text(risen)}, points",
        f"fall of {_axis_text(gained)}, points",
        tuple(one for one in series if one.points),
        tuple(limits),
        views=tuple(_views_of({one.view for one in series}, dots)),
    )


def _views_of(drawn: set[View], dots: list[TrialResult]) -> Iterator[tuple[View, str]]:
    """Yield the views for which there are series; that of bounds says where it has not all."""
    without = sum(result.duplicate_of is None for result in dots) > MOST
    for view, name in VIEWS:
        if view == "chosen" or view in drawn:
            fewer = view == "bounds" and without
            yield view, f"bounds of the {MOST} trials of largest gain" if fewer else name


def _axis_text(rate: str) -> str:
    return rate_text(rate).replace("heldout", "held-out")


def _dots_series(
    name: str, results: list[TrialResult], role: Role, rates: tuple[str, str]
) -> Series:
    gained, risen = rates
    points = (
        (r.delta[risen], -r.delta[gained], f"trial {r.number}: {params_text(r.params)}")
        for r in results
    )
    return Series(name, tuple(points), role, view="chosen")


def _confirmed_verdict(conclusion: Conclusion) -> Verdict | None:
    return conclusion.confirmation.verdict if conclusion.confirmation else None


def _with_bounds(
    said: str, verdict: Verdict, conclusion: Conclusion, rates: tuple[str, str]
) -> Iterator[Series]:
    """Yield the bounds of a verdict's changes as lines through its point, where limits on them have
    bounds, and for a confirmed verdict the point itself.
    """
    gained, risen = (confirm_name(rate, verdict.confirmed) for rate in rates)
    if not {gained, risen} <= verdict.delta.keys() or conclusion.best is None:
        return
    x, y = verdict.delta[risen], -verdict.delta[gained]
    name = f"trial {conclusion.best.number} {said}"
    if verdict.confirmed:
        yield Series(name, ((x, y, name),), "confirmed", view="chosen")
    bounds = bounds_in_points(verdict)
    for rate, along_x in ((risen, True), (gained, False)):
        if ends := bounds.get(rate):
            text = f"{name}: bounds {ends[0]:+z.2f} to {ends[1]:+z.2f}"
            points = tuple((end, y, text) if along_x else (x, -end, text) for end in ends)
            yield Series(f"95 % bounds {said}", points, "bounds", joined=True, view="chosen")


def _bounded_series(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, dots: list[TrialResult]
) -> Iterator[Series]:
    for result, points in bound_crosses(spec, folder, conclusion, dots):
        role = _role_of(conclusion, result.number) if result.feasible else "broken"
        yield Series(f"trial {result.number}", points, role, joined=True, view="bounds")


def _along_scales(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, rates: tuple[str, str]
) -> Iterator[Series]:
    gained, risen = rates
    for number, verdicts in adapter_scales.by_trial(spec, folder, conclusion).items():
        points = tuple(
            (v.delta[risen], -v.delta[gained], f"trial {number}, scale {v.adapter_scale:g}")
            for v in verdicts
            if set(rates) <= v.delta.keys()
        )
        yield Series(
            f"trial {number}", points, _role_of(conclusion, number), joined=True, view="scales"
        )


def _along_steps(
    folder: StudyFolder,
    conclusion: Conclusion,
    dots: list[TrialResult],
    rates: tuple[str, str],
) -> Iterator[Series]:
    gained, risen = rates
    base = untuned_rates(conclusion)
    if not base.keys() >= set(rates):
        return
    for result in dots:
        own = {rate: dict(rate_by_step(folder, result, rate)) for rate in rates}
        points = tuple(
            (
                _less(own[risen][step], base[risen]),
                _less(base[gained], own[gained][step]),
                f"trial {result.number}, step {step:g}",
            )
            for step in sorted(own[gained].keys() & own[risen].keys())
        )
        role = _role_of(conclusion, result.number)
        yield Series(f"trial {result.number}", points, role, joined=True, view="steps")


def untuned_rates(conclusion: Conclusion) -> dict[str, float]:
    """Return the untuned model's rates in percent; empty where it was not measured."""
    measured = scores(conclusion.baseline).sets if conclusion.baseline else {}
    return {rate: score.rate for rate, score in measured.items() if score.rate is not None}


def _less(rate: float, other: float) -> float:
    """Return the difference of two rates without the noise of their last digits, by which it would
    be shown with other decimals than the change that is counted.
    """
    return round(rate - other, 9)


def _role_of(conclusion: Conclusion, number: int) -> Role:
    return "best" if conclusion.best and conclusion.best.number == number else "trial"


def _over_steps(folder: StudyFolder, conclusion: Conclusion, rate: str) -> Iterator[Chart]:
    series = tuple(
        Series(
            f"trial {result.number}",
            tuple((step, value, f"trial {result.number}, step {step:g}") for step, value in points),
            _role_of(conclusion, result.number),
            joined=True,
        )
        for result in conclusion.results
        if result.duplicate_of is None and (points := rate_by_step(folder, result, rate))
    )
    if not series:
        return
    known = untuned_rates(conclusion).get(rate)
    yield Chart(
        f"steps-{rate}",
        _capitalise_first(f"{rate_text(rate)} over steps"),
        "At the smallest adapter scale of each trial, the only one that is measured at every step. "
        "Below the line the model is better than untuned.",
        "optimizer step",
        f"{rate_text(rate)}, %",
        series,
        (("y", known, f"untuned: {known:.2f} %"),) if known is not None else (),
    )


def rate_by_step(
    folder: StudyFolder, result: TrialResult, rate: str
) -> tuple[tuple[float, float], ...]:
    """Return (step, rate in percent) of each evaluation at the trial's smallest adapter scale: before
    its last step it is measured at no other, and a curve over several would show a change of the
    scale as progress of the training.
    """
    rows = folder.read_measurements(result.number)
    smallest = min((row.adapter_scale for row in rows), default=None)
    own = {row.step: scores(row).sets for row in rows if row.adapter_scale == smallest}
    found = ((step, sets[rate].rate) for step, sets in sorted(own.items()) if rate in sets)
    return tuple((float(step), value) for step, value in found if value is not None)


def _importance_charts(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Chart]:
    rate = spec.objective
    own = [
        result
        for result in conclusion.results
        if result.duplicate_of is None and rate in result.wer
    ]
    shares: Mapping[str, float] = importances([r.params for r in own], [r.wer[rate] for r in own])
    if shares:
        few = f"From {len(own)} trials, which is little to go by. " if len(own) < 5 * FEWEST else ""
        yield Chart(
            "importance",
            "Which parameters mattered",
            f"{few}How much of the spread of {rate_text(rate)} each searched parameter explains by itself.",
            "share of the spread of ranks, %",
            "",
            tuple(Series(name, ((100 * share, 0.0, name),)) for name, share in shares.items()),
            bars=True,
        )


def _share_charts(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Chart]:
    best, rate = train_shares.best_by_share(spec, conclusion), spec.objective
    if len(best) > 1:
        points = tuple((100 * share, r.wer[rate], f"trial {r.number}") for share, r in best.items())
        yield Chart(
            "shares",
            _capitalise_first(f"{rate_text(rate)} over the share of data.train"),
            "Where the curve still falls, more recordings are likely to help.",
            "share of data.train, %",
            f"{rate_text(rate)}, %",
            (Series("best trial of each share", points, "best", joined=True),),
        )


def _capitalise_first(text: str) -> str:
    """Capitalise the first letter and leave the others, so that WER stays as it is."""
    return text[:1].upper() + text[1:]
