"""Wording of limits, numbers and bounds in reports: what was asked, what was measured, what the
data prove.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.scoring.judge import Verdict, rate_name
from orchestrator.scoring.limit_text import (
    asked_text,
    decimals_of,
    decimals_of_bounds,
    enough_decimals,
    rate_text,
    shown_bounds,
    shown_change,
    shown_rate,
)
from orchestrator.scoring.limits import Criterion, Evidence, Kind, LimitVerdict
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import acceptance_of, guardrails_of, scores


def literal(limit: LimitVerdict) -> str:
    """Say whether a limit holds literally."""
    return {True: "yes", False: "no", None: "not measured"}[limit.holds]


def proof(limit: LimitVerdict) -> str:
    """Say what the data prove about a limit, beyond the measured value."""
    if limit.holds is None:
        return "nothing was measured"
    if limit.evidence is Evidence.PROVEN:
        return "proven at 95 %"
    if limit.evidence is Evidence.VIOLATED:
        return "the opposite is proven at 95 %"
    if limit.criterion.metric == TRAIN_LOSS:
        return "undecided: the rungs prove no trend"
    if not (isfinite(limit.lower) and isfinite(limit.upper)):
        return "undecided: a set like this has no bounds"
    if limit.utterances_needed is None:
        return "undecided, at the limit"
    gain = (
        ", though a gain is shown"
        if limit.criterion.kind == "min_gain" and limit.gain_significant
        else ""
    )
    return f"undecided{gain}; about {utterances_text(limit.utterances_needed)} would decide"


def counted(count: int, noun: str) -> str:
    """Return so many of a thing in words, such as "1 trial" and "3 trials"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def utterances_text(count: int, set_name: str = "") -> str:
    """Return so many utterances in words, such as "1 utterance" and "500 heldout utterances"."""
    return counted(count, f"{set_name} utterance".lstrip())


def bounds(limit: LimitVerdict) -> str:
    """Return the one-sided bounds of the number that the limit is compared with. Those of term
    recall and precision are reversed, as they are shown as shares that are found.
    """
    if not (isfinite(limit.lower) and isfinite(limit.upper)):
        return "-"
    lower, upper = shown_bounds(limit.criterion.metric, limit.lower, limit.upper)
    decimals = decimals_of_bounds(limit)
    if limit.criterion.kind == "max_rate":
        unit = " %" if limit.criterion.unit == "points" else " times"
        return f"{lower:z.{decimals}f} to {upper:z.{decimals}f}{unit}"
    unit = " %" if limit.criterion.unit == "percent" else ""
    return change_bounds(lower, upper, decimals) + unit


def change_bounds(lower: float, upper: float, decimals: int = 2) -> str:
    """Format the bounds of a change; a dash where there are none, as of a set of one utterance."""
    if not (isfinite(lower) and isfinite(upper)):
        return "-"
    return f"{lower:+z.{decimals}f} to {upper:+z.{decimals}f}"


def change(limit: LimitVerdict) -> str:
    """Return the change of the rate: in points, or in percent of the baseline where the limit is in
    percent, or in nats for the training loss. Beside it stands the multiple of the baseline where
    the limit is on that.
    """
    if limit.criterion.unit == "percent" and limit.value is not None:
        return f"{limit.value:+z.{decimals_of(limit)}f} %"
    if (
        limit.criterion.metric == "train_loss"
        and limit.baseline is not None
        and limit.tuned is not None
    ):
        return f"{limit.tuned - limit.baseline:+z.3f} nats"
    # the points are what is compared only where the limit is on a change in points
    is_compared = limit.criterion.unit == "points" and limit.criterion.kind != "max_rate"
    decimals = decimals_of(limit) if is_compared else 2
    text = shown_points(limit.criterion.metric, limit.delta, decimals)
    if limit.criterion.unit == "times" and limit.value is not None:
        return f"{text}, {limit.value:.{decimals_of(limit)}f} times"
    return text


