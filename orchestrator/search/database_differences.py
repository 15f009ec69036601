"""Compares what a study's database says of its trials with their sealed results."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.search.dashboard_study import Check
from orchestrator.search.storage import (
    Database,
    open_read_only,
    remake_advice,
    storage_errors,
)
from orchestrator.search.trial_results import StudyTrial, optuna_end, study_trial
from orchestrator.sweepfile.sweep import SweepSpec


def _says_otherwise(spec: SweepSpec, trial: StudyTrial, result: TrialResult) -> bool:
    """Say whether the study holds other parameters, another end or another value than the
    result.
    """
    state, value = optuna_end(spec, result)
    if trial.state is not state or (value is not None and trial.value != value):
        return True
    return not all(_alike(trial.params.get(name), held) for name, held in result.params.items())


def differing_trial(
    spec: SweepSpec,
    held: Iterable[FrozenTrial],
    results: Iterable[TrialResult],
    ended: Collection[int],
) -> int | None:
    """Return the first trial that the study has otherwise than its result, or that it does not know
    to have ended although it is one of `ended`; None where all agree.

    A result is written before the study is told. So for trials not in `ended`, the study may not
    know the end yet.
    """
    trials = {
        trial.number: study_trial(spec, trial)
        for trial in held
        if trial.state != OptunaState.WAITING
    }
    for result in results:
        trial = trials.get(result.number)
        if trial is None or trial.state is TrialState.RUNNING:
            if result.number in ended:
                return result.number
        elif _says_otherwise(spec, trial, result):
            return result.number
    return None


def ended_elsewhere(
    database: Database, held: Iterable[FrozenTrial], results: Iterable[TrialResult]
) -> int | None:
    """Return the first trial whose end a server knows and the folder does not, where a result is
    written before the study is told: a copy of the folder went on with the study. None where there
    is none, and for study.db, which is copied with its folder.
    """
    if isinstance(database, Path):
        return None
    here = {result.number for result in results}
    there = (trial.number for trial in held if trial.state.is_finished())
    return next((number for number in there if number not in here), None)


def differing_trial_in(
    database: Database, spec: SweepSpec, results: Collection[TrialResult], ended: Collection[int]
) -> int | None:
    """Apply `differing_trial` and `ended_elsewhere` to the study in its database, which is only
    read. Raises StudyError where it cannot be read.
    """
    held = _held_in(database)
    differing = differing_trial(spec, held, results, ended)
    return ended_elsewhere(database, held, results) if differing is None else differing


def check_results(
    database: Database, spec: SweepSpec, results: Collection[TrialResult], ended: Collection[int]
) -> None:
    """Apply `refuse_differing` to the study in its database, which is only read."""
    refuse_differing(database, spec, _held_in(database), results, ended)


def refuse_differing(
    database: Database,
    spec: SweepSpec,
    held: Collection[FrozenTrial],
    results: Collection[TrialResult],
    ended: Collection[int] = (),
) -> None:
    """Raise StudyError where `differing_trial` or `ended_elsewhere` finds a trial."""
    number = differing_trial(spec, held, results, ended)
    if number is not None:
        raise _differs_error(database, number)
    number = ended_elsewhere(database, held, results)
    if number is not None:
        raise _went_on_error(database, number)


def check_of(spec: SweepSpec, folder: StudyFolder, ended: Collection[int]) -> Check:
    """Return `refuse_differing` for trials that are read later. The results are read after these,
    as each is written before the database is told, and of a sweep that goes on one may be new.
    """

    def check(database: Database, held: Collection[FrozenTrial]) -> None:
        refuse_differing(database, spec, held, folder.results(), ended)

    return check


def _held_in(database: Database) -> list[FrozenTrial]:
    with storage_errors(database, "Nothing was changed."), open_read_only(database) as storage:
        ids = [study._study_id for study in storage.get_all_studies()]
        return [trial for study_id in ids for trial in storage.get_all_trials(study_id)]


def _differs_error(database: Database, number: int) -> StudyError:
    """Return the error for a trial that a database has otherwise than its result, with what
    helps.
    """
    return StudyError(
        f"{database} says of trial {number} what its result.json does not say\n"
        f"  {remake_advice(database)}"
    )


def _went_on_error(database: Database, number: int) -> StudyError:
    """Return the error for a study of a server with which a copy of its folder went on."""
    return StudyError(
        f"{database} knows how trial {number} ended, and this folder does not: a copy of the study "
        f"went on there\n  {remake_advice(database)} It then has a name of its own there."
    )


def _alike(held: object, recorded: object) -> bool:
    """Compare two parameter values; floats may differ by rounding."""
    if isinstance(held, float) and isinstance(recorded, float):
        return math.isclose(held, recorded)
    return held == recorded
