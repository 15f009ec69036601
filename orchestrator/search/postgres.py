"""A study on a PostgreSQL server: one connection, which holds the study's advisory lock.

Everything is written over the connection that holds the lock, so a process that loses the lock can
write no more. A server releases the lock when the connection ends, and notices within a minute that
the host at its other end is gone.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError
from orchestrator.records.json_files import ServerRecord
from orchestrator.search.postgres_connection import application, connect, execute, lock_key

if TYPE_CHECKING:
    import psycopg

LOCK_SECONDS = 1.0
"""How long a start waits for the lock: a server needs a moment to notice that a process was
killed."""
_OWNER = "orchestrator:owner"
"""The attribute of a study that says which run wrote to it last."""
_DRIVER = "postgresql+psycopg://"

_HOLDER = """
SELECT a.pid, a.application_name, extract(epoch FROM now() - a.state_change)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
AND (l.classid::bigint << 32) + l.objid::bigint = %s AND l.objsubid = 1
"""
"""Selects who holds an advisory lock: backend, application, and seconds since it last spoke. The
view pg_locks splits a 64-bit key into classid and objid, and marks such a key with objsubid 1.
"""
_OWNED_BY = """
SELECT a.value_json FROM study_user_attributes a JOIN studies s ON s.study_id = a.study_id
WHERE s.study_name = %s AND a.key = %s
"""
"""Selects a study's attribute by study name and key."""


