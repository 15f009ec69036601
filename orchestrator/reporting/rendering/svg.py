"""A plot as SVG without scripts: gain against regression with the limits, for a model card. Its axes
and frame also serve the figures of benchmarks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

from orchestrator.reporting.rendering.escape import html_text

WIDTH, HEIGHT, MARGIN = 640, 360, 56
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which colour-blind readers can tell apart."""


Kind = Literal["this", "good", "broken"]
_MARKS: dict[Kind, tuple[str, str, str]] = {
    "this": ("★", COLOURS[0], "this model"),
    "good": ("●", COLOURS[2], "keeps the guardrails"),
    "broken": ("×", COLOURS[1], "does not keep them"),
}
"""Sign, colour and meaning of each kind of point."""


@dataclass(frozen=True)
class Point:
    """One point of a scatter plot; `label` is its tooltip."""

    x: float
    y: float
    label: str
    kind: Kind


@dataclass(frozen=True)
class Axis:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return round(
            self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1
        )

    @property
    def ticks(self) -> tuple[float, ...]:
        """About five round values within the axis."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** floor(log10(rough))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
        first = floor(self.low / step) + 1
        return tuple(round(i * step, 10) for i in range(first, first + 12) if i * step < self.high)


def scatter_plot(
    points: Sequence[Point],
    min_gain: float | None,
    max_regression: float | None,
    labels: tuple[str, str],
) -> str:
    """Plot held-out regression (x) against domain gain (y), both in points, with the limits as dashed
    lines and `labels` at the axes. Return the content of an SVG file; empty without points.
    """
    if not points:
        return ""
    x, y = axes_of(
        [p.x for p in points] + [max_regression or 0.0, 0.0],
        [p.y for p in points] + [min_gain or 0.0, 0.0],
    )
    marks = [plot_frame(x, y, *labels)]
    if max_regression is not None:
        at, text = x.at(max_regression), f"allowed: less than {max_regression:g}"
        marks.append(_line(at, y.start, at, y.end))
        # on that side of the line on which there is more room
        left = at > (x.start + x.end) / 2
        beside, anchor = (at - 4, "end") if left else (at + 4, "start")
        marks.append(_text_element(beside, y.end + 10, text, anchor))
    if min_gain is not None:
        marks.append(_line(x.start, y.at(min_gain), x.end, y.at(min_gain)))
        marks.append(_text_element(x.end, y.at(min_gain) - 4, f"asked for: {min_gain:g}", "end"))
    # the model of the card is drawn last, so that no other mark hides it
    marks += [
        _point_mark(x.at(p.x), y.at(p.y), p) for p in sorted(points, key=lambda p: p.kind == "this")
    ]
    return _file(
        svg_element("Gain against regression", [*marks, _legend_marks({p.kind for p in points})])
    )


def _point_mark(x: float, y: float, point: Point) -> str:
    sign, colour, _ = _MARKS[point.kind]
    size = 22 if point.kind == "this" else 16
    tip = f"<title>{html_text(point.label)}</title>"
    where = f'x="{x}" y="{round(y + size / 3, 1)}" font-size="{size}" text-anchor="middle"'
    return f'<text class="mark" {where} fill="{colour}">{sign}{tip}</text>'


def _legend_marks(kinds: Collection[Kind]) -> str:
    shown = [(sign, colour, said) for kind, (sign, colour, said) in _MARKS.items() if kind in kinds]
    words = "   ".join(
        f'<tspan fill="{colour}">{sign}</tspan><tspan fill="currentColor"> {said}</tspan>'
        for sign, colour, said in shown
    )
    return f'<text x="{WIDTH - 12}" y="{HEIGHT - 2}" text-anchor="end" xml:space="preserve">{words}</text>'


def axes_of(xs: Iterable[float], ys: Iterable[float]) -> tuple[Axis, Axis]:
    """Return the axes that hold these values, with some room beyond them."""
    return _axis_of(xs, MARGIN, WIDTH - 12), _axis_of(ys, HEIGHT - MARGIN, 12)


def _axis_of(values: Iterable[float], start: float, end: float) -> Axis:
    values = list(values)
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or 1.0
    return Axis(low - pad, high + pad, start, end)


def plot_frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    """Return the lines of the axes, with their ticks and labels."""
    parts = [
        f'<path d="M{x.start},{y.end} V{y.start} H{x.end}" fill="none" stroke="currentColor"/>'
    ]
    for tick in x.ticks:
        parts.append(_text_element(x.at(tick), y.start + 16, f"{tick:g}"))
    for tick in y.ticks:
        parts.append(_text_element(x.start - 22, y.at(tick) + 4, f"{tick:g}"))
    parts.append(_text_element((x.start + x.end) / 2, HEIGHT - 14, x_label))
    middle = (y.start + y.end) / 2
    turned = f'transform="rotate(-90 14 {middle})"'
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" {turned}>{html_text(y_label)}</text>'
    )
    return "".join(parts)


def _text_element(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html_text(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-dasharray="5 4" opacity="0.6"/>'


def svg_element(title: str, marks: Sequence[str]) -> str:
    """Return the `<svg>` element of a plot from what is drawn in it."""
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html_text(title)}" font-size="12">'
    return head + "".join(marks) + "</svg>"


def _file(svg: str) -> str:
    """Make a stand-alone SVG file of an SVG element, on a white background."""
    head, rest = svg.split(">", 1)
    head = head.replace(
        "<svg", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" color="#222"', 1
    )
    marks = f'<rect width="100%" height="100%" fill="white"/><g fill="#222">{rest.removesuffix("</svg>")}</g>'
    return f"{head}>{marks}</svg>\n"
