"""Serves optuna-dashboard on one study: loopback only, read only.

By itself the dashboard has no authentication, accepts any Host header (so a web page can reach it
by DNS rebinding), lets every visitor delete the study or tell a WER of 0, and lets every page read
its artifacts. So it gets a copy in memory, which is made anew when the study has changed. Names,
notes, figures and files that Optuna's study does not have are added to that copy, and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import optuna

from orchestrator.errors import OrchestrateError, StudyError
from orchestrator.host.loopback import Application, Respond, guarded_server
from orchestrator.search.dashboard_copy import copy_of
from orchestrator.search.dashboard_study import DashboardStudy
from orchestrator.search.storage import (
    Database,
    open_read_only,
    refuse_other_kinds,
    storage_errors,
)

Show = Callable[[], DashboardStudy]
"""Returns what is shown of the study as it stands now. Raises StudyError for damaged files."""

_DROPPED = "access-control-allow-origin"
"""A header of the dashboard's that would let any page read its answers."""
_ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Headers added to every answer."""
_ARTIFACT = (
    ("Cache-Control", "no-store"),
    # report.html brings its own policy; opened from here it must not reach the dashboard's pages
    ("Content-Security-Policy", "sandbox allow-scripts"),
)
"""Headers added to artifacts."""


def open_server(database: Database, files: Sequence[Path], show: Show, port: int) -> WSGIServer:
    """Return the server, already listening; port 0 takes a free one. The copy is made anew when the
    database or one of `files` has changed.

    A sweep may be running: readers do not disturb its one writer. Raises StudyError when there is
    no study yet, its files are damaged or the port is taken.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _refuse_missing(database)
    return guarded_server(_Dashboard(database, files, show), port, "dashboard")


class _Dashboard:
    """The WSGI application, always on the newest copy of the study."""

    def __init__(self, database: Database, files: Sequence[Path], show: Show) -> None:
        self._database, self._show = database, show
        self._watched = (*_files_of(database), *files)
        self._lock = threading.Lock()
        self._stamp: object = None
        self._application: Application
        self._newest()

    def __call__(self, environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        try:
            application = self._newest()
        except (OrchestrateError, OSError) as error:
            respond("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode("utf-8", errors="backslashreplace")]
        return application(environ, _tightened(respond, environ.get("PATH_INFO", "")))

    def _newest(self) -> Application:
        with self._lock:
            # taken before the copy is made, so that the next request sees what is written meanwhile
            stamp = [_stamp(path) for path in self._watched]
            if stamp != self._stamp:
                self._application = self._made()
                self._stamp = stamp
            return self._application

    def _made(self) -> Application:
        from optuna_dashboard import wsgi

        shown = self._show()
        _refuse_missing(self._database)
        with (
            storage_errors(self._database, "The dashboard only reads it."),
            open_read_only(self._database) as storage,
        ):
            copy, attachments = copy_of(storage, shown, self._database)
        application: Application = wsgi(copy, artifact_store=attachments)
        return application


def _refuse_missing(database: Database) -> None:
    if isinstance(database, Path):
        refuse_other_kinds(database)
        if not database.exists():
            raise StudyError(f"there is no study at {database} yet\n  Start the sweep first.")
        return
    with storage_errors(database, "The dashboard only reads it."):
        known = database.numbers()
    if known is None:
        raise StudyError(
            f"there is no study {database.record.study} in {database}\n"
            "  Is it another server, or another database of it? "
            "`orchestrate repair SPEC` makes it again."
        )


def _files_of(database: Database) -> tuple[Path, ...]:
    """Return the files that change with the database. One on a server has none here; the journal,
    watched as well, is enough.
    """
    if isinstance(database, Path):
        return database, database.with_name(f"{database.name}-wal")
    return ()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _tightened(respond: Respond, path: str) -> Respond:
    """Wrap `respond` so that no page of another origin can read the answer, and an artifact that is
    a page cannot reach the dashboard.
    """

    def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [(name, value) for name, value in headers if name.lower() != _DROPPED]
        own = _ARTIFACT if path.startswith("/artifacts/") else ()
        return respond(status, [*kept, *_ALWAYS, *own], *more)

    return answer