def shown_percent(rate: str, value: float | None, decimals: int = 2) -> str:
    """Return a rate in percent as it is shown. Term recall and precision are measured as shares
    that are missed, and shown as shares that are found.
    """
    return percent(None if value is None else shown_rate(rate, value), decimals)


def shown_points(rate: str, value: float | None, decimals: int = 2) -> str:
    """Return a change of a rate in points, with the sign reversed where `shown_percent` shows the
    complement.
    """
    return points(None if value is None else shown_change(rate, value), decimals)


def beside_answer(
    limits: Sequence[Criterion], rate: str, value: float | None, change: float | None
) -> tuple[str, str]:
    """Return a rate of the search and its change as they are shown beside an answer whether `limits`
    are kept: with more than two decimals where rounded they would give another answer.
    """
    own = [
        limit
        for limit in limits
        if limit.unit == "points"
        and limit.metric != TRAIN_LOSS
        and rate in {rate_name(metric, False) for metric in limit.among or (limit.metric,)}
    ]
    of_rate = [limit.keeps for limit in own if limit.kind == "max_rate"]
    of_change = [limit.keeps for limit in own if limit.kind != "max_rate"]
    decimals = [
        2 if number is None else enough_decimals(2, *((number, keeps) for keeps in asked))
        for number, asked in ((value, of_rate), (change, of_change))
    ]
    return shown_percent(rate, value, decimals[0]), shown_points(rate, change, decimals[1])


def shown_result(result: TrialResult) -> dict[str, Any]:
    """Return a result as JSON values for other programs, with its rates and changes as they are
    shown.
    """
    rates = {rate: shown_rate(rate, value) for rate, value in result.wer.items()}
    changes = {rate: shown_change(rate, value) for rate, value in result.delta.items()}
    return result.model_dump(mode="json") | {"wer": rates, "delta": changes}


def rates_of(spec: SweepSpec) -> tuple[str, ...]:
    """Return the rates that tables show, by the names that measurements use: the WER of every set,
    the objective, and the rates that limits name.
    """
    return tuple(dict.fromkeys([*spec.data.evaluated, spec.objective, *rates_of_limits(spec)]))


def rates_of_limits(spec: SweepSpec) -> tuple[str, ...]:
    """Return the rates that guardrails and acceptance name."""
    names: list[str] = []
    for criterion in (*guardrails_of(spec), *acceptance_of(spec)):
        if criterion.metric != TRAIN_LOSS:
            names += [rate_name(metric, False) for metric in criterion.among or (criterion.metric,)]
    return tuple(dict.fromkeys(names))


def all_rates(measurement: Measurement) -> dict[str, float]:
    """Return all rates of a measurement in percent as they are shown, by the names that results
    use.
    """
    return {
        rate: shown_rate(rate, score.rate)
        for rate, score in scores(measurement).sets.items()
        if score.rate is not None
    }


def unit_text(only_wer: bool) -> str:
    """Say in what the numbers of a table of rates are, which are all WERs or of several kinds."""
    if only_wer:
        return "WER in percent, changes in WER points"
    return "rates in percent, changes in points"


def rate_heading(rate: str) -> str:
    """Return the heading of a rate's column; a WER is named by its set alone."""
    return rate_text(rate).removesuffix(" WER").replace("heldout", "held-out")


def points(value: float | None, decimals: int = 2) -> str:
    """Format points with their sign; a dash for None."""
    return "-" if value is None else f"{value:+z.{decimals}f}"


def percent(value: float | None, decimals: int = 2) -> str:
    """Format a rate in percent; a dash for None."""
    return "-" if value is None else f"{value:.{decimals}f}"


def params_text(params: Mapping[str, Any]) -> str:
    """Format the values of parameters in one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items()) or "-"


def value_text(value: Any) -> str:
    """Format a value: floats with six digits, everything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def ended_text(ended: int, wanted: int, said: str = "") -> str:
    """Return how many trials of the budget have ended, followed by what is `said` of them. The
    budget may have been lowered since.
    """
    said = f" {said}" if said else ""
    if ended <= wanted:
        return f"{ended} of {wanted}{said}"
    return f"{ended}{said}, where budget.trials is {wanted} by now"


