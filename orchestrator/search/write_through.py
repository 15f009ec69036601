"""A study's trials in memory, where Optuna reads them, and in its database, which is written once
per tick.

Optuna reads a trial some eighteen times between its ask and its end, and its own storage asks the
database each time and commits every value by itself: about 40 transactions a trial, nearly all of
it SQLAlchemy's Python. Here `commit` writes all changes since the last one in one transaction, so
the database always holds the study as it was between two ticks, never half an ask or half a tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import InMemoryStorage
from optuna.storages._rdb import models
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

Row = dict[str, Any]
_TRIALS = models.TrialModel.__table__
_PARAMS = models.TrialParamModel.__table__
_VALUES = models.TrialValueModel.__table__
_REPORTS = models.TrialIntermediateValueModel.__table__
_USER = models.TrialUserAttributeModel.__table__
_SYSTEM = models.TrialSystemAttributeModel.__table__
_STUDY_USER = models.StudyUserAttributeModel.__table__
_STUDY_SYSTEM = models.StudySystemAttributeModel.__table__


_COMMITS = "orchestrator:commits"
"""The attribute of a study that counts its commits over all runs."""


class NotAsLeft(Exception):
    """The database does not hold the last commit of this study."""


class WriteThroughStorage(InMemoryStorage):
    """One study of a database, read once; the caller is its only writer. Trials have the same ids
    as in the database.

    What was not committed when the process ends has not happened. A commit that the database
    refuses may be repeated.
    """

    def __init__(self, engine: sqlalchemy.Engine, study: optuna.Study) -> None:
        """`study` is the study as it stands in the database of `engine`."""
        super().__init__()
        self._engine, self._study_id = engine, study._study_id
        self._new: set[int] = set()
        """Ids of trials that are not in the database yet."""
        self._changed: dict[sqlalchemy.Table, set[int]] = {
            table: set() for table in (_TRIALS, *_ROWS)
        }
        """Table -> ids of the trials whose rows in it have changed."""
        self._changed_attributes: dict[tuple[sqlalchemy.Table, str], Any] = {}
        """(table, key) -> value of the study's attributes that have changed."""
        self._commits = int(study.user_attrs.get(_COMMITS, 0))
        """How often the study was committed so far."""
        # InMemoryStorage assigns the id after the largest one, which is set to give the database's
        self._max_study_id = self._study_id - 1
        self.create_new_study(study.directions, study.study_name)
        self._studies[self._study_id].user_attrs = dict(study.user_attrs)
        self._studies[self._study_id].system_attrs = study._storage.get_study_system_attrs(
            self._study_id
        )
        for trial in study.get_trials(deepcopy=False):
            self._max_trial_id = trial._trial_id - 1
            super().create_new_trial(self._study_id, trial)

    def read_under(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Let the parameters of all trials have these distributions, in memory, where they hold the
        value: after a range was made wider, the samplers would model the former range alone, or
        none, for they model what all trials have in common.
        """
        for trial in self._studies[self._study_id].trials:
            for name, value in trial.params.items():
                present = distributions.get(name)
                if present is not None and present._contains(present.to_internal_repr(value)):
                    trial._distributions[name] = present

    def order_constraints(self, order: Callable[[Mapping[str, float]], Iterable[str]]) -> None:
        """Let each trial have its constraints in the order that `order` gives of their names, in
        memory: a database returns attributes in any order, SQLite by name, and GP tells the
        constraints of two trials apart by their place alone.
        """
        for trial in self._studies[self._study_id].trials:
            for name in order(trial.constraints):
                key = f"{_CONSTRAINTS_KEY}:{name}"
                trial._system_attrs[key] = trial._system_attrs.pop(key)

    def commit(self) -> None:
        """Write all changes since the last commit in one transaction.

        Raises NotAsLeft, and writes nothing, where the database does not hold the last commit, such
        as one that was restored from a dump.
        """
        if not self._changed_attributes and not any(self._changed.values()):
            return
        with self._engine.begin() as connection:
            self._count_commit(connection)
            self._write_trials(connection)
            for table in _ROWS:
                self._write_rows(connection, table)
            for table in (_STUDY_USER, _STUDY_SYSTEM):
                rows = [
                    {"study_id": self._study_id, "key": key, "value_json": json.dumps(value)}
                    for (of_table, key), value in self._changed_attributes.items()
                    if of_table is table
                ]
                if rows:
                    _write_attributes(connection, table, rows)
        for changed in (self._new, *self._changed.values()):
            changed.clear()
        self._changed_attributes.clear()
        self._commits += 1

    def _count_commit(self, connection: sqlalchemy.Connection) -> None:
        """Increase the count of commits in the database. Raises NotAsLeft where it is not the count
        after the last commit.
        """
        now = {"value_json": json.dumps(self._commits + 1)}
        if not self._commits:
            row = {"study_id": self._study_id, "key": _COMMITS} | now
            connection.execute(_INSERT[_STUDY_USER], [row])
            return
        last = {"of_study": self._study_id, "last": json.dumps(self._commits)}
        if connection.execute(_COUNT_COMMIT, last | now).rowcount != 1:
            raise NotAsLeft

    def _changed_in(self, table: sqlalchemy.Table) -> list[FrozenTrial]:
        """Return the trials whose rows in a table have changed."""
        return [self.get_trial(trial_id) for trial_id in sorted(self._changed[table])]

    def _write_trials(self, connection: sqlalchemy.Connection) -> None:
        """Add new trials to the table that all others refer to, and change the rows of old ones."""
        trials = self._changed_in(_TRIALS)
        new = [
            {"trial_id": trial._trial_id, "study_id": self._study_id, "number": trial.number}
            | _trial_row(trial)
            for trial in trials
            if trial._trial_id in self._new
        ]
        old = [
            {"changed": trial._trial_id} | _trial_row(trial)
            for trial in trials
            if trial._trial_id not in self._new
        ]
        if new:
            connection.execute(_INSERT[_TRIALS], new)
        if old:
            connection.execute(_UPDATE_TRIAL, old)

    def _write_rows(self, connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> None:
        """Replace the rows of changed trials in one table. New trials have none there."""
        trials = self._changed_in(table)
        old = [{"changed": trial._trial_id} for trial in trials if trial._trial_id not in self._new]
        if old:
            connection.execute(_DELETE_OF_TRIAL[table], old)
        rows = [
            {"trial_id": trial._trial_id} | row for trial in trials for row in _ROWS[table](trial)
        ]
        if rows:
            connection.execute(_INSERT[table], rows)

    def _free_id(self) -> int:
        """Return the id for a new trial. A server has other studies in the same table, so there it
        comes from the server's sequence.
        """
        if self._engine.dialect.name == "sqlite":
            return self._max_trial_id + 1
        sequence = sqlalchemy.func.pg_get_serial_sequence(_TRIALS.name, "trial_id")
        with self._engine.connect() as connection:
            drawn = connection.execute(sqlalchemy.select(sqlalchemy.func.nextval(sequence)))
            return int(drawn.scalar_one())

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Do as Optuna's storage does, with an id that is free in the database."""
        self._max_trial_id = self._free_id() - 1
        trial_id = super().create_new_trial(study_id, template_trial)
        for trials in (self._new, *self._changed.values()):
            trials.add(trial_id)
        return trial_id

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Do as Optuna's storage does, and note the change."""
        self._studies[study_id].user_attrs[key] = value
        self._changed_attributes[_STUDY_USER, key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Do as Optuna's storage does, and note the change. Optuna's copies all attributes each
        time, and there are two per trial.
        """
        self._studies[study_id].system_attrs[key] = value
        self._changed_attributes[_STUDY_SYSTEM, key] = value

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Do as Optuna's storage does, and note the change."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._changed[_PARAMS].add(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None
    ) -> bool:
        """Do as Optuna's storage does, and note the change."""
        done = super().set_trial_state_values(trial_id, state, values)
        self._changed[_TRIALS].add(trial_id)
        self._changed[_VALUES].add(trial_id)
        return done

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Do as Optuna's storage does, and note the change."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._changed[_REPORTS].add(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Do as Optuna's storage does, and note the change."""
        super().set_trial_user_attr(trial_id, key, value)
        self._changed[_USER].add(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Do as Optuna's storage does, and note the change."""
        super().set_trial_system_attr(trial_id, key, value)
        self._changed[_SYSTEM].add(trial_id)


def _write_attributes(
    connection: sqlalchemy.Connection, table: sqlalchemy.Table, rows: Sequence[Row]
) -> None:
    """Replace the study's attributes of these keys."""
    changed = [{"of_study": row["study_id"], "of_key": row["key"]} for row in rows]
    connection.execute(_DELETE_ATTRIBUTE[table], changed)
    connection.execute(_INSERT[table], list(rows))


def _trial_row(trial: FrozenTrial) -> Row:
    return {
        "state": trial.state,
        "datetime_start": _in_utc(trial.datetime_start),
        "datetime_complete": _in_utc(trial.datetime_complete),
    }


def _in_utc(local: datetime | None) -> datetime | None:
    """Convert a time from Optuna's trials, local, to one of its tables, UTC; both carry no time
    zone.
    """
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _param_rows(trial: FrozenTrial) -> Iterable[Row]:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        yield {
            "param_name": name,
            "param_value": distribution.to_internal_repr(value),
            "distribution_json": distribution_to_json(distribution),
        }


def _value_rows(trial: FrozenTrial) -> Iterable[Row]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {
            "objective": objective,
            "value": stored,
            "value_type": kind,
        }


def _report_rows(trial: FrozenTrial) -> Iterable[Row]:
    for step, value in trial.intermediate_values.items():
        model = models.TrialIntermediateValueModel
        stored, kind = model.intermediate_value_to_stored_repr(value)
        yield {
            "step": step,
            "intermediate_value": stored,
            "intermediate_value_type": kind,
        }


def _user_rows(trial: FrozenTrial) -> Iterable[Row]:
    return _attribute_rows(trial.user_attrs)


def _system_rows(trial: FrozenTrial) -> Iterable[Row]:
    return _attribute_rows(trial.system_attrs)


def _attribute_rows(attributes: dict[str, Any]) -> Iterable[Row]:
    for key, value in attributes.items():
        yield {"key": key, "value_json": json.dumps(value)}


_ROWS: dict[sqlalchemy.Table, Callable[[FrozenTrial], Iterable[Row]]] = {
    _PARAMS: _param_rows,
    _VALUES: _value_rows,
    _REPORTS: _report_rows,
    _USER: _user_rows,
    _SYSTEM: _system_rows,
}
"""Table beside that of the trials -> function that returns the rows of one trial in it."""

# Statements are made once: SQLAlchemy takes as long to make one as to execute it.
_INSERT = {
    table: sqlalchemy.insert(table) for table in (_TRIALS, *_ROWS, _STUDY_USER, _STUDY_SYSTEM)
}
_DELETE_OF_TRIAL = {
    table: sqlalchemy.delete(table).where(table.c.trial_id == sqlalchemy.bindparam("changed"))
    for table in _ROWS
}
_UPDATE_TRIAL = sqlalchemy.update(_TRIALS).where(
    _TRIALS.c.trial_id == sqlalchemy.bindparam("changed")
)
_DELETE_ATTRIBUTE = {
    table: sqlalchemy.delete(table).where(
        table.c.study_id == sqlalchemy.bindparam("of_study"),
        table.c.key == sqlalchemy.bindparam("of_key"),
    )
    for table in (_STUDY_USER, _STUDY_SYSTEM)
}
_COUNT_COMMIT = sqlalchemy.update(_STUDY_USER).where(
    _STUDY_USER.c.study_id == sqlalchemy.bindparam("of_study"),
    _STUDY_USER.c.key == _COMMITS,
    _STUDY_USER.c.value_json == sqlalchemy.bindparam("last"),
)
