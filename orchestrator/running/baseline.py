"""The untuned model's numbers: measured once per evaluation fingerprint, and never compared with
numbers of another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.errors import FingerprintError
from orchestrator.records.results import Measurement
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.running.observer import Observer
from orchestrator.sweepfile.digest import digest
from orchestrator.verdicts.confirming import ConfirmationRun

log = logging.getLogger(__name__)

_IN_COMMON = (
    *("weights", "config", "tokenizer", "terms"),
    *("normalizer", "device", "torch", "transformers"),
)
"""The parts of an evaluation that the sweep file does not settle. Search and confirmation have them
in common, while their sets differ, and their precision may.
"""


def baseline_once(folder: StudyFolder, worker: Worker, observer: Observer) -> Measurement:
    """Return the untuned model's measurement under the worker's evaluation: the one on file, or a
    new one, which is measured and kept.

    Raises FingerprintError when trials of this study were measured with another evaluation, or
    begun on another model.
    """
    fingerprint = digest(worker.evaluation)
    found = folder.read_baseline(fingerprint)
    log.debug(
        "evaluation %s: baseline %s", fingerprint[:16], "on file" if found else "to be measured"
    )
    # every run checks this, so the first trial that was measured speaks for all
    first = next(filter(None, map(folder.read_measurements, folder.planned())), ())
    if any(row.fingerprint != fingerprint for row in first):
        raise _evaluated_otherwise(folder, worker.evaluation, "trials", folder.planned())
    _check_model(folder, worker)
    if found is None:
        observer.say("measuring the baseline")
        measured = worker.measure_baseline()
        found = measured.measurements[0]
        folder.write_evaluation(fingerprint, worker.evaluation)
        folder.write_baseline(found, measured.hypotheses[0])
    observer.baseline(found)
    return found


def _check_model(folder: StudyFolder, worker: Worker) -> None:
    """Raise FingerprintError where trials were begun on other weights than the worker has. Until
    they are measured, nothing else would tell, and they would go on from a checkpoint.
    """
    now, begun = worker.evaluation.get("weights"), folder.measured_weights()
    if folder.began and now is not None and begun is not None and begun != now:
        raise FingerprintError(
            f"The trials of study {folder.name} were begun on another model than the sweep file's is now, so they "
            f"cannot go on. What differs:\n  weights: {begun} in the study, {now} now\n"
            "Put the model back, or start a new study with --fork NAME."
        )


def check_confirmation(
    folder: StudyFolder, worker: Worker, runs: Sequence[ConfirmationRun]
) -> None:
    """Check that the worker would evaluate as the confirmation runs that have ended were, and, but
    for sets and precision, as their finalists were in the search. Raises FingerprintError.
    """
    now = worker.evaluation
    ended = [run.number for run in runs if folder.read_result(run.number)]
    if _fingerprints(folder, ended) - {digest(now)}:
        raise _evaluated_otherwise(folder, now, "confirmation runs", ended)
    finalists = list(dict.fromkeys(run.trial for run in runs))
    own = _in_common(now)
    for parts in _evaluations_of(folder, finalists):
        if _in_common(parts) != own:
            raise _evaluated_otherwise(folder, own, "trials", finalists, _IN_COMMON)


def _in_common(parts: Mapping[str, str]) -> dict[str, str]:
    return {name: parts[name] for name in _IN_COMMON if name in parts}


def _evaluated_otherwise(
    folder: StudyFolder,
    now: Mapping[str, str],
    what: str,
    numbers: Iterable[int],
    names: Sequence[str] = (),
) -> FingerprintError:
    """Return the error for trials or confirmation runs (`what`) that were measured with another
    evaluation than `now`. It says which parts differ, of those in `names` if there are any.
    """
    return FingerprintError(
        f"The {what} of study {folder.name} were evaluated differently from what this machine would do now, "
        f"so their numbers cannot be compared. {_changed_parts(folder, now, numbers, names)}\n"
        "Put back what changed (data, model, device, library versions), or start a new study with --fork NAME."
    )


def _changed_parts(
    folder: StudyFolder, now: Mapping[str, str], numbers: Iterable[int], names: Sequence[str]
) -> str:
    """Say which parts of the evaluation differ from those that these trials were measured with;
    list all parts where those are not on file.
    """
    known = _evaluations_of(folder, numbers)
    if not known:
        return "Now it is:" + "".join(f"\n  {name}: {value}" for name, value in now.items())
    before = known[-1]
    rows = (
        f"\n  {name}: {before.get(name, '-')} in the study, {now.get(name, '-')} now"
        for name in names or dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    )
    return "What differs:" + "".join(rows)


def _evaluations_of(folder: StudyFolder, numbers: Iterable[int]) -> list[dict[str, str]]:
    """Return the parts of each evaluation that these trials were measured with, where on file."""
    used = _fingerprints(folder, numbers)
    return [parts for fingerprint, parts in folder.evaluations().items() if fingerprint in used]


def _fingerprints(folder: StudyFolder, numbers: Iterable[int]) -> set[str]:
    return {row.fingerprint for number in numbers for row in folder.read_measurements(number)}
