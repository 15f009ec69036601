"""A study on a PostgreSQL server: one connection, which holds the study's advisory lock.

Everything is written over the connection that holds the lock, so whoever loses the lock can write no
more. A server lets go of the lock when the connection ends, and notices within a minute that the
host at its other end is gone. The address is read from the environment when a connection is made,
and no error that leaves this module has it or its password in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from optuna.storages import RDBStorage
from optuna.study._frozen import FrozenStudy
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError
from orchestrator.records.files import ServerRecord
from orchestrator.sweepfile.storage import EXTRA, FORM, server_address

if TYPE_CHECKING:
    import psycopg

LOCK_SECONDS = 1.0
"""How long a start waits for the lock: a server needs a moment to notice that a process was
killed."""
_WAIT_SECONDS = 60
"""For a table that somebody else has locked."""
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""A server that is gone is noticed within half a minute; what the address itself says comes first."""
_SESSION = (
    "SET synchronous_commit = on",  # a trial costs minutes, an fsync milliseconds
    f"SET lock_timeout = '{_WAIT_SECONDS}s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 4",
)
_IDLE = "SET idle_session_timeout = 0"
"""From version 14 on: between two evaluations the connection is idle for a long time."""
_OWNER = "orchestrator:owner"
"""Attribute of the study: which run wrote to it last."""
_DRIVER = "postgresql+psycopg://"

_HOLDER = """
SELECT a.pid, a.application_name, extract(epoch FROM now() - a.state_change)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_database d ON d.oid = l.database
WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
AND (l.classid::bigint << 32) + l.objid::bigint = %s AND l.objsubid = 1
"""
_OWNED_BY = """
SELECT a.value_json FROM study_user_attributes a JOIN studies s ON s.study_id = a.study_id
WHERE s.study_name = %s AND a.key = %s
"""


class ShownStudy(RDBStorage):
    """For readers of one study: every transaction is read only, and studies of others are not
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
        """The one study; none where the server does not know it."""
        return [
            study for study in super().get_all_studies() if study.study_name == self._study_name
        ]


class ServerDatabase:
    """The database of one study on a server. Opened once however often it is asked for; the last
    close lets go of it.
    """

    def __init__(self, record: ServerRecord, name: str) -> None:
        """`name` is the study's name for people; `record` says what the server calls it."""
        self.record = record
        self._name = name
        self._token = secrets.token_hex(8)
        self._storage: RDBStorage | None = None
        self._opened = 0
        self._first: psycopg.Connection | None = None

    def __str__(self) -> str:
        """For messages: the address stays where it is."""
        return f"the database of {self.record.url_env}"

    def open(self) -> RDBStorage:
        """The storage, whose one connection holds the study's lock; its tables are made if they are
        missing.

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
        """Let go of what `open` gave."""
        self._opened -= 1
        if self._storage is None:
            return
        self._storage.remove_session()
        if not self._opened:
            self._storage.engine.dispose()
            self._storage = None

    def own(self, storage: RDBStorage, study_id: int) -> None:
        """Say in the study that from here on this run writes to it."""
        storage.set_study_user_attr(study_id, _OWNER, self._token)

    def knows_study(self) -> bool:
        """Whether the study is there; it is open."""
        assert self._storage is not None
        try:
            self._storage.get_study_id_from_name(self.record.study)
        except KeyError:
            return False
        return True

    def numbers(self) -> tuple[int, ...] | None:
        """The numbers of the study's trials; None where the server does not know the study. Takes
        no lock.
        """
        shown = ShownStudy(self.record)
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
            skip_compatibility_check=True,  # it takes two connections at once, and was made
            skip_table_creation=True,
        )

    def _next_connection(self) -> psycopg.Connection:
        """The first connection; later, where the server was away between two statements, another
        one, if nobody else had the study in between.
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
        connection = connect(self.record.url_env)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while not _execute(connection, "SELECT pg_try_advisory_lock(%s)", self._lock_key):
                if time.monotonic() > until:
                    raise self._in_use(connection)
                time.sleep(0.1)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def _lock_key(self) -> int:
        return _key(self.record.study)

    def _in_use(self, connection: psycopg.Connection) -> StudyError:
        with connection.cursor() as cursor:
            row = cursor.execute(_HOLDER, (self._lock_key,)).fetchone()
        backend, application, idle = row or (None, "", None)
        found = re.fullmatch(r"orchestrate ([0-9]+) (.+)", application or "")
        who = f"process {found[1]} on {found[2]}" if found else "another process"
        used = "" if idle is None else f", which spoke to the server {float(idle):.0f} s ago"
        at_once = f" (at once: SELECT pg_terminate_backend({backend}))" if backend else ""
        return StudyError(
            f"study {self._name} is in use by {who}{used}\n"
            "  Wait until it has finished or stop it (Ctrl+C keeps all results), then run the same command again. If "
            f"that host is dead, the server lets go of the study within a minute{at_once}."
        )


