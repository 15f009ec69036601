"""A web server for the person at this machine: it listens on the loopback address and only reads.

By DNS rebinding a page of any other site could reach it through the person's browser, so requests
whose Host header is not this machine's are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from orchestrator.errors import StudyError

LOOPBACK = "127.0.0.1"
_PORT_OF_HTTP = 80
"""Clients leave this port out of the Host header."""

Respond = Callable[..., Any]
Application = Callable[[dict[str, Any], Respond], Iterable[bytes]]


def serve_until_interrupted(server: WSGIServer, started: Callable[[str], None]) -> None:
    """Serve until Ctrl+C. `started` is called with the address, which can be opened by then."""
    with server:
        started(f"http://{LOOPBACK}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def guarded_server(application: Application, port: int, name: str) -> WSGIServer:
    """Return a server that listens already and serves `application` behind `guarded`; port 0 takes
    a free port. `name` is what the refusals call the server.

    Raises StudyError where the port cannot be used.
    """
    server = _listening(port)
    server.set_app(guarded(application, server.server_port, name))
    return server


def require_free(port: int) -> None:
    """Check that a port is free, for callers that load much before they have something to serve.

    Raises StudyError where the port cannot be used.
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
    """Wrap `application` so that a request with a Host header other than this machine's, or with a
    method other than GET and HEAD, gets a 403.
    """
    names = (LOOPBACK, "localhost")
    hosts = {f"{name}:{port}" for name in names}
    if port == _PORT_OF_HTTP:
        hosts.update(names)

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
    """A server with a daemon thread for each connection: browsers open connections ahead and leave
    them silent, and those must delay neither other requests nor the exit.
    """

    daemon_threads = True

    def server_bind(self) -> None:
        """Listen without asking for the name of the address, as the base class does: where no name
        server answers, that takes half a minute.
        """
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: the base class prints a line for each request."""
