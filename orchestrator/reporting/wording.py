"""Limits, numbers and their bounds in words: what was asked, what was measured, what the data prove."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from orchestrator.records.results import TrialResult
from orchestrator.scoring.judge import Verdict, set_name
from orchestrator.scoring.limits import Criterion, Evidence, LimitVerdict


def asked(criterion: Criterion) -> str:
    """A limit as a person would say it."""
    name = criterion.metric.removesuffix("_wer")
    if criterion.kind == "min_gain":
        return f"{name} WER falls by at least {criterion.limit:g} points"
    return f"{name} WER rises by less than {criterion.limit:g} points"


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
    if limit.utterances_needed is None:
        return "undecided, at the limit"
    gain = ", though a gain is shown" if limit.criterion.kind == "min_gain" and limit.shown else ""
    return f"undecided{gain}; about {limit.utterances_needed} utterances would decide"


def bounds(limit: LimitVerdict) -> str:
    """The one-sided 95 % bounds of the delta."""
    if not (isfinite(limit.lower) and isfinite(limit.upper)):
        return "-"
    return f"{limit.lower:+.2f} to {limit.upper:+.2f}"


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


def relative_to(path: str, root: Path) -> str:
    """A path below `root` from there on; any other one, and what is no path, as it is."""
    return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path


def limit_row(limit: LimitVerdict) -> tuple[str, ...]:
    """One row of a table of limits, under `LIMIT_COLUMNS`."""
    return (
        asked(limit.criterion),
        percent(limit.baseline),
        percent(limit.tuned),
        points(limit.delta),
        literal(limit),
        bounds(limit),
        proof(limit),
    )


LIMIT_COLUMNS = ("limit", "baseline %", "tuned %", "change", "holds", "95 % bounds of the change", "the data")


def limits_of(verdict: Verdict) -> tuple[LimitVerdict, ...]:
    """Acceptance criteria, then guardrails that none of them asks about."""
    asked = {limit.criterion.question for limit in verdict.acceptance}
    return (*verdict.acceptance, *(limit for limit in verdict.guardrails if limit.criterion.question not in asked))


def delta_text(result: TrialResult, metric: str) -> str:
    """WER and change of one metric of a result."""
    name = set_name(metric, confirmed=result.number < 0)
    if name not in result.wer:
        return "-"
    return f"{percent(result.wer[name])} ({points(result.delta.get(name))})"
