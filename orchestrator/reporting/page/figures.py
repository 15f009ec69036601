"""The plots of a study as plotly figures in JSON, for Optuna's dashboard."""

from __future__ import annotations

from typing import Any

from orchestrator.reporting.page.charts import Chart, Series
from orchestrator.reporting.rendering.escape import html_text

_SOLID, _FAINT = {"width": 3}, {"width": 1}


def figure(chart: Chart) -> dict[str, Any]:
    """Return the data and layout of a figure; for a chart with several views, the first one. Texts
    are escaped, because plotly interprets tags.
    """
    first = chart.views[0][0] if chart.views else ""
    series = [each for each in chart.series if each.view in ("", first)]
    bars = [_bar_trace(each) for each in series] if chart.bars else []
    lines = [] if chart.bars else [_point_trace(each) for each in series]
    return {"data": [*bars, *lines], "layout": _chart_layout(chart)}


def _point_trace(series: Series) -> dict[str, Any]:
    x, y, texts = zip(*series.points, strict=True) if series.points else ((), (), ())
    return {
        "type": "scatter",
        "mode": "lines+markers" if series.joined else "markers",
        "name": html_text(series.name),
        "x": list(x),
        "y": list(y),
        "text": [html_text(text) for text in texts],
        "line": _SOLID if series.role == "best" else _FAINT,
    }


def _bar_trace(series: Series) -> dict[str, Any]:
    name = html_text(series.name)
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [point[0] for point in series.points],
        "y": [name for _ in series.points],
    }


def _chart_layout(chart: Chart) -> dict[str, Any]:
    marks = [_limit_line(axis, value, text) for axis, value, text in chart.limits]
    return {
        "title": {"text": html_text(chart.title)},
        "xaxis": {"title": {"text": html_text(chart.x)}},
        "yaxis": {"title": {"text": html_text(chart.y)}},
        "shapes": [shape for shape, _ in marks],
        "annotations": [annotation for _, annotation in marks],
    }


def _limit_line(axis: str, value: float, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a line across the plot, and the annotation at its end."""
    other = "y" if axis == "x" else "x"
    line = {
        "type": "line", "line": {"dash": "dash", "width": 1}, f"{axis}0": value, f"{axis}1": value,
        f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain",
    }  # fmt: skip
    words = {
        "text": html_text(text), "showarrow": False, axis: value, other: 1,
        f"{other}ref": f"{other} domain", f"{axis}anchor": "left" if axis == "x" else "bottom",
        f"{other}anchor": "right" if axis == "y" else "top",
    }  # fmt: skip
    return line, words
