"""The output of `orchestrate compare`: studies or trials side by side, as a document and
as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from orchestrator.reporting.documents.transcripts import NOTHING
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import (
    change_bounds,
    delta_text,
    duration_text,
    rate_heading,
    rates_of,
    shown_percent,
    shown_points,
    shown_result,
    value_text,
)
from orchestrator.scoring.judge import Decision
from orchestrator.scoring.limit_text import (
    enough_decimals,
    rate_text,
    shown_bounds,
    shown_change,
    shown_rate,
)
from orchestrator.set_names import search_name
from orchestrator.sweepfile.spec_changes import changed_fields
from orchestrator.verdicts.comparability import ChangedUtterance, Difference, Pair, Side

_LONGEST = 60


def build(sides: Sequence[Side], pairs: Sequence[Pair], shown: int) -> Document:
    """Build the document. `pairs` compare the first side with each other one; at most `shown`
    utterances that became worse, and as many that became better, are listed for each.
    """
    blocks: list[Block] = [Heading("Side by side"), _overview_table(sides)]
    blocks += _file_blocks(sides)
    blocks += _parameter_blocks(sides)
    for pair in pairs:
        blocks += _difference_blocks(pair)
        blocks += _utterance_blocks(pair, shown)
    title = " and ".join(side.label for side in sides)
    return Document(f"Comparison of {title}", "; ".join(map(_pair_headline, pairs)), tuple(blocks))


def _pair_headline(pair: Pair) -> str:
    return f"{pair.after.label} against {pair.before.label}: {_difference_text(_deciding_difference(pair))}"


def _deciding_difference(pair: Pair) -> Difference:
    """Return the difference for the headline: that of the objective, on the confirm sets where both
    sides have it there; where the objective cannot be compared, the last one there is.
    """
    objective = pair.before.spec.objective
    own = [d for d in pair.differences if search_name(d.rate) == objective]
    return (own or pair.differences)[-1]


def _difference_text(difference: Difference) -> str:
    points = shown_points(difference.rate, difference.estimate.point)
    where = "on the confirm set" if difference.stage == "confirm" else "on the set of the search"
    return f"{rate_text(difference.rate)} {points} points {where}, {_difference_answer(difference)}"


def _difference_answer(difference: Difference) -> str:
    lower, upper = difference.bounds
    if upper < 0:
        return "better at 95 %"
    return "worse at 95 %" if lower > 0 else "undecided"


def _overview_table(sides: Sequence[Side]) -> Table:
    rates = tuple(dict.fromkeys(rate for side in sides for rate in rates_of(side.spec)))
    rows = {
        "study": [side.folder.name for side in sides],
        "verdict of the study": [str(_decision_of(side) or "-") for side in sides],
        "its best trial": [_trial_number(side) for side in sides],
        "trials ended": [str(len(side.conclusion.results)) for side in sides],
        "time of the search": [duration_text(side.folder.seconds_spent()) for side in sides],
        "trial compared": [str(side.result.number) for side in sides],
        "state": [str(side.result.state) for side in sides],
        "step": [str(side.result.step) for side in sides],
        "adapter scale": [value_text(side.result.adapter_scale) for side in sides],
        "confirmed with": [_confirmation_text(side) for side in sides],
    }
    changes = {
        f"{rate_heading(rate)} % (change)": [delta_text(s.result, rate) for s in sides]
        for rate in rates
    }
    return _sides_table("", sides, rows | changes)


def _decision_of(side: Side) -> Decision | None:
    return side.conclusion.shown_decision(side.done)


def _trial_number(side: Side) -> str:
    return "-" if side.conclusion.best is None else str(side.conclusion.best.number)


def _confirmation_text(side: Side) -> str:
    if side.seeds is None:
        return "-"
    measured, planned = side.seeds
    return f"{measured} of {planned} seeds"


def _sides_table(corner: str, sides: Sequence[Side], rows: dict[str, list[str]]) -> Table:
    columns = (corner, *(side.label for side in sides))
    return Table(columns, tuple((name, *cells) for name, cells in rows.items()))


def _file_blocks(sides: Sequence[Side]) -> Iterator[Block]:
    """Yield a table of the fields of the sweep files that are not equal on every side."""
    first, fields = sides[0], dict[str, list[Any]]()
    for index, side in enumerate(sides[1:], start=1):
        for change in changed_fields(first.spec, side.spec):
            if change.path != "name":
                fields.setdefault(change.path, [change.old] * len(sides))[index] = change.new
    rows = {path: _cells_of(values) for path, values in fields.items()}
    yield Heading("What differs in the sweep files")
    yield _sides_table("field", sides, rows) if rows else Paragraph("Nothing but the name.")


def _parameter_blocks(sides: Sequence[Side]) -> Iterator[Block]:
    """Yield a table of the parameters of the compared trials that are not equal on every side."""
    plans = [side.folder.read_plan(side.result.number) for side in sides]
    params = [plan.params.model_dump(mode="json") if plan else {} for plan in plans]
    values = {
        name: [trial_params.get(name) for trial_params in params]
        for name in dict.fromkeys(name for trial_params in params for name in trial_params)
    }
    rows = {
        name: _cells_of(own)
        for name, own in values.items()
        if any(value != own[0] for value in own)
    }
    yield Heading("What differs in the trials")
    yield _sides_table("parameter", sides, rows) if rows else Paragraph("No parameter.")


def _cells_of(values: Sequence[Any]) -> list[str]:
    """Return the values as texts: short ones where those tell all of them apart, else whole."""
    whole = ["-" if value is None else str(value) for value in values]
    short = ["-" if value is None else _short_text(value) for value in values]
    return short if len(set(short)) == len(set(whole)) else whole


def _short_text(value: Any) -> str:
    text = value_text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _difference_blocks(pair: Pair) -> Iterator[Block]:
    before, after = pair.before.label, pair.after.label
    yield Heading(f"{after} against {before}")
    yield Paragraph(
        "Paired differences on the sets that both were evaluated on alike; the bounds are two-sided and hold at 95 % "
        "for all comparisons here together. The sets of the search chose the trials, so they flatter both."
    )
    columns = ("rate", "sets", f"{before} %", f"{after} %", "difference", "bounds", "the data")
    yield Table(columns, tuple(map(_difference_row, pair.differences)))
    if sentences := (*_refusal_sentences(pair), *_uncomputed_sentences(pair)):
        yield Bullets(sentences)


def _difference_row(difference: Difference) -> tuple[str, ...]:
    lower, upper = shown_bounds(difference.rate, *difference.bounds)
    # where 0 is outside of the bounds, it is outside of those that are shown
    decimals = enough_decimals(
        2, (lower, lambda bound: bound > 0), (upper, lambda bound: bound < 0)
    )
    return (
        rate_text(difference.rate),
        difference.stage,
        shown_percent(difference.rate, difference.before),
        shown_percent(difference.rate, difference.after),
        shown_points(difference.rate, difference.estimate.point),
        change_bounds(lower, upper, decimals),
        _difference_answer(difference),
    )


def _refusal_sentences(pair: Pair) -> Iterator[str]:
    for (stage, rate), fields in pair.refused.items():
        named = ", ".join(fields)
        yield f"{rate_text(rate)} is not compared on the {stage} sets: it was evaluated differently ({named})"


def _uncomputed_sentences(pair: Pair) -> Iterator[str]:
    for (stage, rate), labels in pair.uncomputed.items():
        found = "heard" if rate.endswith("precision") else "said"
        yield (
            f"{rate_text(rate)} is not compared on the {stage} sets: it has no value in {' and '.join(labels)}, "
            f"where none of the terms was {found}"
        )


def _utterance_blocks(pair: Pair, shown: int) -> Iterator[Block]:
    worse = [utterance for utterance in pair.changed if utterance.errors[1] > utterance.errors[0]]
    better = [utterance for utterance in pair.changed if utterance.errors[1] < utterance.errors[0]]
    same = len(pair.changed) - len(worse) - len(better)
    yield Heading(f"Utterances that {pair.after.label} hears differently")
    if all(difference.stage != "search" for difference in pair.differences):
        yield Paragraph("Not compared: no set of the search was evaluated alike.")
        return
    yield Paragraph(
        f"On the sets of the search: {len(worse)} with more errors, {len(better)} with fewer, {same} with other text "
        "and as many errors."
    )
    for word, found in (("More errors", worse), ("Fewer errors", better)):
        if found and shown:
            yield Heading(f"{word}, the first {min(shown, len(found))}")
            yield Table(
                ("set", "utterance", "errors", "reference", pair.before.label, pair.after.label),
                tuple(map(_utterance_row, found[:shown])),
            )


def _utterance_row(utterance: ChangedUtterance) -> tuple[str, ...]:
    texts = (text.strip() or NOTHING for text in (utterance.reference, *utterance.texts))
    return (
        utterance.set,
        utterance.utterance,
        f"{utterance.errors[0]} to {utterance.errors[1]}",
        *texts,
    )


def render_json(sides: Sequence[Side], pairs: Sequence[Pair]) -> str:
    """Return the comparison as one JSON object: rates in percent, differences (`after` less
    `before`) in points; recall and precision of terms as shares that are found.
    """
    value = {
        "sides": [_side_fields(side) for side in sides],
        "pairs": [_pair_fields(pair) for pair in pairs],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _side_fields(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "study": side.folder.name,
        "decision": _decision_of(side),
        "trial": shown_result(side.result),
        "seeds": None
        if side.seeds is None
        else {"measured": side.seeds[0], "planned": side.seeds[1]},
    }


def _pair_fields(pair: Pair) -> dict[str, Any]:
    return {
        "before": pair.before.label,
        "after": pair.after.label,
        "differences": [
            {
                "rate": difference.rate,
                "sets": difference.stage,
                "before": shown_rate(difference.rate, difference.before),
                "after": shown_rate(difference.rate, difference.after),
                "difference": shown_change(difference.rate, difference.estimate.point),
                "bounds": [
                    _finite_or_none(bound)
                    for bound in shown_bounds(difference.rate, *difference.bounds)
                ],
                "unit": difference.estimate.unit,
            }
            for difference in pair.differences
        ],
        "refused": [
            {"rate": rate, "sets": stage, "fields": dict(fields)}
            for (stage, rate), fields in pair.refused.items()
        ],
        "uncomputed": [
            {"rate": rate, "sets": stage, "sides": labels}
            for (stage, rate), labels in pair.uncomputed.items()
        ],
        "changed": [
            {
                "set": utterance.set,
                "utterance": utterance.utterance,
                "errors": utterance.errors,
                "texts": utterance.texts,
                "reference": utterance.reference,
            }
            for utterance in pair.changed
        ],
    }


def _finite_or_none(value: float) -> float | None:
    return value if isfinite(value) else None