def new_record(url_env: str, name: str) -> ServerRecord:
    """What a study of this name that is not on the server yet will be called there."""
    return ServerRecord(url_env=url_env, study=f"{name}-{secrets.token_hex(8)}")


def _make_tables(url_env: str, called: str) -> None:
    """Make the tables where they are missing. Raises StudyError for those of another version.

    Optuna makes them in several steps: two studies at once on a new server would meet there.
    """
    with closing(connect(url_env)) as connection:
        _execute(connection, "SELECT pg_advisory_lock(%s)", _key("tables"))
        try:
            RDBStorage(_DRIVER, {"creator": lambda: connect(url_env)}).engine.dispose()
        except RuntimeError as error:
            raise StudyError(
                f"{called} has tables of another version of Optuna: {error}\n"
                "  Give this version a database of its own."
            ) from error


def connect(url_env: str, read_only: bool = False) -> psycopg.Connection:
    """A connection to the server whose address is in the environment variable.

    Raises StudyError where no address is there or psycopg is missing, and psycopg.OperationalError
    without the address where the server cannot be used.
    """
    try:
        import psycopg
    except ImportError as error:
        raise StudyError(f"PostgreSQL needs psycopg\n  {EXTRA}") from error
    given = _given(url_env)
    settings = _CONNECTING | given | {"application_name": _application()}
    try:
        connection = psycopg.connect(**settings)
        with connection.cursor() as cursor:
            for statement in _SESSION:
                cursor.execute(statement)
            if connection.info.server_version >= 140_000:
                cursor.execute(_IDLE)
        connection.commit()
        connection.read_only = read_only
    except psycopg.Error as error:
        raise psycopg.OperationalError(masked(str(error), given)) from None
    return connection


def _given(url_env: str) -> dict[str, object]:
    """The parts of the address, by their names in libpq."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    address = server_address(url_env)
    try:
        given = dict(conninfo_to_dict(address)) if address else {}
    except ProgrammingError:
        given = {}  # the error repeats what stands there
    if not given:
        raise StudyError(f"{url_env} holds no address of a server\n  export {url_env}={FORM}")
    return given


_PLACE = re.compile(
    r'connection (to server )?(at|on socket) "[^"]*"( \([^)]*\))?(, port [0-9]+)? failed: '
    r"|connection failed: |connection is bad: "
)
_NAME = re.compile(r"(host name|resolve host) ['\"][^'\"]*['\"]")


def masked(text: str, given: dict[str, object]) -> str:
    """The last cause in what libpq says, without the server's place and the password."""
    lines = [line.strip(" -\t") for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith("Is the server running")]
    shown = _NAME.sub(r"\1", _PLACE.sub("", causes[-1] if causes else "no reason given"))
    shown = re.sub(r"host: '[^']*', port: '?[0-9]*'?(, hostaddr: '[^']*')?: ", "", shown)
    for part in ("password", "host", "hostaddr"):
        for secret in str(given.get(part) or "").split(","):
            shown = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", shown) if secret else shown
    return shown


def _application() -> str:
    """Who this is, for others that ask who holds the study; a server keeps 63 bytes."""
    name = f"orchestrate {os.getpid()} {socket.gethostname()}"
    return name.encode("ascii", "replace").decode()[:63]


def _execute(connection: psycopg.Connection, statement: str, key: int) -> object:
    """One statement on a lock; locks outlast their transaction."""
    with connection.cursor() as cursor:
        row = cursor.execute(statement.encode(), (key,)).fetchone()
    connection.commit()
    return row[0] if row else None


def _key(of: str) -> int:
    """The number of an advisory lock, signed, 64 bits."""
    return int.from_bytes(hashlib.sha256(f"orchestrator {of}".encode()).digest()[:8], signed=True)
