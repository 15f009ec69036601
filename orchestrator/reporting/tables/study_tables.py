"""A study as tables for analysis, with typed columns: a row for each trial, for each set of a
measurement, or for each utterance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, SetMeasurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.wording import shown_result
from orchestrator.scoring.edit_counts import error_rate
from orchestrator.scoring.rates import SetScore, delta
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.confirming import confirmation_runs

Cell = bool | int | float | str | None
Row = tuple[Cell, ...]
Columns = dict[str, type]
"""Name of each column -> bool, int, float or str, in the order of a row's cells."""

_PLACE: Columns = {"study": str, "run": str, "number": int}
_RUNG: Columns = {"step": int, "adapter_scale": float, "set": str}
_TRIAL: Columns = {
    "confirms": int, "state": str, "reason": str, "feasible": bool, "step": int,
    "adapter_scale": float, "steps_trained": int, "seconds": float, "duplicate_of": int,
    "pruned_by": str, "recipe": str,
}  # fmt: skip
_EDITS: Columns = {
    "words": int, "substitutions": int, "deletions": int, "insertions": int, "errors": int,
}  # fmt: skip
_MEASUREMENT: Columns = {
    "gave_the_result": bool, "utterances": int, **_EDITS, "wer": float, "baseline_wer": float,
    "delta": float, "characters": int, "character_errors": int, "cer": float, "terms_said": int,
    "terms_heard": int, "terms_found": int, "cap_hits": int, "loops": int, "train_loss": float,
    "fingerprint": str,
}  # fmt: skip
_UTTERANCE: Columns = {
    "utterance": str, "speaker": str, **_EDITS, "baseline_errors": int, "change": int,
    "reference": str, "baseline_hypothesis": str, "hypothesis": str,
}  # fmt: skip
_GROUPS = ("params", "wer", "delta", "constraint")
"""Prefixes of the further columns of the table of trials, in their order: a column for each
parameter, rate, change and guardrail.
"""


@dataclass(frozen=True)
class DataTable:
    """A table whose rows are made while they are read, as one of utterances may exceed
    the memory.
    """

    columns: Columns
    rows: Iterator[Row]


@dataclass(frozen=True)
class _Measured:
    """One measurement, and the run that it belongs to."""

    run: str
    """What kind of run it is: search, confirm or baseline."""
    number: int | None
    measurement: Measurement
    gave_the_result: bool


def table(
    spec: SweepSpec, folder: StudyFolder, kind: str, every_measurement: bool = False
) -> DataTable:
    """Return a table of a study; `kind` is one of the keys of `KINDS`.

    Utterances are those of the measurements that gave the trials their results, or, with
    `every_measurement`, of all. Raises StudyError where files are lost or were altered.
    """
    return KINDS[kind](spec, folder, every_measurement)


def _trials(spec: SweepSpec, folder: StudyFolder, every_measurement: bool) -> DataTable:
    """Return a row for every planned trial and confirmation run, also those that have not ended."""
    numbers = (*folder.planned(), *folder.planned(confirm=True))
    plans = {number: plan for number in numbers if (plan := folder.read_plan(number))}
    results = {result.number: result for result in (*folder.results(), *folder.confirmations())}
    finalists = {run.number: run.trial for run in confirmation_runs(spec, folder, folder.results())}
    records = [
        _trial_record(folder.name, plan, results.get(number), finalists.get(number))
        for number, plan in plans.items()
    ]
    columns = _PLACE | _TRIAL
    further = set(chain.from_iterable(records)) - set(columns)
    for name in sorted(further, key=lambda name: (_GROUPS.index(name.partition("_")[0]), name)):
        columns[name] = _type_of([record.get(name) for record in records])
    return DataTable(columns, (tuple(map(record.get, columns)) for record in records))


def _trial_record(
    study: str, plan: TrialPlan, result: TrialResult | None, finalist: int | None
) -> dict[str, Any]:
    params = plan.params.model_dump(mode="json")
    record: dict[str, Any] = {
        "study": study,
        "run": "search" if plan.number >= 0 else "confirm",
        "number": plan.number,
        "confirms": finalist,
        "state": str(TrialState.RUNNING),
        "recipe": plan.recipe,
    }
    record |= {f"params_{name}": _cell(value) for name, value in params.items()}
    if result is None:
        return record
    names = set(_TRIAL) - {"confirms", "recipe", "state"}
    record |= {"state": str(result.state)} | {name: getattr(result, name) for name in names}
    if plan.number < 0:  # also one that no longer counts; how long it took is not on file
        record |= {"confirms": result.params["trial"], "seconds": None}
    shown = shown_result(result)
    for group in ("wer", "delta", "constraints"):
        record |= {f"{group.removesuffix('s')}_{name}": x for name, x in shown[group].items()}
    return record


def _cell(value: Any) -> Cell:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _type_of(values: Sequence[Cell]) -> type:
    """Return the narrowest type that holds all values; str for a mixture, or where there
    are none.
    """
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        return float
    return types.pop() if len(types) == 1 else str


