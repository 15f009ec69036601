"""The output of `orchestrate diagnose --train`: the checks of the model, and what a short training
run changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from orchestrator.checks import CHECKS
from orchestrator.records.short_run import STEPS, SetComparison, ShortRun, WindowComparison
from orchestrator.reporting.documents.sweep_diagnosis import findings_text
from orchestrator.reporting.documents.transcripts import NOTHING
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Document,
    Heading,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import percent
from orchestrator.sweepfile.sweep import SweepSpec


def build(spec: SweepSpec, run: ShortRun) -> Document:
    """Build the document: checks of the model, what training changes, encoder windows, transcripts
    and findings.
    """
    blocks = [
        *_checks_blocks(spec, run),
        *_efficacy_blocks(run),
        *_windows_blocks(run.windows),
        *_transcripts_blocks(run),
    ]
    if run.findings:
        blocks += [Heading("Findings"), Bullets(findings_text(spec, run.findings))]
    return Document(f"{STEPS} steps of sweep {spec.name}", _headline_of_run(run), tuple(blocks))


def _headline_of_run(run: ShortRun) -> str:
    if run.failure:
        return f"Training fails: {run.failure}"
    changed = sum(changes.changed_words or 0 for changes in run.sets.values())
    return f"Training moves the weights by {100 * run.relative_delta:.2g} % and changes {changed} words"


def _checks_blocks(spec: SweepSpec, run: ShortRun) -> Iterator[Block]:
    ignore = spec.checks.ignore
    found = {
        finding.name: "ignored" if finding.name in ignore else finding.level
        for finding in run.findings
    }
    made = [row for row in CHECKS.values() if row.stage in ("model", "baseline", "trial")]
    rows = tuple((row.name, found.get(row.name, "passed"), row.meaning) for row in made)
    yield Heading("Checks of the model")
    yield Table(("check", "result", "it would mean"), rows)


def _efficacy_blocks(run: ShortRun) -> Iterator[Block]:
    yield Heading("What training changes")
    yield Paragraph(
        "The sweep's first point at adapter scale 1, on as many utterances of each set as were asked for."
    )
    rows = [
        ("optimizer steps", str(run.params.max_steps)),
        ("learning rate", f"{run.params.learning_rate:g}"),
        ("adapted modules", str(run.modules)),
        ("of them unchanged", _first_names(run.still)),
        ("change of the weights, relative norm", f"{run.relative_delta:.3g}"),
        ("loss on the first batch, before", _loss_text(run.loss_before)),
        ("loss on the first batch, after", _loss_text(run.loss_after)),
    ]
    yield Table(("what", "value"), tuple(rows))
    columns = ("set", "utterances", "words", "baseline WER %", "WER % after", "changed words")
    yield Table(columns, tuple((name, *_set_row(changes)) for name, changes in run.sets.items()))


def _loss_text(loss: float) -> str:
    return f"{loss:.4f}" if math.isfinite(loss) else "-"


def _windows_blocks(found: WindowComparison | None) -> Iterator[Block]:
    """Say how transcripts differ between the sweep's encoder windows and the other way to read
    them: that of the authors' runtime, or of stock transformers.
    """
    if found is None:
        return
    yield Heading("Encoder windows")
    yield Paragraph(
        f"The sweep computes the windows {found.used} (frames before and ahead, layer by layer); "
        f"evaluation.encoder_windows: {found.other_name} computes {found.other}. The runtime of the model's authors "
        "reads the widths as inclusive."
    )
    rows = (
        ("largest change of the encoder's output", f"{100 * found.change:.2g} %"),
        ("utterances with other words", f"{found.changed} of {found.utterances}"),
        ("domain WER % in the sweep's windows", percent(found.wer)),
        (f"domain WER % in the {found.other_name} ones", percent(found.other_wer)),
    )
    yield Table(("untuned model, on the domain sample", "value"), rows)


def _transcripts_blocks(run: ShortRun) -> Iterator[Block]:
    yield Heading("Ten utterances of the domain")
    yield Paragraph(
        "As they were written down, before the normaliser; spread over the sample, not chosen."
    )
    rows = tuple(
        (said.utterance, said.reference, _text_or_dash(said.untuned), _text_or_dash(said.tuned))
        for said in run.transcripts
    )
    yield Table(("utterance", "reference", "untuned model", f"after {STEPS} steps"), rows)


def _text_or_dash(hypothesis: str | None) -> str:
    if hypothesis is None:
        return "-"
    return hypothesis or NOTHING


def _first_names(names: tuple[str, ...]) -> str:
    """Say how many names there are, and the first of them."""
    return f"{len(names)} (the first is {names[0]})" if names else "0"


def _set_row(changes: SetComparison) -> tuple[str, ...]:
    after = "-" if changes.wer is None else percent(changes.wer)
    changed = "-" if changes.changed_words is None else str(changes.changed_words)
    return (
        str(changes.utterances),
        str(changes.words),
        percent(changes.baseline_wer),
        after,
        changed,
    )
