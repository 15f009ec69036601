"""The page's table of all trials, which can be sorted and filtered, with the winner marked and a
column for each parameter that varies.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.records.results import TrialResult
from orchestrator.reporting.page.glossary import GLOSSARY
from orchestrator.reporting.page.markup import heading_html, term_html
from orchestrator.reporting.rendering.escape import html_text
from orchestrator.reporting.wording import (
    beside_answer,
    params_text,
    rate_heading,
    rates_of,
    value_text,
)
from orchestrator.scoring.limit_text import shown_change, shown_rate
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import guardrails_of


def trials_html(spec: SweepSpec, conclusion: Conclusion) -> str:
    """Return the section on the trials: the table and its filters; empty where none has ended."""
    results = conclusion.results
    if not results:
        return ""
    varied = _varied_parameters(results)
    rates = rates_of(spec)
    best = conclusion.best.number if conclusion.best else None
    head = [
        "trial",
        "state",
        *(f"{rate_heading(rate)} {what}" for rate in rates for what in ("%", "change")),
    ]
    head += ["keeps the guardrails", "reason", "step", "scale", *varied]
    rows = "".join(
        _trial_row(spec, result, head, rates, varied, result.number == best) for result in results
    )
    columns = "".join(f'<th scope="col">{heading_html(name)}</th>' for name in head)
    return (
        f"{_filter_controls(results)}"
        '<div class="scroll" tabindex="0" role="group" aria-label="Table of all trials">'
        '<table class="sortable trials" id="trial-table">'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"{_fixed_sentence(results, varied)}"
    )


def _varied_parameters(results: Sequence[TrialResult]) -> list[str]:
    """Return the searched parameters that have more than one value among the results, in the order
    of the sweep file.
    """
    names = dict.fromkeys(name for result in results for name in result.params)
    return [name for name in names if len({str(result.params.get(name)) for result in results}) > 1]


def _fixed_sentence(results: Sequence[TrialResult], varied: Sequence[str]) -> str:
    same = {name: value for name, value in results[0].params.items() if name not in varied}
    return f"<p>The same in every trial: {html_text(params_text(same))}.</p>" if same else ""


def _filter_controls(results: Sequence[TrialResult]) -> str:
    states = sorted({str(result.state) for result in results})
    counts = {state: sum(str(result.state) == state for result in results) for state in states}
    options = "".join(
        f'<option value="{state}">{state} ({count})</option>' for state, count in counts.items()
    )
    said = " ".join(term_html(state) for state in states if state in GLOSSARY)
    return (
        '<div class="controls"><label>State <select id="trial-state"><option value="">all</option>'
        f'{options}</select></label> <label>Contains <input id="trial-words" type="search"></label> '
        f'<span id="trial-count" role="status"></span> <span class="said">What they mean: {said}</span></div>'
    )


def _trial_row(
    spec: SweepSpec,
    result: TrialResult,
    head: Sequence[str],
    rates: Sequence[str],
    varied: Sequence[str],
    is_best: bool,
) -> str:
    """Return the row; each cell names its column of `head`, for screens on which it is a list."""
    mark = " <strong>★ best</strong>" if is_best else ""
    cells, limits = [(' class="word"', html_text(result.state))], guardrails_of(spec)
    for rate in rates:
        value, change = result.wer.get(rate), result.delta.get(rate)
        shown = None if value is None else shown_rate(rate, value)
        changed = None if change is None else shown_change(rate, change)
        texts = beside_answer(limits, rate, value, change)
        cells += [_number_cell(texts[0], shown), _number_cell(texts[1], changed)]
    cells.append(("", _feasible_sign(result)))
    cells.append((' class="long"', html_text(result.reason)))
    cells.append(_number_cell("-" if result.step is None else str(result.step), result.step))
    cells.append(
        _number_cell(
            "-" if result.adapter_scale is None else f"{result.adapter_scale:g}",
            result.adapter_scale,
        )
    )
    cells += [_value_cell(result.params.get(name)) for name in varied]
    marked = ' class="best"' if is_best else ""
    named = "".join(
        f'<td data-label="{html_text(name)}"{attributes}>{text}</td>'
        for name, (attributes, text) in zip(head[1:], cells, strict=True)
    )
    return (
        f'<tr{marked} data-state="{html_text(result.state)}">'
        f'<th scope="row" data-value="{result.number}">{result.number}{mark}</th>{named}</tr>'
    )


def _feasible_sign(result: TrialResult) -> str:
    if not result.wer:
        return "not measured"
    return "yes" if result.feasible else "no"


Cell = tuple[str, str]
"""The attributes of a cell, and what it holds as HTML."""


def _number_cell(text: str, value: float | None) -> Cell:
    """Return a cell that is sorted by `value`; a cell without a value comes last."""
    key = "" if value is None else f' data-value="{value!r}"'
    return f' class="number"{key}', html_text(text)


def _value_cell(value: object) -> Cell:
    if value is None:
        return "", "-"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number_cell(value_text(value), value)
    return "", html_text(value_text(value))
