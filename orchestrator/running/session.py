"""One run of `orchestrate SPEC`: agree with the study on disk, check the data, search, confirm,
conclude.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.corpus.cache.reading_once import reading_once
from orchestrator.records.provenance import provenance
from orchestrator.records.readiness.optional_packages import check_can_launch
from orchestrator.records.results import TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import SAVE_SECONDS, MakeWorker, Worker
from orchestrator.running.checkpoints import (
    known_as_ended,
    mend_beside,
)
from orchestrator.running.completion import is_finished, last_checkpoint, search_is_over
from orchestrator.running.observer import Observer
from orchestrator.running.pack_sizes import (
    in_packs,
    pack_record,
    with_found_packs,
    with_recorded_pack,
)
from orchestrator.running.preflight import check_data
from orchestrator.running.recording_findings import notice_text, record_findings
from orchestrator.running.signals import GracefulShutdown
from orchestrator.running.spec_changes import agree_on_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion
from orchestrator.verdicts.confirming import confirmation_runs, pending_runs
from orchestrator.verdicts.shipping import asks_for_shipped, check_can_ship

if TYPE_CHECKING:
    from orchestrator.search.storage import Database

log = logging.getLogger(__name__)


def run_study(
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: MakeWorker,
    observer: Observer,
    drain: GracefulShutdown,
    first_note: str = "",
) -> Conclusion:
    """Create or continue the study until its budget is spent and its finalists are confirmed. A
    study that begins gets `first_note` in its notes.

    Of a finished study nothing is searched or confirmed again, so neither optuna nor torch is
    imported for that; one in a folder that cannot be written to is reported as it is.

    Raises StudyError when the sweep file is not the one of the study or another run holds it,
    DataError, ManifestError, ModelError, Interrupted.
    """
    if folder.read_only and is_finished(spec, folder):
        agree_on_spec(spec, folder)
        observer.say(
            f"{folder.path} cannot be written to: the study, which is finished, is reported as it is, and "
            "its report.md and report.html stay as they are"
        )
        return conclude(spec, folder)
    with folder.lock():
        if kind := folder.shared_file_system():
            observer.say(_shared_folder_warning(folder, kind))
        keep = agree_on_spec(spec, folder)
        if not folder.began:
            keep()
            folder.add_seconds(0.0)  # from here on, a study without a clock has lost it
            if first_note:
                folder.note_once(first_note)
        for line in mend_beside(folder):
            notice_text(folder, observer, f"made again: {line}")
        log.debug("study %s is held by this process", folder.path)
        # a search without its checkpoint is gone through again: the database may not know its end
        if not is_finished(spec, folder) or last_checkpoint(folder) is None:
            _search_and_confirm(spec, folder, make_worker, observer, drain, keep)
        elif folder.began:
            keep()
        _verify_shipped(spec, folder, observer, drain)
        return conclude(spec, folder)


def _shared_folder_warning(folder: StudyFolder, kind: str) -> str:
    """Say what is not guaranteed on a file system that several hosts share."""
    database = "" if folder.server() else "; open study.db on this host alone"
    return (
        f"{folder.path} lies on {kind}, where flock may not hold between hosts: "
        f"a beat in owner/ guards the study as well{database}"
    )


def _search_and_confirm(
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: MakeWorker,
    observer: Observer,
    drain: GracefulShutdown,
    keep: Callable[[], None],
) -> None:
    """Search and confirm while this process holds the study's database.

    `keep` stores what has changed in the sweep file. It is called only once data and model have
    passed their checks, and are found to be those of the study, so a run that is refused leaves the
    study, and its verdict, as they were.
    """
    from orchestrator.search.storage import database_for, held

    check_can_ship(spec)
    check_can_launch(spec.execution)
    database = database_for(spec, folder)
    with held(database, must_exist=folder.began), reading_once():
        # the report reads these transcripts: a damaged one is refused before hours of training
        ended = _ended_results(spec, folder)
        folder.check_heard(result for result in ended if result.feasible or result.number < 0)
        check_data(spec, folder, observer)
        made = provenance(datetime.now(UTC).strftime("%Y-%m-%d"))
        folder.note(
            "run with "
            + ", ".join(f"{name} {value}" for name, value in made.items() if name != "date")
        )
        if spec.taken:
            folder.note(spec.taken)
        observer.resumed(ended, folder.seconds_spent() or 0.0)
        drain.check()  # loading the model takes long
        if search_is_over(spec, folder) and last_checkpoint(folder) is not None:
            observer.searched(folder.seconds_spent() or 0.0, goes_on=False)
            _check_database(spec, folder, database)
        else:
            _run_search(spec, folder, database, make_worker, observer, drain, keep)
            # only now it is known which confirmation runs on file are of the finalists
            known = {result.number for result in ended}
            found = _ended_results(spec, folder)
            observer.confirmed(
                [each for each in found if each.number < 0 and each.number not in known]
            )
        _run_confirmation(spec, folder, make_worker, observer, drain, keep)
        keep()


def _check_database(spec: SweepSpec, folder: StudyFolder, database: Database) -> None:
    """Raise StudyError for a database that does not match the search's results: the trial that is
    confirmed would be another than the one that the database shows.
    """
    from orchestrator.search.database_differences import check_results
    from orchestrator.search.storage import fault_of, short_name

    if fault := fault_of(database, folder.planned()):
        raise folder.journal.error({short_name(database): fault})
    results = folder.results()
    check_results(database, spec, results, known_as_ended(folder, results))


def _ended_results(spec: SweepSpec, folder: StudyFolder) -> tuple[TrialResult, ...]:
    """Return the results of the trials that have ended and of the finalists' confirmation runs."""
    results = folder.results()
    runs = confirmation_runs(spec, folder, results) if search_is_over(spec, folder) else ()
    confirmed = (folder.read_result(run.number) for run in runs)
    return (*results, *(result for result in confirmed if result is not None))


