"""Turns the files of a study into what its dashboard shows: names, notes, figures, transcripts,
clips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import report
from orchestrator.reporting.page.charts import charts
from orchestrator.reporting.page.figures import figure
from orchestrator.reporting.page.utterances import utterance_sets
from orchestrator.reporting.rendering import markdown
from orchestrator.reporting.rendering.report_blocks import Block, Document, Heading, Table
from orchestrator.reporting.wording import all_rates, rates_of, shown_percent, shown_points
from orchestrator.running.checkpoints import known_as_ended
from orchestrator.running.completion import judged
from orchestrator.running.dashboard_transcripts import HeardSet, Worse, attachments, worst_of
from orchestrator.scoring.limit_text import asked_text, rate_text, shown_change, shown_rate
from orchestrator.scoring.rates import SetScore
from orchestrator.search.dashboard_study import Attachment, DashboardStudy, DashboardTrial
from orchestrator.search.database_differences import check_of
from orchestrator.set_names import is_confirm
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.judging import acceptance_of, guardrails_of, scores

_PLAIN, _MARKDOWN = "text/plain; charset=utf-8", "text/markdown; charset=utf-8"

Attribute = bool | int | float | str


def dashboard_study(spec: SweepSpec, folder: StudyFolder, words: Sequence[str]) -> DashboardStudy:
    """Return everything the dashboard shows of the study as it stands now; `words` name the study
    on the command line. Raises StudyError for damaged files.
    """
    conclusion, done = judged(spec, folder)
    sets = [HeardSet(spec, each) for each in utterance_sets(spec, folder, conclusion)]
    searched = [each for each in sets if not is_confirm(each.of.name)]
    confirming = [each for each in sets if is_confirm(each.of.name)]
    return DashboardStudy(
        objective=f"{rate_text(spec.objective)}, %",
        note=_study_note(spec, folder, conclusion, words, done),
        best=conclusion.best.number if conclusion.best else None,
        attributes=_study_attributes(spec, conclusion, done),
        figures={chart.id: figure(chart) for chart in charts(spec, folder, conclusion)},
        attachments=(*_files_to_attach(folder), *_confirmed_transcripts(confirming)),
        trials={
            result.number: _dashboard_trial(spec, searched, conclusion.baseline, result)
            for result in conclusion.results
        },
        check=check_of(spec, folder, known_as_ended(folder, conclusion.results)),
    )


def watched_files(folder: StudyFolder) -> tuple[Path, ...]:
    """Return the files one of which changes whenever `dashboard_study` has something else to say:
    the journal has all results, a checkpoint says that the search is over, and the report is
    written after both.
    """
    return folder.journal.path, folder.checkpoint, folder.report_markdown, folder.report_html


def _study_note(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    words: Sequence[str],
    done: bool,
) -> str:
    """Return the report in Markdown up to its table of trials, which the dashboard shows itself."""
    document = report.build(spec, folder, conclusion, words, done)
    blocks = takewhile(lambda block: block != Heading(report.TRIALS), document.blocks)
    return markdown.render(
        Document(document.title, document.headline, (*blocks, Heading("To open")))
    )


def _study_attributes(spec: SweepSpec, conclusion: Conclusion, done: bool) -> dict[str, Attribute]:
    """Return the untuned model's rates, every limit in words, and the verdict once there is one."""
    untuned = all_rates(conclusion.baseline) if conclusion.baseline else {}
    found: dict[str, Attribute] = {
        f"untuned: {rate_text(rate)}, %": round(untuned[rate], 2)
        for rate in rates_of(spec)
        if rate in untuned
    }
    for kind, criteria in (("guardrail", guardrails_of(spec)), ("asked", acceptance_of(spec))):
        found |= {f"{kind} {n}": asked_text(each) for n, each in enumerate(criteria, start=1)}
    decision = conclusion.shown_decision(done)
    if decision is not None:
        found["verdict"] = str(decision)
    return found


def _files_to_attach(folder: StudyFolder) -> Iterator[Attachment]:
    for path, kind in (
        (folder.report_html, "text/html; charset=utf-8"),
        (folder.report_markdown, _MARKDOWN),
        (folder.spec, _PLAIN),
    ):
        if path.is_file():
            yield Attachment(path.name, kind, path.read_bytes)


def _confirmed_transcripts(sets: Sequence[HeardSet]) -> tuple[Attachment, ...]:
    """Attach what the winner's first confirmation run heard on the confirm sets; nothing where the
    sets do not name exactly one winner.
    """
    winners = {each.of.winner for each in sets}
    return tuple(attachments(sets, winners.pop(), "confirm-")) if len(winners) == 1 else ()


def _dashboard_trial(
    spec: SweepSpec, sets: Sequence[HeardSet], baseline: Measurement | None, result: TrialResult
) -> DashboardTrial:
    return DashboardTrial(
        note=markdown.render(_trial_note(spec, sets, baseline, result)),
        attributes=_trial_attributes(result),
        constraints=tuple(result.constraints.values()),
        feasible=result.feasible,
        attachments=tuple(attachments(sets, str(result.number))),
    )


def _trial_attributes(result: TrialResult) -> dict[str, Attribute]:
    """Return a trial's rates in percent and other facts. Recall and precision of terms are counted
    as what is missed and shown as what is found, so they and their changes are turned round.
    """
    found: dict[str, Attribute] = {}
    for rate, value in result.wer.items():
        found[f"{rate_text(rate)}, %"] = round(shown_rate(rate, value), 2)
        if rate in result.delta:
            change = shown_change(rate, result.delta[rate])
            found[f"{rate_text(rate)}, change in points"] = round(change, 2)
    others = {
        "keeps the guardrails": "yes" if result.feasible else "no",
        "step chosen": result.step, "adapter scale chosen": result.adapter_scale,
        "steps trained": result.steps_trained, "seconds": result.seconds,
        "ended early by": result.pruned_by, "same as trial": result.duplicate_of,
    }  # fmt: skip
    return found | {name: value for name, value in others.items() if value is not None}


def _trial_note(
    spec: SweepSpec, sets: Sequence[HeardSet], baseline: Measurement | None, result: TrialResult
) -> Document:
    blocks: list[Block] = []
    if result.wer:
        untuned = scores(baseline).sets if baseline else {}
        rows = tuple(_rate_row(result, rate, untuned.get(rate)) for rate in rates_of(spec))
        blocks.append(Table(("rate", "untuned %", "this trial %", "change, points"), rows))
    if worse := worst_of(sets, str(result.number)):
        blocks += [Heading("Heard worse than by the untuned model")]
        blocks += [Table(("set", "errors", "said", "untuned", "this trial"), _worse_rows(worse))]
    return Document(f"Trial {result.number}", f"{result.state}: {result.reason}", tuple(blocks))


def _rate_row(result: TrialResult, rate: str, untuned: SetScore | None) -> tuple[str, ...]:
    return (
        rate_text(rate),
        shown_percent(rate, untuned.rate if untuned else None),
        shown_percent(rate, result.wer.get(rate)),
        shown_points(rate, result.delta.get(rate)),
    )


def _worse_rows(worse: Sequence[Worse]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (each.name, f"{each.more:+d}", each.reference, each.untuned, each.tuned) for each in worse
    )
