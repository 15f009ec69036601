"""Connections to a PostgreSQL server whose address is in the environment.

The address is read when a connection is made, and no error that leaves this module contains it or
its password.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from typing import TYPE_CHECKING

from orchestrator.errors import StudyError
from orchestrator.sweepfile.storage import FORM, server_address
from orchestrator.typed_words import install_command

if TYPE_CHECKING:
    import psycopg

_WAIT_SECONDS = 60
"""How long a statement waits for a lock that somebody else holds."""
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Settings with which a server that is gone is noticed within half a minute; those in the address
itself take precedence.
"""
_SESSION = (
    "SET synchronous_commit = on",  # a trial costs minutes, an fsync milliseconds
    f"SET lock_timeout = '{_WAIT_SECONDS}s'",
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 4",
)
"""Statements that begin each session. The keepalives are the server's: it notices that this host is
gone.
"""
_IDLE = "SET idle_session_timeout = 0"
"""For servers from version 14 on: between two evaluations the connection is idle for a long
time.
"""


def connect(url_env: str, read_only: bool = False) -> psycopg.Connection:
    """Return a connection to the server whose address is in the environment variable.

    Raises StudyError where there is no address or psycopg is missing, and psycopg.OperationalError,
    without the address, where the server cannot be used.
    """
    try:
        import psycopg
    except ImportError as error:
        raise StudyError(f"PostgreSQL needs psycopg\n  {install_command('postgres')}") from error
    given = _given(url_env)
    settings = _CONNECTING | given | {"application_name": application()}
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
    """Return the parts of the address, by their names in libpq. Raises StudyError where there is no
    valid address.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    address = server_address(url_env)
    try:
        given = dict(conninfo_to_dict(address)) if address else {}
    except ProgrammingError:
        given = {}  # not chained: the error repeats the address
    if not given:
        raise StudyError(f"{url_env} holds no address of a server\n  export {url_env}={FORM}")
    return given


_PLACE = re.compile(
    r'connection (to server )?(at|on socket) "[^"]*"( \([^)]*\))?(, port [0-9]+)? failed: '
    r"|connection failed: |connection is bad: "
)
"""The parts of libpq's messages that name the server's place."""
_NAME = re.compile(r"(host name|resolve host) ['\"][^'\"]*['\"]")


def masked(text: str, given: dict[str, object]) -> str:
    """Return the last cause in libpq's message, without the server's place and the password."""
    lines = [line.strip(" -\t") for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith("Is the server running")]
    shown = _NAME.sub(r"\1", _PLACE.sub("", causes[-1] if causes else "no reason given"))
    shown = re.sub(r"host: '[^']*', port: '?[0-9]*'?(, hostaddr: '[^']*')?: ", "", shown)
    for part in ("password", "sslpassword", "host", "hostaddr"):
        for secret in str(given.get(part) or "").split(","):
            shown = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", shown) if secret else shown
    return shown


def application() -> str:
    """Return the name by which other processes learn who holds the study; a server keeps 63 bytes
    of it.
    """
    name = f"orchestrate {os.getpid()} {socket.gethostname()}"
    return name.encode("ascii", "replace").decode()[:63]


def execute(connection: psycopg.Connection, statement: str, number: int) -> object:
    """Execute one statement on a `number`, such as the key of an advisory lock, and commit; return
    the first value of its result. Such a lock outlasts its transaction.
    """
    with connection.cursor() as cursor:
        row = cursor.execute(statement.encode(), (number,)).fetchone()
    connection.commit()
    return row[0] if row else None


def lock_key(of: str) -> int:
    """Return the key of an advisory lock: signed, 64 bits."""
    return int.from_bytes(hashlib.sha256(f"orchestrator {of}".encode()).digest()[:8], signed=True)