class ReadStudy(RDBStorage):
    """A storage for readers of one study: every transaction is read only, and other studies are not
    listed.
    """

    def __init__(self, record: ServerRecord) -> None:
        """Raises errors of the database where it cannot be reached."""
        self._study_name = record.study
        super().__init__(
            _DRIVER,
            {"creator": lambda: connect(record.url_env, read_only=True), "pool_pre_ping": True},
            skip_compatibility_check=True,
            skip_table_creation=True,
        )

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the one study; an empty list where the server does not know it."""
        return [
            study for study in super().get_all_studies() if study.study_name == self._study_name
        ]


class ServerDatabase:
    """The database of one study on a server. However often it is opened, there is one connection,
    and the last close ends it.
    """

    def __init__(self, record: ServerRecord, name: str) -> None:
        """`name` is the study's name for people; `record` has the name on the server."""
        self.record = record
        self._name = name
        self._token = secrets.token_hex(8)
        """Identifies this run in the study's `_OWNER` attribute."""
        self._storage: RDBStorage | None = None
        self._opened = 0
        """How many `open` were not closed yet."""
        self._first: psycopg.Connection | None = None
        """The locked connection, until the storage has taken it."""
        self._backend: int | None = None
        """The server's process at the other end of the connection that was locked last."""

    def __str__(self) -> str:
        """The name used in messages, without the address."""
        return f"the database of {self.record.url_env}"

    def open(self) -> RDBStorage:
        """Return the storage, whose one connection holds the study's lock. Makes the tables if they
        are missing.

        Raises StudyError where another process holds the study or the tables are another version's,
        and errors of the database.
        """
        if self._storage is None:
            with ExitStack() as undo:
                connection = undo.enter_context(closing(self._locked()))
                self._storage = self._storage_of(connection)
                undo.pop_all()
        self._opened += 1
        return self._storage

    def close(self) -> None:
        """Undo one `open`."""
        self._opened -= 1
        if self._storage is None:
            return
        self._storage.remove_session()
        if not self._opened:
            self._storage.engine.dispose()
            self._storage = None

    def own(self, storage: RDBStorage, study_id: int) -> None:
        """Record in the study that this run writes to it from here on."""
        storage.set_study_user_attr(study_id, _OWNER, self._token)

    def knows_study(self) -> bool:
        """Say whether the server has the study. The database must be open."""
        assert self._storage is not None
        try:
            self._storage.get_study_id_from_name(self.record.study)
        except KeyError:
            return False
        return True

    def numbers(self) -> tuple[int, ...] | None:
        """Return the numbers of the study's trials; None where the server does not know the study.
        Takes no lock.
        """
        with closing(connect(self.record.url_env, read_only=True)) as connection:
            row = connection.execute("SELECT to_regclass('version_info')").fetchone()
        if row is None or row[0] is None:
            return None  # a new server
        shown = ReadStudy(self.record)
        try:
            studies = shown.get_all_studies()
            found = [shown.get_all_trials(study._study_id, deepcopy=False) for study in studies]
            return tuple(trial.number for trial in found[0]) if found else None
        finally:
            shown.remove_session()
            shown.engine.dispose()

    def _storage_of(self, connection: psycopg.Connection) -> RDBStorage:
        self._first = connection
        _make_tables(self.record.url_env, str(self))
        return RDBStorage(
            _DRIVER,
            {
                "creator": self._next_connection,
                "poolclass": QueuePool,
                "pool_size": 1,
                "max_overflow": 0,
                "pool_pre_ping": True,
            },
            skip_compatibility_check=True,  # done in _make_tables; it needs two connections
            skip_table_creation=True,
        )

    def _next_connection(self) -> psycopg.Connection:
        """Return the first connection. When the server was away and it broke, return a new one, if
        no other process had the study in between; otherwise raises StudyError.
        """
        if self._first is not None:
            connection, self._first = self._first, None
            return connection
        connection = self._locked()
        with connection.cursor() as cursor:
            row = cursor.execute(_OWNED_BY, (self.record.study, _OWNER)).fetchone()
        connection.rollback()
        if row is not None and json.loads(row[0]) != self._token:
            connection.close()
            raise StudyError(
                f"while {self} was away another process went on with study {self._name}\n"
                "  Wait until it has finished, then run the same command again."
            )
        return connection

    def _locked(self) -> psycopg.Connection:
        """Return a connection that holds the study's lock. Raises StudyError where another process
        has it.
        """
        connection = connect(self.record.url_env)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while not execute(connection, "SELECT pg_try_advisory_lock(%s)", self._lock_key):
                self._end_broken(connection)
                if time.monotonic() > until:
                    raise self._in_use(connection)
                time.sleep(0.1)
        except BaseException:
            connection.close()
            raise
        self._backend = connection.info.backend_pid
        return connection

    def _end_broken(self, connection: psycopg.Connection) -> None:
        """Let the server end this run's former connection where it is what holds the lock: a network
        may break a connection at one end, and the server notices that half a minute later.
        """
        backend, holder, _ = self._holder(connection)
        if backend is not None and (backend, holder) == (self._backend, application()):
            execute(connection, "SELECT pg_terminate_backend(%s)", backend)

    @property
    def _lock_key(self) -> int:
        return lock_key(self.record.study)

    def _holder(self, connection: psycopg.Connection) -> tuple[int | None, str, float | None]:
        """Return what `_HOLDER` selects, without a backend where nobody holds the lock."""
        with connection.cursor() as cursor:
            row = cursor.execute(_HOLDER, (self._lock_key,)).fetchone()
        connection.rollback()
        backend, holder, idle = row or (None, "", None)
        return backend, holder or "", None if idle is None else float(idle)

    def _in_use(self, connection: psycopg.Connection) -> StudyError:
        backend, holder, idle = self._holder(connection)
        found = re.fullmatch(r"orchestrate ([0-9]+) (.+)", holder)
        who = f"process {found[1]} on {found[2]}" if found else "another process"
        used = "" if idle is None else f", which spoke to the server {idle:.0f} s ago"
        at_once = f" (at once: SELECT pg_terminate_backend({backend}))" if backend else ""
        return StudyError(
            f"study {self._name} is in use by {who}{used}\n"
            "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same "
            "command again. If that host is dead, the server lets go of the study within a minute"
            f"{at_once}."
        )


def new_record(url_env: str, name: str) -> ServerRecord:
    """Return a record with a new name on the server for the study of this name."""
    return ServerRecord(url_env=url_env, study=f"{name}-{secrets.token_hex(8)}")


def _make_tables(url_env: str, called: str) -> None:
    """Make the tables where they are missing, under a lock of their own. Raises StudyError for
    tables of another version.

    Optuna makes them in several steps, so two studies that start at once on a new server would
    collide.
    """
    with closing(connect(url_env)) as connection:
        execute(connection, "SELECT pg_advisory_lock(%s)", lock_key("tables"))
        try:
            RDBStorage(_DRIVER, {"creator": lambda: connect(url_env)}).engine.dispose()
        except RuntimeError as error:
            raise StudyError(
                f"{called} has tables of another version of Optuna: {error}\n"
                "  Give this version a database of its own."
            ) from error
