"""Write the generated parts of docs/why-it-plateaued.md: what was run, tables, figures. The prose
around them stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from _shared.old_way import OLD, OLD_FASTER, RIGHT, Recipe
from _shared.tables import markdown
from orchestrator.reporting.rendering.svg import (
    COLOURS,
    HEIGHT,
    MARGIN,
    WIDTH,
    axes_of,
    plot_frame,
    svg_element,
)
from orchestrator.scoring.bootstrap import DeltaEstimate, paired_delta

SETS = {"domain": "domain", "heldout": "held-out"}


@dataclass(frozen=True)
class Curve:
    """One line of a figure, by its name in the legend; points are (optimizer steps, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Evaluation:
    """The word errors of the evaluated sets after some optimizer steps."""

    updates: int
    """Optimizer steps taken so far."""
    errors: dict[str, list[int]]
    """Set -> word errors of each utterance."""
    words: dict[str, list[int]]
    """Set -> reference words of each utterance."""
    cut: dict[str, float]
    """Set -> share of decodes that reached their cap of tokens without an EOS."""

    def wer(self, name: str) -> float:
        """Corpus WER in percent."""
        return 100 * sum(self.errors[name]) / sum(self.words[name])

    def against(self, other: Evaluation, name: str) -> DeltaEstimate:
        """Estimate the WER of this evaluation minus that of the other, in points, with bounds from
        resampling utterances.
        """
        return paired_delta(other.errors[name], self.errors[name], self.words[name], None, seed=0)


@dataclass(frozen=True)
class Run:
    """One training, evaluated by one way of decoding."""

    recipe: Recipe
    steps: int
    """Steps as the recipe counts them, be it by micro-batches or by updates."""
    losses: list[float]
    """The loss of every optimizer step."""
    evaluations: list[Evaluation]
    """The first is of the untuned model, decoded in the same way."""

    @property
    def loss(self) -> tuple[float, float]:
        """The loss of the first step, and the mean loss over the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return self.losses[0], sum(last) / len(last)

    @property
    def loss_curve(self) -> Curve:
        """The curve of the loss, averaged over twentieths of the training."""
        size = max(1, len(self.losses) // 20)
        parts = [(at, self.losses[at : at + size]) for at in range(0, len(self.losses), size)]
        return Curve(
            self.recipe.name,
            tuple((at + len(part) / 2, sum(part) / len(part)) for at, part in parts),
        )

    def wer_curve(self, name: str) -> Curve:
        """The curve of a set's WER over the optimizer steps."""
        return Curve(self.recipe.name, tuple((e.updates, e.wer(name)) for e in self.evaluations))


@dataclass(frozen=True)
class Record:
    """All numbers of one run of benchmarks/plateau.py."""

    day: str
    machine: str
    versions: str
    minutes: float
    utterances: int
    trained: dict[str, int]
    runs: list[Run]

    @classmethod
    def of(cls, value: dict[str, Any]) -> Record:
        """Make a record from its parsed JSON."""
        runs = [
            Run(
                Recipe(**run["recipe"]),
                run["steps"],
                run["losses"],
                [Evaluation(**each) for each in run["evaluations"]],
            )
            for run in value["runs"]
        ]
        return cls(**{**value, "runs": runs})

    def named(self, name: str) -> Run:
        """Return the run of the recipe of this name."""
        return next(run for run in self.runs if run.recipe.name == name)

    @property
    def side_by_side(self) -> list[Run]:
        """The runs of the right way, the old one, the old one trained for longer, and the old one
        at the right learning rate.
        """
        longer = next(run for run in self.runs if run.steps != self.runs[0].steps)
        return [self.named(RIGHT.name), self.named(OLD.name), longer, self.named(OLD_FASTER.name)]

    @property
    def faults(self) -> list[Run]:
        """The runs that have one fault of the old way alone."""
        beside = [run.recipe.name for run in self.side_by_side]
        return [run for run in self.runs if run.recipe.name not in beside]


def write(page: Path, record: Record) -> None:
    """Rewrite the generated parts of `page` and the figures in `images/` beside it."""
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    right = record.named(RIGHT.name)
    figures = {}
    for part, runs in (("together", record.side_by_side), ("alone", [right, *record.faults])):
        figures[f"{part}-loss"] = drawing([run.loss_curve for run in runs], "training loss")
        for name, title in SETS.items():
            label = f"{title} WER, %"
            figures[f"{part}-{name}"] = drawing([run.wer_curve(name) for run in runs], label)
    for name, drawn in figures.items():
        (images / f"plateau-{name}.svg").write_text(drawn)
    text = page.read_text()
    for name, block in {
        "sizes": sizes(record),
        "together": outcome_table(record.side_by_side),
        "alone": outcome_table([right, *record.faults]),
        "costs": cost_table(right, [*record.faults, *record.side_by_side[1:]]),
    }.items():
        text = renewed(text, name, block)
    page.write_text(text)


def renewed(text: str, name: str, block: str) -> str:
    """Return the text of the page with the generated part `name` replaced by `block`. Raises
    ValueError where the page has no such part.
    """
    begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
    if not pattern.search(text):
        raise ValueError(f"the page has no part between {begin.strip()} and {end}")
    return pattern.sub(lambda _: begin + block + end, text)


def sizes(record: Record) -> str:
    """Return the paragraph that says what was run, where, and for how long."""
    first, trained = record.runs[0], record.trained
    return (
        f"{record.day}, {record.machine}, {record.versions}: {len(record.runs)} recipes of {first.steps} steps in "
        f"{record.minutes:.0f} minutes. "
        f"Trained on {trained['train']} domain and {trained['replay']} replay utterances, "
        f"evaluated on the first {record.utterances} of both confirm sets "
        f"({sum(first.evaluations[0].words['domain'])} and {sum(first.evaluations[0].words['heldout'])} words).\n"
    )


def outcome_table(runs: Sequence[Run]) -> str:
    """Return a table with a row per run: loss and WER before the first step and after the last."""
    head = [
        "recipe",
        "updates",
        "training loss",
        "domain WER, %",
        "change",
        "held-out WER, %",
        "change",
        "cut off, %",
    ]
    rows = []
    for run in runs:
        before, after = run.evaluations[0], run.evaluations[-1]
        cells = []
        for name in SETS:
            cells += [
                f"{before.wer(name):.1f} to {after.wer(name):.1f}",
                between(after.against(before, name)),
            ]
        cut = 100 * sum(after.cut.values()) / len(SETS)
        loss = "{:.2f} to {:.2f}".format(*run.loss)
        rows.append([run.recipe.name, f"{len(run.losses)}", loss, *cells, f"{cut:.0f}"])
    return markdown(head, rows)


def cost_table(right: Run, runs: Sequence[Run]) -> str:
    """Return a table of how many WER points worse than the right way each run ends, on the same
    utterances.
    """
    head = ["recipe", *(f"{title}, points worse than the right way" for title in SETS.values())]
    last = right.evaluations[-1]
    rows = [
        [run.recipe.name, *(between(run.evaluations[-1].against(last, name)) for name in SETS)]
        for run in runs
    ]
    return markdown(head, rows)


def between(estimate: DeltaEstimate) -> str:
    """Format a change with its one-sided bounds at 95 %."""
    return f"{estimate.point:+.1f} ({estimate.lower():+.1f} to {estimate.upper():+.1f})"


def drawing(lines: Sequence[Curve], label: str) -> str:
    """Return a figure over optimizer steps as an SVG file of its own, on white, a legend below."""
    # a plot's element has neither a namespace nor room for a legend: both are put into its head
    plain = svg_element(label, _curve_marks(lines, label)).removesuffix("</svg>")
    head, _, rest = plain.partition(">")
    head = head.replace(f"{WIDTH} {HEIGHT}", f"{WIDTH} {HEIGHT + 18 * len(lines) + 6}")
    head = head.replace(
        "<svg", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"', 1
    )
    legend = []
    for index, line in enumerate(lines):
        y, colour = HEIGHT + 18 * index + 4, COLOURS[index % len(COLOURS)]
        legend.append(f'<path d="M{MARGIN},{y} h24" stroke="{colour}" stroke-width="3"/>')
        legend.append(f'<text x="{MARGIN + 32}" y="{y + 4}">{escape(line.name)}</text>')
    return f'{head}><rect width="100%" height="100%" fill="white"/>{rest}{"".join(legend)}</svg>\n'


def _curve_marks(lines: Sequence[Curve], label: str) -> list[str]:
    points = [point for line in lines for point in line.points]
    x, y = axes_of([0.0, *(step for step, _ in points)], [value for _, value in points])
    marks = [plot_frame(x, y, "optimizer step", label)]
    for index, line in enumerate(lines):
        path = " ".join(f"{x.at(step)},{y.at(value)}" for step, value in line.points)
        colour = COLOURS[index % len(COLOURS)]
        marks.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5">'
            f"<title>{escape(line.name)}</title></polyline>"
        )
    return marks
