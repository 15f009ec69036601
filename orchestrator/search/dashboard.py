"""optuna-dashboard on one study: loopback only, read only.

By itself the dashboard has no authentication, accepts any Host header (so a web page can reach it
by DNS rebinding) and lets every visitor delete the study or tell a WER of 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError
from orchestrator.loopback import guarded_server, serve_until_interrupted
from orchestrator.search.server import ServerDatabase, ShownStudy
from orchestrator.search.storage import BUSY_SECONDS, Database, storage_errors


def serve(database: Database, port: int, started: Callable[[str], None]) -> None:
    """Show the study until interrupted; `started` is told the address once it can be opened.

    A sweep may be running: readers do not disturb its one writer. Raises StudyError when there is
    no study yet or the port is taken.
    """
    serve_until_interrupted(open_server(database, port), started)


def open_server(database: Database, port: int) -> WSGIServer:
    """The server, listening; port 0 takes a free one. Raises StudyError as `serve` does."""
    from optuna_dashboard import wsgi

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storage_errors(database, "The dashboard only reads it."):
        application = wsgi(_read_only(database))
    return guarded_server(application, port, "dashboard")


def _read_only(database: Database) -> RDBStorage:
    if isinstance(database, ServerDatabase):
        return _shown(database)
    if not database.is_file():
        raise StudyError(f"there is no study at {database} yet\n  Start the sweep first.")

    def connect() -> sqlite3.Connection:
        # query_only and not mode=ro: a reader of a write-ahead log must be able to make its index
        # file. Each request has its own thread, and the pool lends a connection to one at a time.
        connection = sqlite3.connect(database, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return RDBStorage(
        "sqlite://",
        {"creator": connect, "poolclass": QueuePool},
        skip_compatibility_check=True,
        skip_table_creation=True,
    )


def _shown(database: ServerDatabase) -> RDBStorage:
    if database.numbers() is None:
        raise StudyError(
            f"there is no study {database.record.study} in {database}\n"
            "  Is it another server, or another database of it? "
            "`orchestrate repair SPEC` makes it again."
        )
    return ShownStudy(database.record)