def _measured(folder: StudyFolder) -> Iterator[_Measured]:
    """Yield the baselines, then every measurement of every trial and confirmation run."""
    for fingerprint in folder.evaluations():
        if (baseline := folder.read_baseline(fingerprint)) is not None:
            yield _Measured("baseline", None, baseline, True)
    for number in (*folder.planned(), *folder.planned(confirm=True)):
        result = folder.read_result(number)
        chosen = (result.step, result.adapter_scale) if result else None
        run = "search" if number >= 0 else "confirm"
        for row in folder.read_measurements(number):
            yield _Measured(run, number, row, (row.step, row.adapter_scale) == chosen)


def _measurements(spec: SweepSpec, folder: StudyFolder, every_measurement: bool) -> DataTable:
    rows = (
        (*_place(folder, measurement), name, *_measurement_cells(folder, measurement, name))
        for measurement in _measured(folder)
        for name in measurement.measurement.sets
    )
    return DataTable(_PLACE | _RUNG | _MEASUREMENT, rows)


def _place(folder: StudyFolder, measured_at: _Measured) -> Row:
    measurement = measured_at.measurement
    return (
        folder.name,
        measured_at.run,
        measured_at.number,
        measurement.step,
        measurement.adapter_scale,
    )


def _measurement_cells(folder: StudyFolder, measured_at: _Measured, name: str) -> Row:
    measured, terms = measured_at.measurement.sets[name], measured_at.measurement.sets[name].terms
    baseline = _baseline_set(folder, measured_at, name)
    before = None if baseline is None else baseline.wer
    edits = (measured.reference_words, *_edits(measured))
    characters = _characters(measured)
    counted = (terms.said, terms.heard, terms.found) if terms else ()
    return (
        measured_at.gave_the_result,
        len(measured.utterance_ids),
        *map(sum, edits),
        measured.wer,
        before,
        None if baseline is None else delta(_words(baseline), _words(measured)),
        *characters,
        *(map(sum, counted) if terms else (None, None, None)),
        measured.cap_hits,
        measured.loops,
        measured_at.measurement.train_loss,
        measured_at.measurement.fingerprint,
    )


def _words(measured: SetMeasurement) -> SetScore:
    return SetScore(measured.errors, measured.reference_words)


def _edits(measured: SetMeasurement) -> tuple[tuple[int, ...], ...]:
    return measured.substitutions, measured.deletions, measured.insertions, measured.errors


def _characters(measured: SetMeasurement) -> Row:
    """Return characters, character errors and CER in percent; None where they were not counted."""
    if not sum(measured.characters):
        return None, None, None
    errors, characters = measured.character_errors, measured.characters
    return sum(characters), sum(errors), error_rate(errors, characters)


def _baseline_set(folder: StudyFolder, measured_at: _Measured, name: str) -> SetMeasurement | None:
    baseline = folder.read_baseline(measured_at.measurement.fingerprint)
    return None if baseline is None else baseline.sets.get(name)


def _utterances(spec: SweepSpec, folder: StudyFolder, every_measurement: bool) -> DataTable:
    rows = chain.from_iterable(
        _utterance_rows(folder, measurement)
        for measurement in _measured(folder)
        if measurement.gave_the_result or every_measurement
    )
    return DataTable(_PLACE | _RUNG | _UTTERANCE, rows)


def _utterance_rows(folder: StudyFolder, measured_at: _Measured) -> Iterator[Row]:
    measurement, sets = measured_at.measurement, folder.sets()
    baseline = folder.read_baseline(measurement.fingerprint)
    untuned = folder.read_baseline_hypotheses(baseline) if baseline else {}
    hypotheses = (
        untuned
        if measured_at.number is None
        else folder.read_hypotheses(measured_at.number, measurement)
    )
    for name, measured in measurement.sets.items():
        total = len(measured.utterance_ids)
        before = _baseline_set(folder, measured_at, name)
        errors = before.errors if before else (None,) * total
        references = sets[name].texts if name in sets else ()
        texts = [
            _texts(column, total)
            for column in (references, untuned.get(name), hypotheses.get(name))
        ]
        counts = (measured.reference_words, *_edits(measured))
        columns = (measured.utterance_ids, measured.speakers, *counts, errors, *texts)
        for utterance, speaker, *cells in zip(*columns, strict=True):
            *edits, was, reference, untuned_text, text = cells
            change = None if was is None else edits[-1] - was
            place = (*_place(folder, measured_at), name)
            yield (*place, utterance, speaker, *edits, was, change, reference, untuned_text, text)


def _texts(texts: Sequence[str] | None, total: int) -> Sequence[str | None]:
    """Return one text for each utterance; None for all where the texts are not those of the set."""
    return texts if texts and len(texts) == total else (None,) * total


KINDS: Mapping[str, Callable[[SweepSpec, StudyFolder, bool], DataTable]] = {
    "trials": _trials,
    "measurements": _measurements,
    "utterances": _utterances,
}
