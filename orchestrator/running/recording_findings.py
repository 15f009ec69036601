"""Records what the checks found: as a line for the person, a dated note, and a doubt in the
report.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from orchestrator.checks import Finding
from orchestrator.errors import DataError, ModelError
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Noticed
from orchestrator.refused_findings import stop
from orchestrator.running.observer import Observer
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.headroom import headroom, high_rates


def record_findings(
    stage: str,
    findings: Sequence[Finding],
    spec: SweepSpec,
    folder: StudyFolder,
    observer: Observer,
) -> None:
    """Say and note, once, the findings that do not stop the sweep, and keep them for the report. A
    finding that the sweep file ignores by name is noted as ignored, never passed over in silence.
    """
    for finding in findings:
        ignored = finding.name in spec.checks.ignore
        if finding.level == "refuse" and not ignored:
            continue
        line = f"{stage}: {finding.message}"
        line = f"{line} Check {finding.name} is ignored by the sweep file." if ignored else line
        observer.say(line)
        folder.note_once(line)
    folder.write_findings(
        stage,
        [
            finding
            for finding in findings
            if finding.level == "warn" or finding.name in spec.checks.ignore
        ],
    )


def notice(folder: StudyFolder, observer: Observer, event: Noticed) -> None:
    """Say and note what a worker noticed, each time it does."""
    notice_text(folder, observer, event.text)


def notice_text(folder: StudyFolder, observer: Observer, text: str) -> None:
    """Say and note a text, each time."""
    observer.say(text)
    folder.note(text)


def keep_cause(folder: StudyFolder, number: int, error: ModelError) -> None:
    """Keep the traceback of a trial that could not be admitted, unless its error has no cause and
    the message says all.
    """
    if error.__cause__ is not None:
        folder.write_failure(number, "".join(traceback.format_exception(error)))


def check_headroom(
    spec: SweepSpec, baseline: Measurement, folder: StudyFolder, observer: Observer
) -> None:
    """Say and note that the baseline leaves little headroom, or that its error rate is very high.
    Raises DataError where there is no headroom.
    """
    findings = [
        *headroom(spec, baseline.sets["domain"]),
        *high_rates(spec, baseline, "the untuned model"),
    ]
    record_findings("baseline", findings, spec, folder, observer)
    stop(
        findings,
        spec.checks.ignore,
        "The baseline leaves no room for the gain that is asked for",
        DataError,
    )
