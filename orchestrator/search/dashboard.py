"""optuna-dashboard on one study: loopback only, read only.

By itself the dashboard has no authentication, accepts any Host header (so a web page can reach it
by DNS rebinding) and lets every visitor delete the study or tell a WER of 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.pool import QueuePool

from orchestrator.errors import StudyError
from orchestrator.search.storage import BUSY_SECONDS, storage_errors

LOOPBACK = "127.0.0.1"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(database: Path, port: int, started: Callable[[str], None]) -> None:
    """Show the study until interrupted; `started` is told the address once it can be opened.

    A sweep may be running: readers do not disturb its one writer. Raises StudyError when there is
    no study yet or the port is taken.
    """
    with open_server(database, port) as server:
        started(f"http://{LOOPBACK}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def open_server(database: Path, port: int) -> WSGIServer:
    """The server, listening; port 0 takes a free one. Raises StudyError as `serve` does."""
    from optuna_dashboard import wsgi

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storage_errors(database, "The dashboard only reads it."):
        application = wsgi(_read_only(database))
    try:
        server = make_server(LOOPBACK, port, application, _Server, _QuietHandler)
    except OSError as error:
        raise StudyError(
            f"port {port} cannot be used: {error.strerror}\n  Choose another with --port."
        ) from error
    server.set_app(guarded(application, server.server_port))
    return server


def guarded(application: Application, port: int) -> Application:
    """`application` for readers at this machine: any other Host, and any method but GET and HEAD,
    gets a 403.
    """
    hosts = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") not in hosts:
            return _refuse(
                start_response,
                f"Open http://{LOOPBACK}:{port}/ at the machine that runs the dashboard.",
            )
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(
                start_response,
                "This dashboard only shows the study. Changes are made by the sweep.",
            )
        return application(environ, start_response)

    return answer


def _refuse(start_response: Callable[..., Any], message: str) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{message}\n".encode()]


def _read_only(database: Path) -> RDBStorage:
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


class _Server(ThreadingMixIn, WSGIServer):
    """Browsers open connections ahead and leave them silent: one thread each, none of them holds up
    the exit.
    """

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """No line per request on the terminal."""
