"""What the checks found becomes a line for the person, a dated note, and a doubt of the report; and the headroom."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.checks import Finding, finding, stop
from orchestrator.errors import DataError
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import Observer
from orchestrator.spec.sweep import SweepSpec

HEADROOM = 5.0
"""Percent of domain WER below which a gain is hard to find and harder to prove."""


def settle(stage: str, findings: Sequence[Finding], spec: SweepSpec, folder: StudyFolder, observer: Observer) -> None:
    """Say what does not stop the sweep and note it, once; what is ignored by name is noted as such, never silent."""
    noted = folder.notes.read_text(encoding="utf-8") if folder.notes.exists() else ""
    for each in findings:
        ignored = each.name in spec.checks.ignore
        if each.level == "refuse" and not ignored:
            continue
        line = f"{stage}: {each.message}"
        line = f"{line} Check {each.name} is ignored by the sweep file." if ignored else line
        observer.say(line)
        if " ".join(line.split()) not in noted:
            folder.note(line)
    folder.write_findings(stage, [each for each in findings if each.level == "warn" or each.name in spec.checks.ignore])


def headroom(spec: SweepSpec, baseline: Measurement) -> list[Finding]:
    """Whether the baseline leaves room for the gain that is asked for; WER and gain in points."""
    wer = baseline.sets["domain"].wer
    criterion = spec.acceptance.get("domain_wer")
    gain = criterion.min_gain if criterion is not None else None
    if gain is not None and wer <= gain:
        message = (
            f"the baseline's domain WER is {wer:.2f} %, so a gain of {gain:g} points cannot be reached by any adapter; "
            "ask for less, or take a domain set that the model finds harder."
        )
        return [finding("no-headroom", message)]
    if wer < HEADROOM:
        message = (
            f"the baseline's domain WER is {wer:.2f} %, below {HEADROOM:g} %: few errors are left to win, and a gain "
            "is hard to tell from chance."
        )
        return [finding("low-headroom", message)]
    return []


def check_headroom(spec: SweepSpec, baseline: Measurement, folder: StudyFolder, observer: Observer) -> None:
    """Say and note little headroom; raises DataError where there is none."""
    findings = headroom(spec, baseline)
    settle("baseline", findings, spec, folder, observer)
    stop(findings, spec.checks.ignore, "The baseline leaves no room for the gain that is asked for", DataError)