def _run_search(
    spec: SweepSpec,
    folder: StudyFolder,
    database: Database,
    make_worker: MakeWorker,
    observer: Observer,
    drain: GracefulShutdown,
    keep: Callable[[], None],
) -> None:
    """Search until the budget is spent."""
    from orchestrator.running.sweep_loop import run_sweep
    from orchestrator.search.storage import keep_place
    from orchestrator.search.study import Study

    asked = spec
    spec = with_recorded_pack(spec, folder)
    # A study whose data the model refuses has no database yet: it is new, and its sweep file may be
    # corrected.
    new = not folder.has_database(spec.storage is not None)
    made_for = spec if folder.began else asked
    worker = _worker_for(make_worker, made_for, folder, observer) if new else None
    keep_place(database, folder)
    study = Study.open(database, spec)
    try:
        if worker is None:
            worker = _worker_for(make_worker, made_for, folder, observer)
        if not folder.began:
            spec = with_found_packs(spec, worker)
            folder.write_pack(pack_record(spec.execution, worker))
        say = partial(notice_text, folder, observer)
        left = max(1, spec.budget.trials - len(folder.results()))
        with in_packs(worker, spec, folder, make_worker, left, say, drain.check) as packs:
            run_sweep(
                spec, folder, packs, study, observer,
                drain=drain, save_every=SAVE_SECONDS, agreed=keep,
            )  # fmt: skip
    finally:
        study.close()


def _run_confirmation(
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: MakeWorker,
    observer: Observer,
    drain: GracefulShutdown,
    keep: Callable[[], None],
) -> None:
    if spec.confirm is None or spec.data.confirm is None:
        return
    from orchestrator.running.confirmation import run_confirmation
    from orchestrator.verdicts.confirming import confirmation_spec

    other = confirmation_spec(with_recorded_pack(spec, folder))
    with ExitStack() as open_packs:

        def packs() -> Worker:
            worker = _worker_for(make_worker, other, folder, observer, "confirm")
            say = partial(notice_text, folder, observer)
            left = len(pending_runs(spec, folder))
            packed = in_packs(worker, other, folder, make_worker, left, say, drain.check)
            return open_packs.enter_context(packed)

        run_confirmation(spec, folder, packs, observer, drain, agreed=keep)


def _verify_shipped(
    spec: SweepSpec, folder: StudyFolder, observer: Observer, drain: GracefulShutdown
) -> None:
    """Verify the winner's exported form, where the sweep file makes the verdict depend on it."""
    if asks_for_shipped(spec):
        from orchestrator.running.verifying import verify_before_verdict

        verify_before_verdict(spec, folder, observer.say, drain.check)


def _worker_for(
    make_worker: MakeWorker,
    spec: SweepSpec,
    folder: StudyFolder,
    observer: Observer,
    stage: str = "model",
) -> Worker:
    """Make the worker, which loads the model, then say and record its notes and findings under
    `stage`.
    """
    observer.say("loading the base model")
    worker = make_worker(spec, folder)
    log.debug(
        "worker for the %s stage: %s, %d slots", stage, type(worker).__name__, worker.capacity
    )
    for note in getattr(worker, "notes", ()):
        observer.say(note)
        folder.note(note)
    record_findings(stage, getattr(worker, "findings", ()), spec, folder, observer)
    return worker
