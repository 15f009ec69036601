"""Limits, numbers and their bounds in words: what was asked, what was measured, what the data
prove.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from orchestrator.records.results import TrialResult
from orchestrator.scoring.judge import Verdict, set_name
from orchestrator.scoring.limit_text import asked_text, is_share_found, rate_text
from orchestrator.scoring.limits import Evidence, LimitVerdict
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.judging import acceptance_of, guardrails_of


def literal(limit: LimitVerdict) -> str:
    """The literal answer."""
    return {True: "yes", False: "no", None: "not measured"}[limit.holds]


def proof(limit: LimitVerdict) -> str:
    """What the data say beyond the point estimate."""
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
    return f"undecided{gain}; about {limit.utterances_needed} utterances would decide"


def bounds(limit: LimitVerdict) -> str:
    """The one-sided 95 % bounds of what the limit is compared with; of recall and precision, of
    their change.
    """
    if not (isfinite(limit.lower) and isfinite(limit.upper)):
        return "-"
    lower, upper = limit.lower, limit.upper
    if is_share_found(limit.criterion.metric):
        lower, upper = -upper, -lower
    if limit.criterion.kind == "max_rate":
        return f"{lower:.2f} to {upper:.2f}" + (
            " %" if limit.criterion.unit == "points" else " times"
        )
    return f"{lower:+.2f} to {upper:+.2f}" + (" %" if limit.criterion.unit == "percent" else "")


def change(limit: LimitVerdict) -> str:
    """What became of the rate: in points, in percent of the baseline where the limit asks so."""
    if limit.criterion.unit == "percent" and limit.value is not None:
        return f"{limit.value:+.1f} %"
    if (
        limit.criterion.metric == "train_loss"
        and limit.baseline is not None
        and limit.tuned is not None
    ):
        return f"{limit.tuned - limit.baseline:+.3f} nats"
    return shown_points(limit.criterion.metric, limit.delta)


def shown_percent(rate: str, value: float | None) -> str:
    """A rate in percent as people say it: what is missed of terms, as what is found of them."""
    if value is not None and is_share_found(rate):
        value = 100 - value
    return percent(value)


def shown_points(rate: str, value: float | None) -> str:
    """A change of a rate in points, turned round with `shown_percent`."""
    if value is not None and is_share_found(rate):
        value = -value
    return points(value)


def rates_of(spec: SweepSpec) -> tuple[str, ...]:
    """The rates that tables show, as measurements name them: WER of every set, then what else a
    limit names.
    """
    names = [*spec.data.evaluated, spec.objective]
    for criterion in (*guardrails_of(spec), *acceptance_of(spec)):
        if criterion.metric != TRAIN_LOSS:
            names += [set_name(metric, False) for metric in criterion.among or (criterion.metric,)]
    return tuple(dict.fromkeys(names))


def rate_heading(rate: str) -> str:
    """A rate as the heading of a column: the WER of a set is named by the set."""
    return rate_text(rate).removesuffix(" WER").replace("heldout", "held-out")


def points(value: float | None) -> str:
    """WER points with their sign."""
    return "-" if value is None else f"{value:+.2f}"


def percent(value: float | None) -> str:
    """WER in percent."""
    return "-" if value is None else f"{value:.2f}"


def params_text(params: Mapping[str, Any]) -> str:
    """Searched values on one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in params.items()) or "-"


def value_text(value: Any) -> str:
    """Numbers short, words as they are."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def search_time_text(seconds: float | None, limit: float | None) -> str:
    """The time of the search in all runs, without the confirmation, and the limit that the sweep
    file sets it.
    """
    allowed = f" (it may take {duration_text(limit)})" if limit is not None else ""
    return f"{duration_text(seconds)} of search spent{allowed}"


def duration_text(seconds: float | None) -> str:
    """Hours, minutes and seconds; a dash for what is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def relative_to(path: str, root: Path) -> str:
    """A path below `root` from there on; any other one, and what is no path, as it is."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def limit_row(limit: LimitVerdict) -> tuple[str, ...]:
    """One row of a table of limits, under `LIMIT_COLUMNS`."""
    return (
        asked_text(limit.criterion),
        _rate_cell(limit, limit.baseline),
        _rate_cell(limit, limit.tuned),
        change(limit),
        literal(limit),
        bounds(limit),
        proof(limit),
    )


def _rate_cell(limit: LimitVerdict, value: float | None) -> str:
    if limit.criterion.metric == TRAIN_LOSS:
        return "-" if value is None else f"{value:.3f} nats"
    return shown_percent(limit.criterion.metric, value)


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
    """Acceptance criteria, then guardrails that none of them asks about."""
    asked = {limit.criterion.question for limit in verdict.acceptance}
    return (
        *verdict.acceptance,
        *(limit for limit in verdict.guardrails if limit.criterion.question not in asked),
    )


def delta_text(result: TrialResult, rate: str) -> str:
    """A rate and its change, of a result."""
    name = confirm_name(rate, result.number < 0)
    if name not in result.wer:
        return "-"
    return f"{shown_percent(rate, result.wer[name])} ({shown_points(rate, result.delta.get(name))})"


def plotted_limits(spec: SweepSpec) -> tuple[float | None, float | None]:
    """The gain asked of the domain and the rise allowed on held-out speech in points, where the
    file says both so.
    """
    gain, rise = spec.acceptance.get("domain_wer"), spec.guardrails.get("heldout_wer")
    asked = (gain.min_gain if gain else None), (rise.max_regression if rise else None)
    first, second = (value if isinstance(value, float) else None for value in asked)
    return first, second
