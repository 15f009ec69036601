"""The page of report.html: the verdict and its reasons, utterances, trials, plots, and the rest of
the report as details.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.report import CANNOT_SAY, TRIALS
from orchestrator.reporting.documents.transcripts import TEN_UTTERANCES
from orchestrator.reporting.page.contents import file_contents
from orchestrator.reporting.page.markup import block_html, glossary_html, term_html
from orchestrator.reporting.page.shell import page
from orchestrator.reporting.page.trials import trials_html
from orchestrator.reporting.page.without_scripts import worst_html
from orchestrator.reporting.rendering.escape import html_text
from orchestrator.reporting.rendering.report_blocks import Block, Bullets, Document, Heading
from orchestrator.reporting.wording import (
    bounds,
    change,
    limits_of,
    params_text,
    proof,
    rate_cells,
    value_text,
)
from orchestrator.scoring.limit_text import asked_text
from orchestrator.scoring.limits import LimitVerdict
from orchestrator.sweepfile.limits import TRAIN_LOSS
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

FIRST_CAVEATS = 2
"""Number of caveats on the first screen; all are in the details."""
_SIGNS = {True: ("✓", "holds"), False: ("✗", "does not hold"), None: ("?", "not measured")}


def render(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    document: Document,
    words: Sequence[str],
    done: bool,
) -> str:
    """Return the page of a study as one file. `document` is its report, `words` name the study on
    the command line; `done`: nothing is left to train.
    """
    command = shlex.join(["orchestrate", "listen", *words])
    contents = {**file_contents(spec, folder, conclusion), "listen": command}
    return study_page(spec, conclusion, document, done, contents)


def study_page(
    spec: SweepSpec,
    conclusion: Conclusion,
    document: Document,
    done: bool,
    contents: dict[str, Any],
) -> str:
    """Return the page of a study with the given `contents` for its scripts. Those of `listen` are
    incomplete: the scripts request the rest.
    """
    sections = _sections_by_heading(document)
    shown = {
        "Utterances": _utterances_html() + worst_html(contents["sets"])
        if contents["sets"]
        else _blocks_markup(sections.pop(TEN_UTTERANCES, [])),
        "Words": '<div id="words"></div>' if contents["sets"] else "",
        "Trials": trials_html(spec, conclusion),
        "Plots": _plots_html(contents["charts"]),
        "Details": _detail_sections(sections),
        "Glossary": glossary_html(),
    }
    shown = {name: html for name, html in shown.items() if html}
    links = "".join(
        f'<li><a href="#{name.lower()}">{name}</a></li>' for name in ("Verdict", *shown)
    )
    parts = "".join(
        f'<section id="{name.lower()}" aria-labelledby="{name.lower()}-title"><h2 id="{name.lower()}-title">{name}</h2>'
        f"{html}</section>"
        for name, html in shown.items()
    )
    body = (
        f'<a class="skip" href="#main">Skip to the verdict</a><header><nav aria-label="Sections"><ul>{links}</ul></nav>'
        f'</header><main id="main">{_verdict_screen(conclusion, document, done, sections)}{parts}</main>'
        '<div id="tip" role="tooltip" hidden></div>'
    )
    return page(f"{document.title}: {_decision_word(conclusion, done)}", body, contents)


def _sections_by_heading(document: Document) -> dict[str, list[Block]]:
    """Group the blocks by the heading that they are under."""
    title = ""
    sections: dict[str, list[Block]] = {}
    for block in document.blocks:
        if isinstance(block, Heading):
            title = block.text
        else:
            sections.setdefault(title, []).append(block)
    return sections


def _decision_word(conclusion: Conclusion, done: bool) -> str:
    if not done:
        return "NOT FINISHED"
    return str(conclusion.shown_decision(done) or "FINISHED")


def _verdict_screen(
    conclusion: Conclusion,
    document: Document,
    done: bool,
    sections: dict[str, list[Block]],
) -> str:
    """Return the first screen: the verdict, its reasons, the winner, the first caveats, and the
    place where a script shows what became worse.
    """
    decision = _decision_word(conclusion, done)
    reasons = ""
    if conclusion.deciding:
        reasons = "".join(map(_limit_reason, limits_of(conclusion.deciding)))
    why = f'<h2>Why</h2><ul class="reasons">{reasons}</ul>' if reasons else ""
    caveats: list[str] = []
    for block in sections.get(CANNOT_SAY, []):
        if isinstance(block, Bullets):
            caveats += block.items
    more = (
        f' <a href="#details">All {len(caveats)} of them</a>'
        if len(caveats) > FIRST_CAVEATS
        else ""
    )
    first = "".join(f"<li>{html_text(item)}</li>" for item in caveats[:FIRST_CAVEATS])
    return (
        f'<section id="verdict" aria-label="Verdict"><h1>{html_text(document.title)}</h1>'
        f'<p class="headline"><span class="badge {decision.split()[0].lower()}">{html_text(decision)}</span> '
        f"{html_text(document.headline.removeprefix(f'{decision}: '))} {term_html('verdict', '?')}</p>"
        f"{why}{_winner_block(conclusion)}"
        + (f"<h2>Can it be believed?</h2><ul>{first}</ul><p>{more}</p>" if caveats else "")
        + '<div id="worst"></div><noscript><p>Tables sort, plots show, and utterances are compared and heard where '
        "scripts may run; this file has its own and loads nothing. What got worse most is listed below.</p>"
        "</noscript></section>"
    )


def _limit_reason(limit: LimitVerdict) -> str:
    """Return a list item about a limit: whether it holds, by which numbers, and what is proven."""
    sign, said = _SIGNS[limit.holds]
    numbers = ""
    if limit.holds is not None and limit.criterion.metric != TRAIN_LOSS:
        before, after = rate_cells(limit)
        ends = bounds(limit)
        shown = "" if ends == "-" else f", {term_html('bounds')} {html_text(ends)}"
        numbers = f" <span>{before} % → {after} % ({html_text(change(limit))}{shown})</span>"
    kept = {True: "kept", False: "broken", None: "open"}[limit.holds]
    return (
        f'<li class="{kept}"><span class="sign" aria-hidden="true">{sign}</span> '
        f"<strong>{html_text(asked_text(limit.criterion))}: {said}.</strong>{numbers} "
        f"<em>{html_text(proof(limit))}</em></li>"
    )


def _winner_block(conclusion: Conclusion) -> str:
    best = conclusion.best
    if best is None:
        return f"<h2>The winner</h2><p>{_no_winner_sentence(conclusion)}</p>"
    chosen = f"step {best.step}, adapter scale {value_text(best.adapter_scale)}"
    return (
        f"<h2>The {term_html('winner')}: trial {best.number}</h2>"
        f"<p>{html_text(params_text(best.params))}; {html_text(chosen)}.</p>"
    )


def _no_winner_sentence(conclusion: Conclusion) -> str:
    if not conclusion.results:
        return "No trial has ended yet."
    measured = any(result.wer for result in conclusion.results)
    return "No trial keeps every guardrail." if measured else "No trial was measured."


def _utterances_html() -> str:
    return (
        "<p>What was said, what the untuned model heard and what the chosen one heard, word under word: "
        f"{term_html('substitution')} <span class='mark s'>word</span>, {term_html('deletion')} "
        f"<span class='mark d'>∅</span>, {term_html('insertion')} <span class='mark i'>+word</span>.</p>"
        '<div id="utterance-view"></div>'
    )


def _plots_html(charts: Sequence[dict[str, Any]]) -> str:
    return "".join(
        f'<figure class="chart" id="chart-{html_text(chart["id"])}"><figcaption><h3>{html_text(chart["title"])}'
        f"{term_html('importance', '?') if chart['id'] == 'importance' else ''}</h3>"
        f"<p>{html_text(chart['note'])}</p></figcaption></figure>"
        for chart in charts
    )


def _detail_sections(sections: dict[str, list[Block]]) -> str:
    """Return the sections of the report that have no place elsewhere on the page."""
    left = {
        title: blocks
        for title, blocks in sections.items()
        if blocks and title not in (TRIALS, TEN_UTTERANCES)
    }
    return "".join(
        f"<h3>{html_text(title)}</h3>{_blocks_markup(blocks)}" for title, blocks in left.items()
    )


def _blocks_markup(blocks: Sequence[Block]) -> str:
    return "".join(map(block_html, blocks))
