"""Optuna's storage, in study.db (SQLite) or on a server, set up so that a kill or a power cut loses
nothing that was acknowledged.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError
from orchestrator.files.file_kinds import make_empty, other_kind
from orchestrator.records.journal.chain import Fault
from orchestrator.records.json_files import not_a_file
from orchestrator.records.locks.heartbeat_lock import OWNERS, owner
from orchestrator.records.locks.mounts import network_file_system
from orchestrator.records.store import StudyFolder
from orchestrator.search.postgres import ReadStudy, ServerDatabase, new_record
from orchestrator.sweepfile.sweep import SweepSpec

Database = Path | ServerDatabase
"""The file of a study's database, or the study on a server. `str` gives what messages call it."""

BUSY_SECONDS = 60.0
"""How long to wait for another process (a backup, a viewer) that holds the database."""


def short_name(database: Database) -> str:
    """Return what the database is called among the files of its study."""
    return database.name if isinstance(database, Path) else str(database)


def database_of(folder: StudyFolder) -> Database:
    """Return where the study's database is."""
    record = folder.server()
    return folder.database if record is None else ServerDatabase(record, folder.name)


def database_for(spec: SweepSpec, folder: StudyFolder) -> Database:
    """Return the database in the place that the sweep file names, whether it exists there or not.
    On a server, a study without a name there gets a new one.
    """
    if spec.storage is None:
        return folder.database
    kept = folder.server() or new_record(spec.storage.url_env, folder.name)
    record = kept.model_copy(update={"url_env": spec.storage.url_env})
    return ServerDatabase(record, folder.name)


def keep_place(database: Database, folder: StudyFolder) -> None:
    """Record in the study's folder that its database is there from now on."""
    if isinstance(database, Path):
        folder.forget_server()
    elif folder.server() != database.record:
        folder.write_server(database.record)


def open_storage(database: Database) -> RDBStorage:
    """Return Optuna's storage on the database, which is made if it is missing; close it with
    `close_storage`. Raises StudyError where something else has its name.
    """
    if isinstance(database, Path):
        refuse_other_kinds(database)
        return _open_file(database)
    return database.open()


def refuse_other_kinds(path: Path) -> None:
    """Raise StudyError where a database's file is a folder, a pipe or the like, which SQLite would
    call locked or damaged.
    """
    for file in (path, *log_files(path)):
        if kind := other_kind(file):
            raise not_a_file(file, kind)


def _refuse_elsewhere(path: Path) -> None:
    """Raise StudyError where another host has the study open on a file system that both share: there
    SQLite's locks may not hold, and who closes the database last removes its write-ahead log.
    """
    kind = network_file_system(path.parent)
    if kind and (who := owner(path.parent / OWNERS, elsewhere=True)):
        raise StudyError(
            f"{path} is open on another host, and on {kind} only one may read it: the study is in use by {who}\n"
            "  Run the same command there, or when that run has ended. If it was killed or its host is dead, continue "
            "the study first."
        )


def log_files(path: Path) -> tuple[Path, Path]:
    """Return the paths of a database's write-ahead log and of that log's index."""
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def close_storage(database: Database, storage: RDBStorage) -> None:
    """Close the storage. A file's write-ahead log is merged into it; a server's lock is released
    once nobody else in this process has the database open.
    """
    if isinstance(database, Path):
        storage.remove_session()
        storage.engine.dispose()
    else:
        database.close()


@contextmanager
def held(database: Database, must_exist: bool) -> Iterator[None]:
    """Hold the lock of a study on a server while the context lasts. A file needs none, as the lock
    of its folder guards it.

    Raises StudyError where another process holds the lock, the server cannot be used, or it does
    not know the study although it must.
    """
    if isinstance(database, Path):
        yield
        return
    with storage_errors(database, "Nothing was changed."):
        database.open()
    try:
        if must_exist and not database.knows_study():
            raise StudyError(
                f"{database} does not know study {database.record.study}, though trials have begun\n"
                "  Is it another server, or another database of it? Else run `orchestrate repair "
                "SPEC`, which makes it again from the files of the trials."
            )
        yield
    finally:
        database.close()


def _open_file(path: Path) -> RDBStorage:
    """Return Optuna's storage on the SQLite file at `path`.

    WAL, synchronous=FULL (a trial costs minutes, an fsync milliseconds), BEGIN IMMEDIATE (SQLite
    has no SELECT .. FOR UPDATE). The connection is made from the path itself: in a URL, `?` and `{`
    of a folder's name would be read as syntax. One writer at a time; the caller holds the study's
    lock. Raises StudyError for tables of another version of Optuna.
    """

    def connect() -> sqlite3.Connection:
        make_empty(path)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    kwargs = {"creator": connect, "poolclass": QueuePool}
    try:
        storage = RDBStorage("sqlite://", engine_kwargs=kwargs)
    except RuntimeError as error:
        raise StudyError(
            f"{path} has the tables of another version of Optuna than {optuna.__version__}, which is installed\n"
            f"  {remake_advice(path)}"
        ) from error
    sqlalchemy.event.listen(storage.engine, "begin", _begin_immediate)
    return storage


