"""Makes lost files of a study again from its other files. What is made are candidates: the sealed
digests decide whether they are what was lost.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.files.names_aside import aside_of
from orchestrator.planning.trial_plan import TrialPlan, alpha_ratio_of, trial_plan
from orchestrator.records.content_digests import search_contents
from orchestrator.records.json_files import SetsFile, model_line, plan_bytes, result_bytes
from orchestrator.records.readiness.reading_sets import decode_sets, set_records
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.wording import counted
from orchestrator.running.confirmation import measured_result
from orchestrator.running.reported_rates import reported_rates
from orchestrator.search.postgres import ServerDatabase, new_record
from orchestrator.search.storage import Database, database_for, fault_of, keep_place, log_files
from orchestrator.search.study import Study
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import chosen_measurement
from orchestrator.verdicts.confirming import ConfirmationRun, confirmation_plan, rank_feasible
from orchestrator.verdicts.judging import scores

RemadeFile = tuple[Path, bytes, str]
"""(path of a file, bytes that it may have had, what they were made from in words)"""
_Trial = tuple[int, TrialPlan | None, TrialResult | None]
"""(number, plan, result); None for a plan or result that is not there."""


def remake_database(spec: SweepSpec, folder: StudyFolder) -> str:
    """Make the study's database again from the trials' files, in the place that the sweep file
    names; say what was done.

    What only the database held is gone: the notes of a dashboard, and which answers an early-stop
    rule gave to trials that had not ended. Raises StudyError when a trial's files are lost or
    damaged.
    """
    trials = [(n, folder.read_plan(n), folder.read_result(n)) for n in folder.planned()]
    if spec.storage is None:
        _into_file(spec, folder, trials)
        return f"study.db from the files of {counted(len(trials), 'trial')}"
    fresh = ServerDatabase(new_record(spec.storage.url_env, folder.name), folder.name)
    _fill_database(fresh, spec, folder, trials)
    keep_place(fresh, folder)
    if folder.database.exists():
        os.replace(folder.database, folder.database.with_name(f"{folder.database.name}.moved"))
    return (
        f"{fresh} from the files of {counted(len(trials), 'trial')}, as study {fresh.record.study}"
    )


def _into_file(spec: SweepSpec, folder: StudyFolder, trials: Sequence[_Trial]) -> None:
    """Build the new study.db aside, then put it in place; the old one is kept as
    study.db.damaged.
    """
    aside = aside_of(folder.database)
    for path in (aside, *log_files(folder.database)):
        path.unlink(missing_ok=True)
    _fill_database(aside, spec, folder, trials)
    if folder.database.exists():
        os.replace(folder.database, folder.database.with_name(f"{folder.database.name}.damaged"))
    os.replace(aside, folder.database)
    keep_place(folder.database, folder)


def _fill_database(
    place: Database, spec: SweepSpec, folder: StudyFolder, trials: Sequence[_Trial]
) -> None:
    """Put all trials into a new database."""
    with closing(Study.open(place, spec)) as study:
        for number, plan, result in trials:
            assert plan is not None
            study.put_again(
                _searched_params(spec, plan, result),
                reported_rates(spec, folder, number, result),
                result,
            )
        study.commit()


def _searched_params(
    spec: SweepSpec, plan: TrialPlan, result: TrialResult | None
) -> dict[str, Any]:
    """Return the searched values of a trial. Raises StudyError where there is no result and the
    plan alone does not determine them.
    """
    if result is not None:
        return result.params
    held = plan.params.model_dump() | {"alpha_ratio": alpha_ratio_of(plan.params, spec.parameters)}
    params = {
        parameter.name: held[parameter.name]
        for parameter in spec.parameters.searched
        if parameter.name in held
    }
    # its names of sweep, model and manifests are those of its time, which may have changed since
    if trial_plan(spec, plan.number, params, plan.contents).params != plan.params:
        raise StudyError(
            f"the searched values of trial {plan.number} do not follow from its plan.json"
        )
    return params


def remake_sets(spec: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    """Yield candidates for a lost sets.json: with the names that manifests have now, and with those
    that they had when the trials were planned.
    """
    faults, source = folder.faults(), "the manifests and their audio"
    if folder.sets_file.name not in faults:
        return
    records = set_records(spec, decode_sets(spec, folder.project_cache))
    yield folder.sets_file, model_line(SetsFile(records)), source
    _, whole = _lost_and_whole_plans(folder, folder.planned(), faults)
    for paths in _distinct(_manifests_of(plan.data) for plan in whole):
        renamed = {
            name: record.model_copy(update={"manifest": paths.get(name, record.manifest)})
            for name, record in records.items()
        }
        yield folder.sets_file, model_line(SetsFile(renamed)), source


def _manifests_of(data: DataSpec) -> dict[str, str]:
    """Return the path of each set's manifest, by the names of the report."""
    paths = {"train": data.train, "replay": data.replay}
    paths |= {name: source.path for name, source in data.all_evaluated.items()}
    return {name: str(path) for name, path in paths.items() if path is not None}


