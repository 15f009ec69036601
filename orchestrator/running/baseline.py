"""The untuned model's numbers: measured once per evaluation fingerprint, and never compared with
numbers of another one.
"""

from __future__ import annotations

import logging

from orchestrator.errors import FingerprintError
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.running.observer import Observer
from orchestrator.sweepfile.digest import digest

log = logging.getLogger(__name__)


def baseline_once(folder: StudyFolder, worker: Worker, observer: Observer) -> Measurement:
    """Return the untuned model's measurement under the worker's evaluation: the one on file, or a
    new one, which is measured and kept.

    Raises FingerprintError when trials of this study were measured with another evaluation.
    """
    fingerprint = digest(worker.evaluation)
    found = folder.read_baseline(fingerprint)
    log.debug(
        "evaluation %s: baseline %s", fingerprint[:16], "on file" if found else "to be measured"
    )
    if found is None:
        if any(result.wer for result in folder.results()):
            raise FingerprintError(
                f"The trials of study {folder.name} were evaluated differently from what this machine would do now, "
                f"so their numbers cannot be compared. {_changed_parts(folder, worker)}\n"
                "Put back what changed (data, model, device, library versions), or start a new study with --fork NAME."
            )
        observer.say("measuring the baseline")
        measured = worker.measure_baseline()
        found = measured.measurements[0]
        folder.write_evaluation(fingerprint, worker.evaluation)
        folder.write_baseline(found, measured.hypotheses[0])
    observer.baseline(found)
    return found


def _changed_parts(folder: StudyFolder, worker: Worker) -> str:
    """Say which parts of the evaluation differ from those that the study's trials were measured
    with; list all parts where those are not on file.
    """
    now = worker.evaluation
    used = {
        row.fingerprint
        for result in folder.results()
        for row in folder.read_measurements(result.number)
    }
    known = [parts for fingerprint, parts in folder.evaluations().items() if fingerprint in used]
    if not known:
        return "Now it is:" + "".join(f"\n  {name}: {value}" for name, value in now.items())
    before = known[-1]
    rows = (
        f"\n  {name}: {before.get(name, '-')} in the study, {now.get(name, '-')} now"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    )
    return "What differs:" + "".join(rows)
