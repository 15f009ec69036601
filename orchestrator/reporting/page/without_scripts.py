"""What browsers without scripts show of the utterances: those that became worse most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.reporting.page.markup import table_html
from orchestrator.reporting.page.utterances import BASELINE
from orchestrator.scoring.alignment import EQUAL

WORST = 10
"""Most utterances of each set."""
COLUMNS = ("utterance", "errors", "change", "was said", "untuned model")
"""Columns before that of the tuned model's hypothesis."""


def worst_html(sets: Sequence[dict[str, Any]]) -> str:
    """Return a table for each set, within a noscript element; `sets` are those of
    `contents.file_contents`. Empty where no utterance became worse.
    """
    tables = "".join(
        f"<h3>{WORST} at most that got worse: {each['title']}</h3>{table_html((*COLUMNS, _shown_label(each)), rows)}"
        for each in sets
        if (rows := list(_worst_rows(each)))
    )
    return f"<noscript>{tables}</noscript>" if tables else ""


def _shown_label(each: dict[str, Any]) -> str:
    """Return the label of the model that is shown: the winner, or another one where the winner was
    not measured on the set.
    """
    labels = {model["key"]: str(model["label"]) for model in each["models"]}
    return labels[each["winner"]]


def _worst_rows(each: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    before, after = (
        each["heard"].get(key, {}).get("rows", ()) for key in (BASELINE, each["winner"])
    )
    found = []
    for row, (was, now) in enumerate(zip(before, after, strict=False)):
        # a row of 0 means that the hypothesis equals the untuned model's
        change = _errors_in_row(now) - _errors_in_row(was) if now else 0
        if change > 0:
            found.append((change, row))
    for change, row in sorted(found, key=lambda pair: (-pair[0], pair[1]))[:WORST]:
        heard = (before[row][0], after[row][0])
        yield (
            each["ids"][row],
            str(_errors_in_row(after[row])),
            f"{change:+d}",
            each["references"][row],
            *heard,
        )


def _errors_in_row(row: Sequence[Any]) -> int:
    letters: str = row[1]
    return len(letters) - letters.count(EQUAL)
