"""The Optuna study of a sweep: ask, report and tell, such that an interrupted sweep equals an
uninterrupted one.

One process at a time uses it, holding the study's lock. A trial that was RUNNING when a run was
killed is continued under its own number. A trial that breaks a guardrail is told as PRUNED:
optuna-dashboard and study summaries do not read constraints and would call it the best. Only for
method gp is it COMPLETE with its constraint, because GP learns nothing from PRUNED trials; so there
the dashboard's "best" may break a guardrail. Feasibility is therefore never read back from Optuna's
state; `feasible` in the user attributes is ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.scoring.limit_text import rate_text
from orchestrator.search.database_differences import refuse_differing
from orchestrator.search.file_as_left import FileAsLeft
from orchestrator.search.postgres import ServerDatabase
from orchestrator.search.pruners import Pruner
from orchestrator.search.samplers import StatelessSampler, present_distributions, suggest
from orchestrator.search.storage import (
    Database,
    close_storage,
    open_storage,
    refuse_other_kinds,
    remake_advice,
    storage_errors,
)
from orchestrator.search.trial_results import (
    StudyTrial,
    in_spec_order,
    optuna_end,
    read_result,
    refuse_non_finite,
    result_attributes,
    snapped_params,
    study_trial,
)
from orchestrator.search.write_through import NotAsLeft, WriteThroughStorage
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.sweep import SweepSpec

_CONTINUED = "Every finished trial is safe in its result.json."


@dataclass(frozen=True)
class Asked:
    """A trial to run: its number and its searched parameters, as far as they are active."""

    number: int
    params: dict[str, Any]


class Study:
    """One study in its database. Make it with `open`, under `StudyFolder.lock()`, and close it at
    the end.

    It is read once and held in memory; changes reach the database with `commit`.
    """

    def __init__(self, database: Database, spec: SweepSpec, storage: RDBStorage) -> None:
        """Call `open` instead."""
        self._database = database
        self._spec = spec
        self._rdb = storage
        self._sampler = StatelessSampler(spec)
        self._pruner = Pruner(spec)
        name = _name_in(database, storage, spec.name)
        created = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
        if isinstance(database, ServerDatabase):
            database.own(storage, created._study_id)
        for number, trial in enumerate(created.get_trials(deepcopy=False)):
            if trial.number != number:
                raise self._lacks(number)
        self._storage = WriteThroughStorage(storage.engine, created)
        self._storage.read_under(present_distributions(spec))
        self._storage.order_constraints(partial(in_spec_order, spec))
        self._left = FileAsLeft(database) if isinstance(database, Path) else None
        self._study = optuna.load_study(
            storage=self._storage, sampler=self._sampler, pruner=optuna.pruners.NopPruner(), study_name=name,
        )  # fmt: skip

    @classmethod
    def open(cls, database: Database, spec: SweepSpec) -> Study:
        """Create the study in its database or continue it.

        Raises StudyError when the database cannot be used, when the study there maximises, or when
        `start_with` or a grid does not fit the space. Comparing the spec with the study's is left
        to the caller.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with storage_errors(database, "Nothing was changed."), ExitStack() as undo:
            storage = open_storage(database)
            undo.callback(close_storage, database, storage)
            study = cls(database, spec, storage)
            undo.pop_all()
            undo.callback(study.close)
            # load_if_exists keeps the old direction and does not say so.
            if study._study.direction != optuna.study.StudyDirection.MINIMIZE:
                away = "Move the file away, or g" if isinstance(database, Path) else "G"
                raise StudyError(
                    f"{database} holds a study {spec.name} that maximises; a sweep minimises\n"
                    f"  {away}ive the sweep another name."
                )
            study._study.set_user_attr("spec", digest(spec.portable.model_dump(mode="json")))
            study.commit()
            undo.pop_all()
        return study

    @property
    def called(self) -> str:
        """The database's name in messages."""
        return str(self._database)

    @property
    def remake(self) -> str:
        """What helps where the database and the sealed files of a trial differ."""
        return remake_advice(self._database)

    def commit(self) -> None:
        """Write to the database, in one transaction, all that was asked, reported and told since
        the last commit.

        What was not committed when the process is killed has not happened; asked again, it comes
        out the same. Raises StudyError where somebody else has written to the database.
        """
        with storage_errors(self._database, _CONTINUED):
            if isinstance(self._database, Path):
                refuse_other_kinds(self._database)
            if self._left is not None and not self._left.holds():
                raise self._changed()
            try:
                self._storage.commit()
            except NotAsLeft:
                raise self._changed() from None
            finally:
                if self._left is not None:
                    self._left.note()

    def _changed(self) -> StudyError:
        return StudyError(
            f"{self._database} is not as this run left it: an older copy was put in its place, or "
            f"something else writes to it\n  {_CONTINUED} {self.remake}"
        )

    def close(self) -> None:
        """Close the database without a commit."""
        close_storage(self._database, self._rdb)
        if self._left is not None:
            self._left.close()

    def trials(self) -> tuple[StudyTrial, ...]:
        """Return all trials that were started, by number."""
        return tuple(
            study_trial(self._spec, trial)
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != OptunaState.WAITING
        )

    def ask(self) -> Asked | None:
        """Start the next trial: the points of `start_with` in order, then the sampler's. None when
        a grid is used up.
        """
        with storage_errors(self._database, _CONTINUED):
            if self._sampler.exhausted(len(self._study.get_trials(deepcopy=False))):
                return None
            return self._start_next()

    def _start_next(self) -> Asked:
        """Start a trial and give it its values."""
        trial = self._study.ask()
        suggest(trial, self._spec)
        # Read back from the storage, so that the values are the same now and after a restart.
        params = snapped_params(self._spec, self._frozen(trial.number).params)
        return Asked(trial.number, params)

    def report(self, number: int, step: int, value: float) -> None:
        """Record the value of the objective at a rung. When a step is reported again, the first
        value stays.

        Raises StudyError for a value that is not finite.
        """
        refuse_non_finite(number, {f"{rate_text(self._spec.objective)} at step {step}": value})
        frozen = self._frozen(number)
        if step not in frozen.intermediate_values and not frozen.state.is_finished():
            self._storage.set_trial_intermediate_value(frozen._trial_id, step, value)

    def early_stop(self, number: int, step: int, value: float) -> bool:
        """Report, and return whether the spec's rule (median, asha) stops the trial here.

        The answer is stored with the trial, so it is the same when it is asked for again after a
        restart, when other trials have reported more.
        """
        self.report(number, step, value)
        key = f"orchestrator:early_stop:{step}"
        frozen = self._frozen(number)
        if self._spec.early_stop.method not in ("median", "asha"):
            return False
        if key not in frozen.system_attrs and not frozen.state.is_finished():
            behind = self._pruner.is_behind(self._study.get_trials(deepcopy=False), number)
            self._storage.set_trial_system_attr(frozen._trial_id, key, behind)
            return behind
        return bool(frozen.system_attrs.get(key, False))

    def set_constraints(self, number: int, constraints: Mapping[str, float]) -> None:
        """Record the guardrails' constraints (<= 0 is feasible) in the spec's order, once.

        Recording the same values again changes nothing. Other values raise StudyError, because
        Optuna would silently keep the first ones; so does a value that is not finite.
        """
        refuse_non_finite(
            number, {f"constraint {name}": value for name, value in constraints.items()}
        )
        trial = Trial(self._study, self._frozen(number)._trial_id)
        for name in in_spec_order(self._spec, constraints):
            held = trial.constraints.get(name)
            if held is None:
                trial.set_constraint(name, constraints[name])
            elif held != constraints[name]:
                raise StudyError(
                    f"{self._database}: trial {number} has constraint {name} = {held}, not {constraints[name]}\n"
                    f"  What its result.json says is sealed. {self.remake}"
                )

    def tell(self, number: int, result: TrialResult) -> None:
        """End the trial; its result.json must be written before. Telling the same result again
        changes nothing.

        Raises StudyError for values that are not finite, for a feasible trial without a constraint
        for each guardrail, and for a trial that has already ended otherwise.
        """
        state, value = optuna_end(self._spec, result)
        frozen = self._frozen(number)
        if frozen.state.is_finished():
            self._same_end(frozen, state, value)
            return
        self.set_constraints(number, result.constraints)
        for key, attribute in result_attributes(result).items():
            self._storage.set_trial_user_attr(frozen._trial_id, key, attribute)
        self._note(frozen, result)
        self._study.tell(number, value, OptunaState[state.name])

    def told(self, number: int) -> TrialResult | None:
        """Return the result that the trial was told, from the database alone; None where it was
        told none.
        """
        frozen = self._frozen(number)
        constraints = Trial(self._study, frozen._trial_id).constraints
        return read_result(frozen, snapped_params(self._spec, frozen.params), constraints)

    def check(self, results: Collection[TrialResult]) -> None:
        """Raise StudyError where what the search learns from differs from the results, which are
        what was measured.
        """
        held = self._study.get_trials(deepcopy=False)
        refuse_differing(self._database, self._spec, held, results)

    def put_again(
        self, params: Mapping[str, Any], reports: Mapping[int, float], result: TrialResult | None
    ) -> None:
        """Add the next trial as it was in a lost database: with these parameters and reports, and
        ended where there is a result.
        """
        self._study.enqueue_trial(dict(params))
        asked = self._start_next()
        for step, value in sorted(reports.items()):
            self.report(asked.number, step, value)
        if result is not None:
            self.tell(asked.number, result)

    def _same_end(self, frozen: FrozenTrial, state: TrialState, value: float | None) -> None:
        """Raise StudyError where a trial that has ended is told another state or value."""
        same_value = value is None or frozen.value == value
        if frozen.state.name != state.name or not same_value:
            raise StudyError(
                f"{self._database}: trial {frozen.number} already ended {frozen.state.name} with {frozen.value}, "
                f"now it is said to be {state.name} with {value}\n"
                f"  What its result.json says is sealed. {self.remake}"
            )

    def _note(self, frozen: FrozenTrial, result: TrialResult) -> None:
        """Write into the trial's note why it ended, as the dashboard does not show reasons
        otherwise.

        The dashboard's own `save_note` is not used: it looks through the notes of all trials each
        time.
        """
        from optuna_dashboard._note import note_ver_key, split_body

        note = split_body(result.reason, frozen._trial_id) | {note_ver_key(frozen._trial_id): 1}
        for key, value in note.items():
            self._storage.set_study_system_attr(self._study._study_id, key, value)

    def _frozen(self, number: int) -> FrozenTrial:
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(
                self._study._study_id, number
            )
        except KeyError:
            raise self._lacks(number) from None
        return self._storage.get_trial(trial_id)

    def _lacks(self, number: int) -> StudyError:
        return StudyError(f"{self._database} has no trial {number}\n  {self.remake}")


def _name_in(database: Database, storage: RDBStorage, name: str) -> str:
    """Return the study's name in its database: a study that was copied under another name keeps its
    old one there.
    """
    if isinstance(database, ServerDatabase):
        return database.record.study
    held = optuna.get_all_study_names(storage)
    return held[0] if len(held) == 1 else name
