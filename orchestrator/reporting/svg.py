"""Two plots as inline SVG: gain against regression with the limits, and WER over steps. No script,
no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

from orchestrator.reporting.escape import html_text

WIDTH, HEIGHT, MARGIN = 640, 360, 56
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, told apart by colour-blind readers."""


@dataclass(frozen=True)
class Point:
    """One dot; `label` is its tooltip."""

    x: float
    y: float
    label: str
    good: bool


@dataclass(frozen=True)
class Curve:
    """One polyline."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Axis:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value."""
        return round(
            self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1
        )

    @property
    def ticks(self) -> tuple[float, ...]:
        """About five round values."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
        first = floor(self.low / step) + 1
        return tuple(round(i * step, 10) for i in range(first, first + 12) if i * step < self.high)


def scatter(
    points: Sequence[Point],
    min_gain: float | None,
    max_regression: float | None,
    paths: Sequence[Curve] = (),
) -> str:
    """Held-out regression (x) against domain gain (y), both in WER points; limits as dashed lines.

    `paths` join dots that belong together.
    """
    if not points:
        return ""
    x, y = _axes(
        [p.x for p in points] + [max_regression or 0.0, 0.0],
        [p.y for p in points] + [min_gain or 0.0, 0.0],
    )
    marks = [_frame(x, y, "held-out regression, WER points", "domain gain, WER points")]
    if max_regression is not None:
        marks.append(_line(x.at(max_regression), y.start, x.at(max_regression), y.end))
    if min_gain is not None:
        marks.append(_line(x.start, y.at(min_gain), x.end, y.at(min_gain)))
    for path in paths:
        corners = " ".join(f"{x.at(a)},{y.at(b)}" for a, b in path.points)
        tip = f"<title>{html_text(path.name)}</title>"
        marks.append(
            f'<polyline points="{corners}" fill="none" stroke="{COLOURS[6]}">{tip}</polyline>'
        )
    for point in points:
        colour = COLOURS[2] if point.good else COLOURS[1]
        where = f'cx="{x.at(point.x)}" cy="{y.at(point.y)}"'
        tip = f"<title>{html_text(point.label)}</title>"
        marks.append(f'<circle {where} r="4" fill="{colour}" fill-opacity="0.75">{tip}</circle>')
    return _svg("Gain against regression", marks)


def curves(lines: Sequence[Curve], baseline: float | None, label: str) -> str:
    """WER in percent over optimizer steps, a polyline per trial; the baseline dashed."""
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    everything = [point for line in lines for point in line.points]
    extra = [] if baseline is None else [baseline]
    x, y = _axes([0.0, *(p[0] for p in everything)], [*(p[1] for p in everything), *extra])
    marks = [_frame(x, y, "optimizer step", label)]
    if baseline is not None:
        marks.append(_line(x.start, y.at(baseline), x.end, y.at(baseline)))
    for index, line in enumerate(lines):
        path = " ".join(f"{x.at(px)},{y.at(py)}" for px, py in line.points)
        colour = COLOURS[index % len(COLOURS)]
        tip = f"<title>{html_text(line.name)}</title>"
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5">{tip}</polyline>'
        )
    return _svg(label, marks)


def _axes(xs: Iterable[float], ys: Iterable[float]) -> tuple[Axis, Axis]:
    return _axis(xs, MARGIN, WIDTH - 12), _axis(ys, HEIGHT - MARGIN, 12)


def _axis(values: Iterable[float], start: float, end: float) -> Axis:
    values = list(values)
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or 1.0
    return Axis(low - pad, high + pad, start, end)


def _frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    parts = [
        f'<path d="M{x.start},{y.end} V{y.start} H{x.end}" fill="none" stroke="currentColor"/>'
    ]
    for tick in x.ticks:
        parts.append(_text(x.at(tick), y.start + 16, f"{tick:g}"))
    for tick in y.ticks:
        parts.append(_text(x.start - 22, y.at(tick) + 4, f"{tick:g}"))
    parts.append(_text((x.start + x.end) / 2, HEIGHT - 14, x_label))
    middle = (y.start + y.end) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" {turned}>{html_text(y_label)}</text>'
    )
    return "".join(parts)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{html_text(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-dasharray="5 4" opacity="0.6"/>'


def _svg(title: str, marks: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html_text(title)}" font-size="12">'
    return head + "".join(marks) + "</svg>"
