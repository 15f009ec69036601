"""study.db: Optuna's tables in SQLite, set up so that a kill or a power cut loses nothing that was
acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError

BUSY_SECONDS = 60.0
"""How long to wait for another process (a backup, a viewer) that holds the database."""


def open_storage(path: Path) -> RDBStorage:
    """The database at `path`, made if it is missing.

    WAL, synchronous=FULL (a trial costs minutes, an fsync milliseconds), BEGIN IMMEDIATE (SQLite
    has no SELECT .. FOR UPDATE). The connection is made from the path itself: in a URL, `?` and `{`
    of a folder's name would be read as syntax. One writer at a time; the caller holds the study's
    lock.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    storage = RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": QueuePool})
    sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
    return storage


@contextmanager
def open_read_only(path: Path) -> Iterator[RDBStorage]:
    """The database at `path` for a viewer, whose connection cannot write; a sweep may be running."""

    def connect() -> sqlite3.Connection:
        # query_only and not mode=ro: a reader of a write-ahead log must be able to make its index
        # file
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
        connection.execute("PRAGMA query_only=ON")
        return connection

    storage = RDBStorage(
        "sqlite://",
        {"creator": connect, "poolclass": QueuePool},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def intact(path: Path) -> bool:
    """SQLite finds nothing wrong with the database; the caller holds the study's lock."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return False


_DATABASE = (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


@contextmanager
def storage_errors(path: Path, consequence: str) -> Iterator[None]:
    """Turn what the database raises, whatever Optuna made of it, into one StudyError.

    A storage error inside report or tell surfaces in Optuna 5.0 as `AssertionError: Should not
    reach.`
    """
    try:
        yield
    except (*_DATABASE, AssertionError) as error:
        chain = _chain(error)
        if not any(isinstance(error, _DATABASE) for error in chain):
            raise  # an assertion of ours: no database is behind it
        raise StudyError(
            f"could not use {path}: {chain[-1]}\n  {consequence} {_advice(chain[-1])}"
        ) from error


def _advice(error: BaseException) -> str:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return "Restore it from a copy of the study, or run `orchestrate repair SPEC`."
    return "Make room or free the file, then run the same command again."


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what led to it; the message of the database itself is that of the last."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    return chain