def remake_advice(database: Database) -> str:
    """Say what helps where a database is not what the files of the trials say, or of no use to this version of
    Optuna."""
    away = "Move study.db away, then run" if isinstance(database, Path) else "Run"
    return f"{away} `orchestrate repair SPEC`: it makes it again from the files of the trials."


@contextmanager
def open_read_only(database: Database) -> Iterator[RDBStorage]:
    """Open the database for a viewer, over connections that cannot write; a sweep may be running.
    Raises StudyError where something else has its name, or another host has it open.
    """
    if isinstance(database, Path):
        refuse_other_kinds(database)
        _refuse_elsewhere(database)
    storage = _reading(database) if isinstance(database, Path) else ReadStudy(database.record)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _reading(path: Path) -> RDBStorage:
    """Return a storage on the SQLite file that only reads."""

    def connect() -> sqlite3.Connection:
        # query_only and not mode=ro: a reader of a write-ahead log must be able to make its index
        # file
        connection = _opened(path)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return RDBStorage(
        "sqlite://",
        {"creator": connect, "poolclass": QueuePool},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )


def _begin_immediate(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def fault_of(database: Database, planned: Collection[int]) -> Fault | None:
    """Return what is wrong with a study's database, which must know all trials that were planned;
    None where nothing is.

    Raises StudyError where that cannot be found out.
    """
    if isinstance(database, Path):
        refuse_other_kinds(database)
        _refuse_elsewhere(database)
        if not database.exists():
            return Fault.LOST
        return None if _intact(database, planned) else Fault.ALTERED
    with storage_errors(database, "Nothing was changed."):
        known = database.numbers()
    if known is None:
        return Fault.LOST
    return Fault.ALTERED if set(planned) - set(known) else None


def _intact(path: Path, planned: Collection[int]) -> bool:
    """Say whether SQLite finds no fault in the database and it knows these trials; trials reach it
    before their plans are written.
    """
    try:
        with closing(_opened(path)) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return whole and set(planned) <= _numbers_in(connection)
    except (OSError, sqlite3.OperationalError) as error:
        raise StudyError(
            f"{path} cannot be read: {error}\n  Fix its permissions, or end what else uses it."
        ) from error
    except sqlite3.DatabaseError:
        return False


def _opened(path: Path) -> sqlite3.Connection:
    """Open the database for reading; none is made where there is none. In a read-only archive SQLite
    cannot make the files that it keeps beside a database; where no writer has left any, it is opened
    as immutable and needs none.
    """
    beside = _may_write(path) or any(file.exists() for file in log_files(path))
    how = "mode=rw" if beside else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", timeout=BUSY_SECONDS, uri=True)


def _numbers_in(connection: sqlite3.Connection) -> set[int]:
    """Return the numbers of the trials in a database; none for one without tables, which an emptied
    file is.
    """
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'trials'").fetchall()
    rows = connection.execute("SELECT number FROM trials").fetchall() if tables else []
    return {number for (number,) in rows}


def _database_errors() -> tuple[type[Exception], ...]:
    """Return the errors that a database raises. Where psycopg is in use its own are among them,
    because it makes connections outside of any statement.
    """
    psycopg = sys.modules.get("psycopg")
    own = () if psycopg is None else (psycopg.Error,)
    return (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError, StorageInternalError, *own)


@contextmanager
def storage_errors(database: Database, consequence: str) -> Iterator[None]:
    """Turn what the database raises, whatever Optuna made of it, into one StudyError. `consequence`
    says what that means for the study.

    A storage error inside report or tell surfaces in Optuna 5.0 as `AssertionError: Should not
    reach.`
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (*_database_errors(), AssertionError)):
            raise
        chain = _chain(error)
        if not any(isinstance(error, _database_errors()) for error in chain):
            raise  # an assertion that no database error has caused
        cause = str(chain[-1]).strip().partition("\n")[0]
        raise StudyError(
            f"could not use {database}: {cause}\n  {consequence} {_advice(database, chain[-1])}"
        ) from error


def _advice(database: Database, error: BaseException) -> str:
    if isinstance(database, ServerDatabase):
        return "When the server answers, run the same command again: a run continues where it was."
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return "Restore it from a copy of the study, or run `orchestrate repair SPEC`."
    if not _may_write(database):
        return "Fix the permissions of its files and its folder, then run the same command again."
    return "Make room or free the file, then run the same command again."


def _may_write(database: Path) -> bool:
    """Say whether this process may write to the database and to its folder, in which SQLite makes
    further files.
    """
    files = [file for file in (database, *log_files(database)) if file.exists()]
    return all(os.access(path, os.R_OK | os.W_OK) for path in (*files, database.parent))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes; the last one has the message of the database itself."""
    chain = [error]
    while (below := _below(chain[-1])) is not None:
        chain.append(below)
    return chain


def _below(error: BaseException) -> BaseException | None:
    """Return the cause of an error; None where there is none or it was raised `from None`."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
