"""The report of a study: its results, and what the numbers cannot say."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import (
    adapter_scales,
    train_shares,
    transcripts,
    verification_report,
)
from orchestrator.reporting.documents.caveats import caveats
from orchestrator.reporting.documents.headline import headline
from orchestrator.reporting.documents.verdict_table import units_of_table, verdict_table
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import (
    beside_answer,
    delta_text,
    params_text,
    percent,
    rate_heading,
    rates_of,
    value_text,
)
from orchestrator.scoring.limit_text import rate_text
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion, Confirmed
from orchestrator.verdicts.confirming import rank_feasible
from orchestrator.verdicts.judging import acceptance_of, guardrails_of, late_rates, scores

CANNOT_SAY, TRIALS = "What the numbers cannot say", "All trials"
"""Headings that the HTML page and the dashboard look for."""
OTHER_LIMITS = "; judged by other limits than the study's"


def build(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    words: Sequence[str],
    done: bool,
    other_limits: bool = False,
) -> Document:
    """Build the report. `words` name the study on the command line; `done`: nothing is left to
    train; `other_limits`: the acceptance criteria of `spec` are not the study's own.
    """
    blocks: list[Block] = []
    blocks += _taken_blocks(spec)
    blocks += _best_trial_blocks(spec, conclusion)
    blocks += _confirmation_blocks(spec, folder, conclusion)
    blocks += verification_report.blocks(spec, folder, conclusion)
    blocks += _cannot_say(spec, folder, conclusion, done)
    blocks += _baseline_blocks(spec, conclusion)
    blocks += _trials_blocks(spec, conclusion)
    blocks += adapter_scales.blocks(spec, folder, conclusion)
    blocks += train_shares.blocks(spec, conclusion)
    blocks += transcripts.blocks(folder, conclusion)
    blocks += _notes_blocks(folder)
    blocks += _command_blocks(folder, conclusion, words)
    answer = headline(spec, folder, conclusion, done) + (OTHER_LIMITS if other_limits else "")
    return Document(f"Sweep {folder.name}", answer, tuple(blocks))


def _taken_blocks(spec: SweepSpec) -> Iterator[Block]:
    if spec.taken:
        yield Heading("Taken from another study")
        yield Paragraph(f"{spec.taken}.")


def _best_trial_blocks(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Block]:
    best, verdict = conclusion.best, conclusion.verdict
    if best is None or verdict is None:
        return
    yield Heading(f"Best feasible trial: {best.number}")
    chosen = {"step": best.step, "adapter scale": best.adapter_scale}
    rows = tuple((name, value_text(value)) for name, value in (best.params | chosen).items())
    yield Table(("parameter", "value"), rows)
    leader = next(iter(rank_feasible(conclusion.results, spec.objective)), best)
    confirmed = any(each.verdict for each in conclusion.confirmed if each.trial == leader.number)
    why = (
        "the confirm sets prefer this one"
        if confirmed
        else "no seed of that one was measured on the confirm sets"
    )
    if late_rates(spec) - leader.wer.keys():
        why = "that one was not measured on all sets that acceptance asks about"
    place = (
        "whose best number it is"
        if leader.number == best.number
        else f"on which trial {leader.number} is better; {why}"
    )
    yield Paragraph(f"On the sets of the search, {place}; {units_of_table(verdict)}:")
    yield verdict_table(verdict)


def _confirmation_blocks(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion
) -> Iterator[Block]:
    if not conclusion.confirmed:
        return
    yield Heading("Confirmation")
    yield Paragraph(
        "Finalists retrained with fresh seeds, scored on sets the search never read; seeds are pooled."
    )
    if spec.data.split_text:
        parts = [
            f"{name} is the {recorded.part}, {len(recorded.lines)} utterances"
            for name, recorded in folder.sets().items()
            if recorded.part
        ]
        yield Paragraph(f"The {spec.data.split_text}. {'; '.join(parts)}.")
    for finalist in conclusion.confirmed:
        yield from _finalist_blocks(spec, finalist)


def _finalist_blocks(spec: SweepSpec, finalist: Confirmed) -> Iterator[Block]:
    measured = sum(seed.verdict is not None for seed in finalist.seeds)
    answers = [seed.reproduces for seed in finalist.seeds if seed.reproduces is not None]
    agreeing = sum(answers)
    text = f"Trial {finalist.trial}: {measured} of {len(finalist.seeds)} seeds measured."
    if answers:
        text += f" Reproduces across runs: {agreeing} of {measured} seeds keep every limit alone."
    if finalist.agreement is not None and len(finalist.seeds) > 1:
        of_all = spec.confirm is not None and spec.confirm.agree == "all"
        better = finalist.agreement.better
        all_ = finalist.agreement.asked if of_all else finalist.agreement.measured
        required = ", which the sweep file requires of all" if of_all else ""
        text += f" Seeds agree: {better} of {all_} lower the {rate_text(spec.objective)}{required}."
    if finalist.optimism is not None:
        rate = rate_text(spec.objective)
        text += f" Optimism of the search: {finalist.optimism:+z.2f} points of {rate} (positive flattered the trial)."
    yield Paragraph(text)
    if finalist.verdict:
        yield verdict_table(finalist.verdict)
    rows, rates = [], rates_of(spec)
    limits = (*acceptance_of(spec, True), *guardrails_of(spec, True))
    for seed in finalist.seeds:
        result = seed.result
        deltas = seed.verdict.delta if seed.verdict else {}
        changes = [
            beside_answer(limits, rate, None, deltas.get(confirm_name(rate)))[1] for rate in rates
        ]
        answer, reason = {True: "yes", False: "no", None: "-"}[seed.reproduces], ""
        if result is None:
            reason = "has not ended"
        elif not seed.verdict:
            reason = result.reason
        rows.append((str(seed.run.seed), *changes, answer, reason))
    yield Table(
        ("seed", *(f"{rate_heading(rate)} change" for rate in rates), "reproduces", "note"),
        tuple(rows),
    )


def _cannot_say(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool
) -> Iterator[Block]:
    items = list(caveats(spec, folder, conclusion, done))
    if items:
        yield Heading(CANNOT_SAY)
        yield Bullets(tuple(items))


def _baseline_blocks(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Block]:
    """Yield a table of the untuned model's WERs, and CERs where the sweep names one."""
    by_characters = any(rate.endswith("_cer") for rate in rates_of(spec))
    rows = []
    for baseline in (conclusion.baseline, conclusion.confirm_baseline):
        if baseline is None:
            continue
        rates = scores(baseline).sets
        for name, score in baseline.sets.items():
            speakers = len({speaker for speaker in score.speakers if speaker})
            counts = (
                len(score.errors),
                sum(score.reference_words),
                speakers or "-",
                score.cap_hits,
                score.loops,
            )
            cer = rates[f"{name}_cer"].rate if f"{name}_cer" in rates else None
            shown = (percent(score.wer), percent(cer))[: 1 + by_characters]
            rows.append((name, *shown, *map(str, counts)))
    if rows:
        yield Heading("Baseline")
        kinds = ("WER %", "CER %")[: 1 + by_characters]
        columns = ("set", *kinds, "utterances", "words", "speakers", "cap hits", "loops")
        yield Table(columns, tuple(rows))


