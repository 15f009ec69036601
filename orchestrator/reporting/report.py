"""The report of a study: only what was computed, and what the numbers cannot say."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator

from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.reporting import scales
from orchestrator.reporting.conclusion import Conclusion, Confirmed, chosen_measurement
from orchestrator.reporting.document import Block, Bullets, Code, Document, Heading, Paragraph, Plot, Table
from orchestrator.reporting.svg import Curve, Point, curves, scatter
from orchestrator.reporting.wording import (
    LIMIT_COLUMNS,
    asked,
    delta_text,
    limit_row,
    limits_of,
    params_text,
    percent,
    points,
    proof,
    value_text,
)
from orchestrator.scoring.judge import Decision, Verdict, error_budget
from orchestrator.scoring.limits import Evidence
from orchestrator.spec.sweep import SweepSpec


def build(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, command: str, done: bool) -> Document:
    """The report in blocks; `command` is the sweep file as the person names it, `done`: nothing is left to train."""
    blocks: list[Block] = []
    blocks += _best(conclusion)
    blocks += _confirmation(spec, folder, conclusion)
    blocks += _cannot_say(spec, folder, conclusion, done)
    blocks += _baselines(conclusion)
    blocks += _trials(conclusion)
    blocks += scales.blocks(spec, folder, conclusion)
    blocks += _plots(spec, folder, conclusion)
    blocks += _notes(folder)
    blocks += _commands(folder, conclusion, shlex.quote(command))
    return Document(f"Sweep {spec.name}", headline(spec, conclusion, done), tuple(blocks))


def headline(spec: SweepSpec, conclusion: Conclusion, done: bool) -> str:
    """The answer in one line."""
    ended = f"{len(conclusion.results)} of {spec.budget.trials} trials ended"
    if not done:
        left = f", {conclusion.unconfirmed} confirmation runs left" if conclusion.unconfirmed else ""
        return f"Not finished: {ended}{left}"
    best = conclusion.best
    if best is None:
        return f"INCONCLUSIVE: no feasible trial; {ended}"
    where = "on the confirm sets" if conclusion.confirmation else "on the sets of the search"
    if conclusion.decision is None:
        return f"Finished: trial {best.number} is the best feasible one {where}; no acceptance criteria were declared"
    return f"{conclusion.decision}: trial {best.number}, judged {where}{_open(conclusion)}"


def _open(conclusion: Conclusion) -> str:
    """What an INCONCLUSIVE verdict waits for."""
    verdict = conclusion.deciding
    if conclusion.decision is not Decision.INCONCLUSIVE or verdict is None:
        return ""
    unmet = [limit for limit in verdict.acceptance if not limit.met]
    return "".join(f"; {asked(limit.criterion)}: {proof(limit)}" for limit in unmet)


def _best(conclusion: Conclusion) -> Iterator[Block]:
    best, verdict = conclusion.best, conclusion.verdict
    if best is None or verdict is None:
        return
    yield Heading(f"Best feasible trial: {best.number}")
    chosen = {"step": best.step, "adapter scale": best.adapter_scale}
    rows = tuple((name, value_text(value)) for name, value in (best.params | chosen).items())
    yield Table(("parameter", "value"), rows)
    yield Paragraph("On the sets of the search, whose best number it is; WER in percent, changes in WER points:")
    yield _limits(verdict)


def _limits(verdict: Verdict) -> Table:
    return Table(LIMIT_COLUMNS, tuple(limit_row(limit) for limit in limits_of(verdict)))


def _confirmation(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    if not conclusion.confirmed:
        return
    yield Heading("Confirmation")
    yield Paragraph("Finalists retrained with fresh seeds, scored on sets the search never read; seeds are pooled.")
    if spec.data.split_text:
        parts = [
            f"{name} is the {each.part}, {len(each.lines)} utterances"
            for name, each in folder.sets().items()
            if each.part
        ]
        yield Paragraph(f"The {spec.data.split_text}. {'; '.join(parts)}.")
    for each in conclusion.confirmed:
        yield from _finalist(each)


def _finalist(each: Confirmed) -> Iterator[Block]:
    measured = sum(seed.verdict is not None for seed in each.seeds)
    agreeing = sum(seed.reproduces for seed in each.seeds)
    text = f"Trial {each.trial}: {measured} of {len(each.seeds)} seeds measured."
    if measured:
        text += f" Reproduces across runs: {agreeing} of {measured} seeds keep every limit alone."
    if each.optimism is not None:
        text += f" Optimism of the search: {each.optimism:+.2f} points of domain WER (positive flattered the trial)."
    yield Paragraph(text)
    if each.verdict:
        yield _limits(each.verdict)
    rows = []
    for seed in each.seeds:
        result = seed.result
        changes = [points(seed.verdict.delta.get(name) if seed.verdict else None) for name in CONFIRM_SETS]
        answer = "-" if seed.verdict is None else "yes" if seed.reproduces else "no"
        reason = "has not ended" if result is None else "" if seed.verdict else result.reason
        rows.append((str(seed.run.seed), *changes, answer, reason))
    yield Table(("seed", "domain change", "held-out change", "reproduces", "note"), tuple(rows))


CONFIRM_SETS = ("confirm_domain", "confirm_heldout")


def _cannot_say(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool) -> Iterator[Block]:
    items = list(caveats(spec, folder, conclusion, done))
    if items:
        yield Heading("What the numbers cannot say")
        yield Bullets(tuple(items))


def caveats(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool) -> Iterator[str]:
    """What the numbers of a study cannot say, as sentences."""
    if not done:
        yield "The sweep is not finished: every number here may still be replaced."
    measured = sum(bool(result.wer) for result in conclusion.results)
    if conclusion.best and conclusion.confirmation is None:
        yield (
            f"The winner is the best of {measured} measured trials on the very sets that chose it: its gain is "
            f"optimistic{_shared(measured)}. data.confirm and confirm: measure by how much."
        )
    finalists = len(conclusion.confirmed)
    if finalists > 1:
        yield (
            f"The best of {finalists} finalists was taken on the confirm sets: its number is slightly "
            f"optimistic{_shared(finalists)}."
        )
    if conclusion.deciding:
        yield from _evidence(conclusion.deciding)
    best = chosen_measurement(folder, conclusion.best) if conclusion.best else None
    if best:
        yield from _decoding(best)
    for found in folder.findings():
        ignored = f"Check {found.name} was ignored: " if found.name in spec.checks.ignore else ""
        yield f"{ignored}{found.message}" if ignored else f"{found.message[0].upper()}{found.message[1:]}"
    if any(result.pruned_by == "wall_clock" for result in conclusion.results):
        yield "The wall clock cut trials short: they might have ended better."


def _shared(rivals: int) -> str:
    each = 100 * error_budget(0.95, rivals)
    return f", so its bounds are wide enough to hold for all {rivals} at once (each {each:.4g} %)" if rivals > 1 else ""


def _evidence(verdict: Verdict) -> Iterator[str]:
    for limit in limits_of(verdict):
        if limit.evidence is Evidence.UNDECIDED and limit.estimate and limit.holds is not None:
            name = limit.criterion.metric.removesuffix("_wer")
            yield (
                f"{limit.estimate.utterances} {name} utterances cannot tell a change of {points(limit.delta)} points "
                f"from the limit of {limit.criterion.limit:g}."
            )
    estimates = {limit.criterion.metric: limit.estimate for limit in limits_of(verdict) if limit.estimate}
    for metric, estimate in estimates.items():
        name = metric.removesuffix("_wer")
        yield f"The bounds of {name} WER resample {estimate.unit}s ({estimate.why}), not training runs."


def _decoding(measurement: Measurement) -> Iterator[str]:
    for name, each in measurement.sets.items():
        if each.cap_hits or each.loops:
            yield (
                f"On {name}, {each.cap_hits} decodings reached their token cap and {each.loops} end in a repeated "
                "phrase; both count as errors in full."
            )


def _baselines(conclusion: Conclusion) -> Iterator[Block]:
    rows = []
    for baseline in (conclusion.baseline, conclusion.confirm_baseline):
        for name, each in (baseline.sets if baseline else {}).items():
            speakers = len({speaker for speaker in each.speakers if speaker})
            counts = (len(each.errors), sum(each.reference_words), speakers or "-", each.cap_hits, each.loops)
            rows.append((name, percent(each.wer), *map(str, counts)))
    if rows:
        yield Heading("Baseline")
        yield Table(("set", "WER %", "utterances", "words", "speakers", "cap hits", "loops"), tuple(rows))


def _trials(conclusion: Conclusion) -> Iterator[Block]:
    if not conclusion.results:
        return
    yield Heading("All trials")
    states = Counter(str(result.state) for result in conclusion.results)
    yield Paragraph(", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    columns = ("trial", "state", "domain % (change)", "held-out % (change)", "step", "scale", "parameters", "reason")
    yield Table(columns, tuple(map(_trial_row, conclusion.results)))


def _trial_row(result: TrialResult) -> tuple[str, ...]:
    return (
        str(result.number),
        str(result.state),
        delta_text(result, "domain_wer"),
        delta_text(result, "heldout_wer"),
        "-" if result.step is None else str(result.step),
        "-" if result.adapter_scale is None else f"{result.adapter_scale:g}",
        params_text(result.params),
        result.reason,
    )


def _plots(spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion) -> Iterator[Block]:
    dots = [
        Point(r.delta["heldout"], -r.delta["domain"], f"trial {r.number}: {params_text(r.params)}", r.feasible)
        for r in conclusion.results
        if {"domain", "heldout"} <= r.delta.keys()
    ]
    if dots:
        limit, gain = spec.guardrails.get("heldout_wer"), spec.acceptance.get("domain_wer")
        limits = gain.min_gain if gain else None, limit.max_regression if limit else None
        yield Plot("Gain against regression", scatter(dots, *limits))
    for name in ("domain", "heldout"):
        lines = [Curve(f"trial {r.number}", _path(folder, r, name)) for r in conclusion.results if r.wer]
        base = conclusion.baseline.sets[name].wer if conclusion.baseline and name in conclusion.baseline.sets else None
        if svg := curves(lines, base, f"{name} WER, %"):
            yield Plot(f"{name.capitalize()} WER over steps", svg)


def _path(folder: StudyFolder, result: TrialResult, name: str) -> tuple[tuple[float, float], ...]:
    """Per step the WER at the chosen adapter scale, or at the one nearest to it."""
    wanted = result.adapter_scale or 1.0
    rows: dict[int, Measurement] = {}
    for row in folder.read_measurements(result.number):
        held = rows.get(row.step)
        if held is None or abs(row.adapter_scale - wanted) < abs(held.adapter_scale - wanted):
            rows[row.step] = row
    return tuple((float(step), row.sets[name].wer) for step, row in sorted(rows.items()) if name in row.sets)


def _notes(folder: StudyFolder) -> Iterator[Block]:
    if folder.notes.exists():
        lines = folder.notes.read_text(encoding="utf-8").splitlines()[1:]
        yield Heading("Notes")
        yield Bullets(tuple(line.removeprefix("- ") for line in lines if line))


def _commands(folder: StudyFolder, conclusion: Conclusion, command: str) -> Iterator[Block]:
    number = conclusion.best.number if conclusion.best else 0
    lines = [f"orchestrate trial {command} {number}"]
    if conclusion.best:
        lines.append(f"orchestrate export {command} {number} --to exported/{folder.name}-{number}")
    yield Heading("Again, and further")
    yield Code(tuple(lines))
    yield Paragraph(f"Plans, measurements, hypotheses and adapters of every trial: {folder.path}")
