"""The output of `orchestrate verify`: an exported form of the winner compared with the form that
was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.records.results import SetMeasurement, TrialResult
from orchestrator.records.shipping import Shipped, ShippedSet
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.verdict_table import verdict_table
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
    limits_of,
    percent,
    points,
)
from orchestrator.scoring.limit_text import asked_text
from orchestrator.scoring.rates import SetScore, estimate
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.headroom import rate_of, searched_rate
from orchestrator.verdicts.shipping import JudgedAgain, heard_same, judge_again

SHOWN = 20
"""Most utterances with other words that a report lists; all are in shipped.json."""

NEAR = 1e-3
"""If the two best logits differ by less than this, rounding alone may change which is the best."""


def blocks(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    """Yield the section on every exported form of the winner that was run on sets of the study;
    nothing where none was.
    """
    result = conclusion.best
    mine = [
        shipped
        for shipped in folder.shipped().values()
        if result is not None
        and shipped.trial == result.number
        and heard_same(shipped, folder, conclusion)
    ]
    if not mine or result is None:
        return
    yield Heading("What ships")
    for found in mine:
        yield from _form(spec, folder, result, found)


def build(spec: SweepSpec, folder: StudyFolder, result: TrialResult, found: Shipped) -> Document:
    """Build the document of one form, for `orchestrate verify`."""
    again = tuple(judge_again(spec, folder, result, found))
    title = f"What ships of trial {found.trial} of {folder.name}: {found.key}"
    return Document(title, headline(found, again), tuple(_form(spec, folder, result, found, again)))


def headline(found: Shipped, again: Sequence[JudgedAgain]) -> str:
    """Return the result in one line."""
    if found.differences:
        return f"NOT what was measured: {'; '.join(found.differences)}"
    lost = [asked_text(limit.criterion) for judged in again for limit in judged.lost]
    words = f"{len(found.other_words)} of {_count_hypotheses(found)} hypotheses have other words"
    if lost:
        return f"A limit is lost in this form: {'; '.join(dict.fromkeys(lost))}; {words}"
    return f"Every limit that holds as measured holds in this form; {words}"


def _count_hypotheses(found: Shipped) -> int:
    """Count the hypotheses of both models over all sets."""
    return 2 * sum(len(of_set.tuned_shipped.errors) for of_set in found.sets.values())


def _form(
    spec: SweepSpec,
    folder: StudyFolder,
    result: TrialResult,
    found: Shipped,
    again: Sequence[JudgedAgain] | None = None,
) -> Iterator[Block]:
    again = tuple(judge_again(spec, folder, result, found)) if again is None else again
    which = f"Form {found.key}" + (f" ({found.part})" if found.part else "")
    engine = f"onnxruntime {found.versions['onnxruntime']}"
    yield Paragraph(f"{which}, heard by {engine}: {headline(found, again)}.")
    if found.differences:
        yield Bullets(found.differences)
    kind = searched_rate(spec)
    columns = (
        "set",
        f"baseline {kind} %",
        "as measured",
        f"winner {kind} %",
        "as measured",
        "winner, change by form",
        "95 % bounds",
    )
    yield Table(columns, tuple(_row(spec, name, of_set) for name, of_set in found.sets.items()))
    for judged in again:
        where = "confirm sets" if judged.confirmed else "search's sets"
        if limits_of(judged.shipped):
            yield Paragraph(f"The limits on the {where} in this form, of this one adapter:")
            yield verdict_table(judged.shipped)
    yield Table(("form", "value"), tuple(_facts(found)))
    yield from _other_words(found)


def _row(spec: SweepSpec, name: str, of_set: ShippedSet) -> tuple[str, ...]:
    kind = searched_rate(spec)
    measured = [
        of_set.baseline_shipped,
        of_set.baseline_measured,
        of_set.tuned_shipped,
        of_set.tuned_measured,
    ]
    found = estimate(
        _score(of_set.tuned_measured, kind), _score(of_set.tuned_shipped, kind), seed=spec.seed
    )
    change = ("-", "-")
    if found is not None:
        change = points(found.point), change_bounds(found.lower(), found.upper())
    return (name, *(percent(rate_of(each, kind)) for each in measured), *change)


def _score(measured: SetMeasurement, kind: str) -> SetScore:
    """Return the counts of one kind of rate, as `rate_of` returns the rate."""
    if kind == "CER" and measured.characters:
        return SetScore(measured.character_errors, measured.characters, measured.speakers)
    return SetScore(measured.errors, measured.reference_words, measured.speakers)


def _facts(found: Shipped) -> Iterator[tuple[str, str]]:
    yield "real-time factor, one clip at a time, on this machine", f"{found.real_time_factor:.4f}"
    yield "size of the graphs", f"{found.size_bytes / 1e6:.1f} MB"
    yield (
        "encoder output on one clip, apart",
        f"{100 * found.encoder_apart:.2g} % of its largest value",
    )
    yield "first token's logits on that clip, apart", f"{found.logits_apart:.2g}"
    yield (
        "hypotheses with other words than measured",
        f"{len(found.other_words)} of {_count_hypotheses(found)}",
    )
    near = sum(
        utterance.margin is not None and utterance.margin < NEAR for utterance in found.other_words
    )
    yield f"of them where the two best logits were less than {NEAR:g} apart", str(near)
    if found.unlike_record:
        yield "utterances whose measured words are not those on file", str(found.unlike_record)


def _other_words(found: Shipped) -> Iterator[Block]:
    if not found.other_words:
        return
    rows = tuple(
        (
            utterance.set,
            utterance.utterance,
            utterance.model,
            utterance.measured,
            utterance.shipped,
            "-" if utterance.margin is None else f"{utterance.margin:.2g}",
        )
        for utterance in found.other_words[:SHOWN]
    )
    listed = (
        ""
        if len(rows) == len(found.other_words)
        else f" The first {SHOWN} of {len(found.other_words)}."
    )
    yield Paragraph(
        f"Utterances with other words.{listed} The margin is that of the two best logits where they part."
    )
    yield Table(("set", "utterance", "model", "as measured", "as shipped", "margin"), rows)