def _distinct(values: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield those values that did not come before."""
    seen: list[dict[str, Any]] = []
    for value in values:
        if value not in seen:
            seen.append(value)
            yield value


def remake_plans(spec: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    """Yield candidates for lost plans of trials, from their results or the database."""
    faults = folder.faults()
    lost, whole = _lost_and_whole_plans(folder, folder.planned(), faults)
    weights = {parts.get("weights") for parts in folder.evaluations().values()} | {None}
    known = _searched_values(spec, folder, lost)
    for number, (params, source) in known.items():
        for weight in weights:
            contents = search_contents(folder.sets(), weight)
            plan = trial_plan(spec, number, params, contents)
            for data in _possible_bytes(plan, whole):
                yield folder.plan_file(number), data, source


def remake_confirmation_plans(spec: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    """Yield candidates for lost plans of confirmation runs, from their finalists."""
    faults = folder.faults()
    _, whole = _lost_and_whole_plans(folder, folder.planned(confirm=True), faults)
    for run in _possible_runs(spec, folder):
        for data in _possible_bytes(run.plan, whole):
            yield folder.plan_file(run.number), data, "the plan of its finalist"


def _lost_and_whole_plans(
    folder: StudyFolder, numbers: Sequence[int], faults: Collection[str]
) -> tuple[list[int], list[TrialPlan]]:
    """Return the numbers whose plans are lost or damaged, and the plans of the others."""
    lost = [n for n in numbers if _name_in_study(folder, folder.plan_file(n)) in faults]
    plans = [folder.read_plan(number) for number in numbers if number not in lost]
    return lost, [plan for plan in plans if plan is not None]


def _possible_bytes(plan: TrialPlan, others: Iterable[TrialPlan]) -> Iterator[bytes]:
    """Yield the bytes that a plan may have had: with the names that sweep, model and manifests have
    now, and with those that they had when the `others` were made.
    """
    yield plan_bytes(plan)
    names = ("sweep", "model", "data", "contents")
    for named in _distinct({name: getattr(each, name) for name in names} for each in others):
        yield plan_bytes(plan.model_copy(update=named))


def _searched_values(
    spec: SweepSpec, folder: StudyFolder, numbers: Sequence[int]
) -> dict[int, tuple[dict[str, Any], str]]:
    """Return number -> (searched values, where they were found) of these trials. A trial that
    neither its result nor the database knows is left out.
    """
    found: dict[int, tuple[dict[str, Any], str]] = {}
    if not numbers:
        return found
    with _open_if_whole(spec, folder) as study:
        known = study.trials() if study else ()
        for trial in known:
            if trial.number in numbers:
                found[trial.number] = (trial.params, "the database and the sweep file")
    for number in numbers:
        with suppress(StudyError):  # its result is lost as well
            if result := folder.read_result(number):
                found[number] = (result.params, "its result.json and the sweep file")
    return found


@contextmanager
def _open_if_whole(spec: SweepSpec, folder: StudyFolder) -> Iterator[Study | None]:
    """Yield the study in its database; None where the database is lost or damaged, so that no new
    one is made in its place.
    """
    study, place = None, database_for(spec, folder)
    with suppress(StudyError):
        if fault_of(place, ()) is None:
            study = Study.open(place, spec)
    try:
        yield study
    finally:
        if study is not None:
            study.close()


def remake_results(spec: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    """Yield candidates for lost results of trials, from the database."""
    faults = folder.faults()
    lost = [n for n in folder.planned() if _name_in_study(folder, folder.result_file(n)) in faults]
    if not lost:
        return
    with _open_if_whole(spec, folder) as study:
        known = {trial.number for trial in study.trials()} if study else set()
        told = [
            result
            for number in lost
            if study and number in known and (result := study.told(number))
        ]
    for result in map(partial(_in_measured_order, folder), told):
        for state in TrialState:  # the database's may differ: gp is told another one
            data = result_bytes(result.model_copy(update={"state": state}))
            yield folder.result_file(result.number), data, "the database"


def _in_measured_order(folder: StudyFolder, result: TrialResult) -> TrialResult:
    """Return the result with its rates in the order of its measurement, as it was written: a
    database returns a trial's attributes in any order.
    """
    measured = None
    with suppress(StudyError):  # its measurements are lost as well
        trained = result.model_copy(update={"number": result.trained})
        measured = chosen_measurement(folder, trained)
    names = [] if measured is None else [*scores(measured).sets]
    rates = {
        field: {name: held[name] for name in names if name in held} | held
        for field, held in (("wer", result.wer), ("delta", result.delta))
    }
    return result.model_copy(update=rates)


def remake_confirmations(spec: SweepSpec, folder: StudyFolder) -> Iterator[RemadeFile]:
    """Yield candidates for results of confirmation runs, from their measurements."""
    for run in _possible_runs(spec, folder):
        for row in folder.read_measurements(run.number):
            baseline = folder.read_baseline(row.fingerprint)
            if baseline is not None:
                data = result_bytes(measured_result(spec, folder, run, row, scores(baseline)))
                yield folder.result_file(run.number), data, "its measurements"


def _possible_runs(spec: SweepSpec, folder: StudyFolder) -> Iterator[ConfirmationRun]:
    """Yield every run (finalist and seed) that may belong to a confirmation number whose plan or
    result is lost or damaged.
    """
    if spec.confirm is None:
        return
    faults, sets = set(folder.faults()), folder.sets()
    for number in folder.planned(confirm=True):
        names = {
            _name_in_study(folder, folder.plan_file(number)),
            _name_in_study(folder, folder.result_file(number)),
        }
        if not names & faults:
            continue
        for result in rank_feasible(folder.results(), spec.objective):
            plan = folder.read_plan(result.number)
            if plan is None:
                continue
            for seed in spec.confirm.seeds:
                again = confirmation_plan(spec, plan, result, seed, number, sets)
                yield ConfirmationRun(result.number, seed, number, again)


def _name_in_study(folder: StudyFolder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix()
