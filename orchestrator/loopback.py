"""A web server for the person at this machine: loopback only, read only.

A page of any other site could reach it by DNS rebinding, so the Host header must be this machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from orchestrator.errors import StudyError

LOOPBACK = "127.0.0.1"

Respond = Callable[..., Any]
Application = Callable[[dict[str, Any], Respond], Iterable[bytes]]


def serve_until_interrupted(server: WSGIServer, started: Callable[[str], None]) -> None:
    """Answer until interrupted; `started` is told the address, which can be opened by then."""
    with server:
        started(f"http://{LOOPBACK}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def guarded_server(application: Application, port: int, name: str) -> WSGIServer:
    """The server, listening, its application guarded; port 0 takes a free one. `name` is what
    refusals call it.

    Raises StudyError where the port is taken.
    """
    server = _listening(port)
    server.set_app(guarded(application, server.server_port, name))
    return server


def require_free(port: int) -> None:
    """For whoever has to load much before there is something to serve.

    Raises StudyError where the port is taken.
    """
    _listening(port).server_close()


def _listening(port: int) -> WSGIServer:
    try:
        return _Server((LOOPBACK, port), _QuietHandler)
    except OSError as error:
        raise StudyError(
            f"port {port} cannot be used: {error.strerror}\n  Choose another with --port."
        ) from error


def guarded(application: Application, port: int, name: str) -> Application:
    """`application` for readers at this machine: any other Host, and any method but GET and HEAD,
    gets a 403.
    """
    hosts = {f"{host}:{port}" for host in (LOOPBACK, "localhost")}

    def answer(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") not in hosts:
            return _refuse(
                respond, f"Open http://{LOOPBACK}:{port}/ at the machine that runs the {name}."
            )
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(
                respond, f"This {name} only shows the study. Changes are made by the sweep."
            )
        return application(environ, respond)

    return answer


def _refuse(respond: Respond, message: str) -> Iterable[bytes]:
    respond("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{message}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """Browsers open connections ahead and leave them silent: one thread each, none of them holds up
    the exit.
    """

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """No line per request on the terminal."""