def _trials_blocks(spec: SweepSpec, conclusion: Conclusion) -> Iterator[Block]:
    if not conclusion.results:
        return
    yield Heading(TRIALS)
    states = Counter(str(result.state) for result in conclusion.results)
    yield Paragraph(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    rates = rates_of(spec)
    numbers = (f"{rate_heading(rate)} % (change)" for rate in rates)
    columns = ("trial", "state", *numbers, "step", "scale", "parameters", "reason")
    yield Table(columns, tuple(_trial_row(result, rates) for result in conclusion.results))


def _trial_row(result: TrialResult, rates: Sequence[str]) -> tuple[str, ...]:
    return (
        str(result.number),
        str(result.state),
        *(delta_text(result, rate) for rate in rates),
        "-" if result.step is None else str(result.step),
        "-" if result.adapter_scale is None else f"{result.adapter_scale:g}",
        params_text(result.params),
        result.reason,
    )


def _notes_blocks(folder: StudyFolder) -> Iterator[Block]:
    if noted := folder.noted():
        lines = noted.splitlines()[1:]
        yield Heading("Notes")
        yield Bullets(tuple(line.removeprefix("- ") for line in lines if line))


def _command_blocks(
    folder: StudyFolder, conclusion: Conclusion, words: Sequence[str]
) -> Iterator[Block]:
    spec, *others = words
    lines = [["run", spec, *others]]  # where no trial was asked for yet
    if asked := [result.number for result in conclusion.results] or list(folder.planned()):
        number = conclusion.best.number if conclusion.best else asked[0]
        lines = [["trial", spec, str(number), *others]]
    if conclusion.best:
        lines.append(
            ["export", spec, str(number), *others, "--to", f"exported/{folder.name}-{number}"]
        )
    yield Heading("Again, and further")
    yield Code(tuple(shlex.join(["orchestrate", *line]) for line in lines))
    yield Paragraph(f"Plans, measurements, hypotheses and adapters of every trial: {folder.path}")