def search_time_text(seconds: float | None, limit: float | None) -> str:
    """Say how long the search has taken in all runs, without the confirmation, and the limit that
    the sweep file sets.
    """
    allowed = f" (it may take {duration_text(limit)})" if limit is not None else ""
    return f"{duration_text(seconds)} of search spent{allowed}"


def duration_text(seconds: float | None) -> str:
    """Format seconds as hours and minutes, or minutes and seconds; a dash for None."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def relative_to(path: str, root: Path) -> str:
    """Return a path below `root` relative to it; any other text, such as a hub id, as it is."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def limit_row(limit: LimitVerdict) -> tuple[str, ...]:
    """Return the row of a limit, in the order of `LIMIT_COLUMNS`."""
    return (
        asked_text(limit.criterion),
        *rate_cells(limit),
        change(limit),
        literal(limit),
        bounds(limit),
        proof(limit),
    )


def rate_cells(limit: LimitVerdict) -> tuple[str, str]:
    """Format the rate of the untuned and of the tuned model that a limit is on."""
    metric, before, after = limit.criterion.metric, limit.baseline, limit.tuned
    if metric == TRAIN_LOSS:
        first, last = ("-" if loss is None else f"{loss:.3f} nats" for loss in (before, after))
        return first, last
    is_compared = limit.criterion.kind == "max_rate" and limit.criterion.unit == "points"
    decimals = decimals_of(limit) if is_compared else 2
    return shown_percent(metric, before), shown_percent(metric, after, decimals)


LIMIT_COLUMNS = (
    "limit",
    "baseline %",
    "tuned %",
    "change",
    "holds",
    "95 % bounds of the change",
    "the data",
)


def limits_of(verdict: Verdict) -> tuple[LimitVerdict, ...]:
    """Return the acceptance criteria, then the guardrails that ask something else than those."""
    asked = {limit.criterion.question for limit in verdict.acceptance}
    return (
        *verdict.acceptance,
        *(limit for limit in verdict.guardrails if limit.criterion.question not in asked),
    )


def delta_text(result: TrialResult, rate: str) -> str:
    """Format a rate of a result with its change; a dash where it was not measured."""
    name = confirm_name(rate, result.number < 0)
    if name not in result.wer:
        return "-"
    return f"{shown_percent(rate, result.wer[name])} ({shown_points(rate, result.delta.get(name))})"


def plotted_rates(spec: SweepSpec) -> tuple[str, str]:
    """Return the two rates of the plots of gain against regression: the objective, and the same kind
    of rate of the held-out set, or its other kind where only that has a limit.
    """
    heldout = spec.objective.replace("domain", "heldout", 1)
    limited = [rate for rate in rates_of_limits(spec) if rate in ("heldout", "heldout_cer")]
    return spec.objective, heldout if heldout in limited or not limited else limited[0]


def plotted_limits(spec: SweepSpec) -> tuple[float | None, float | None]:
    """Return the gain asked of the first of `plotted_rates` and the regression allowed of the
    second, in points; None for one that the file does not set, or sets in percent. A gain that
    acceptance asks for goes before that of a guardrail; of regressions it is the other way round.
    """
    gain, rise = plotted_rates(spec)
    asked, kept = acceptance_of(spec), guardrails_of(spec)
    return (
        _limit_in_points((*asked, *kept), "min_gain", gain),
        _limit_in_points((*kept, *asked), "max_regression", rise),
    )


def _limit_in_points(limits: Sequence[Criterion], kind: Kind, rate: str) -> float | None:
    values = (
        each.limit
        for each in limits
        if (each.kind, each.unit) == (kind, "points") and rate_name(each.metric, False) == rate
    )
    return next(values, None)
