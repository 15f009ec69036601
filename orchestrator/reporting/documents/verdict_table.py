"""The table of a verdict: its limits, or where the sweep has none the rates; and its units."""

from __future__ import annotations

from orchestrator.reporting.rendering.report_blocks import Table
from orchestrator.reporting.wording import (
    LIMIT_COLUMNS,
    limit_row,
    limits_of,
    shown_percent,
    shown_points,
    unit_text,
)
from orchestrator.scoring.judge import Verdict
from orchestrator.scoring.limit_text import rate_text
from orchestrator.set_names import is_wer


def verdict_table(verdict: Verdict) -> Table:
    """Return a row for each limit; without limits one for each rate that was measured."""
    if limits := limits_of(verdict):
        return Table(LIMIT_COLUMNS, tuple(map(limit_row, limits)))
    rows = (
        (rate_text(rate), shown_percent(rate, value), shown_points(rate, verdict.delta.get(rate)))
        for rate, value in verdict.rates.items()
    )
    return Table(("rate", "%", "change"), tuple(rows))


def units_of_table(verdict: Verdict) -> str:
    """Say in what the numbers of a verdict's table are."""
    limits = [limit.criterion.metric.endswith("_wer") for limit in limits_of(verdict)]
    return unit_text(all(limits or map(is_wer, verdict.rates)))
