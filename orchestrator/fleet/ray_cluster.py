"""The Ray cluster that this process joins. Only actors and their calls are used: no Tune, no
objects in Ray's store, no restarts, nothing that outlives this process.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from orchestrator.errors import StudyError
from orchestrator.fleet.hosts import Lost
from orchestrator.sweepfile.execution import Execution

log = logging.getLogger(__name__)

TOKEN_FILE = Path(".ray") / "auth_token"
"""The token's path under the home folder, where Ray itself looks."""
_HEAD = re.compile(r"[^/\s]+:[0-9]+")
"""The address of a cluster's head."""
_AGAIN = "then run the same command again."
_HEAD_SECONDS = 10.0
"""How long the head of a cluster may take to accept a connection."""


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or the one that runs on this machine, with a token.

    Raises StudyError where there is none, or none that lets this process in.
    """
    _check_address()
    _ask_for_a_token()
    import ray

    if ray.is_initialized():
        return
    _check_that_it_answers()
    _keep_quiet()
    here = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise StudyError(
            "execution.launcher: ray finds no cluster to join\n"
            "  Run `ray start --head` on this machine, or `ray start --address HEAD:6379` where "
            f"there is a cluster, or set RAY_ADDRESS; {_AGAIN}"
        ) from error
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise StudyError(
            f"execution.launcher: ray cannot join the cluster: {first_line(error)}\n"
            f"  The versions of Ray and Python and the token must be those of the cluster; {_AGAIN}"
        ) from error
    finally:
        if here:
            # Ray ends the process at SIGTERM; here it asks for an orderly stop
            signal.signal(signal.SIGTERM, handler)


def _check_address() -> None:
    """Raise StudyError where RAY_ADDRESS is not that of a head, but that of Ray's page or of Ray
    Client, or none.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address and address not in ("auto", "local") and not _HEAD.fullmatch(address):
        raise StudyError(
            f"execution.launcher: ray cannot join the cluster at RAY_ADDRESS={address}\n"
            "  It takes HOST:PORT of the head, such as gpu-1:6379, on a machine of the cluster; "
            f"set it so, or unset it; {_AGAIN}"
        )


def _check_that_it_answers() -> None:
    """Raise StudyError where nobody answers at RAY_ADDRESS: Ray would try for more than a minute,
    with messages about its own parts.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if not _HEAD.fullmatch(address):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _HEAD_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise StudyError(
            f"execution.launcher: ray cannot join the cluster at RAY_ADDRESS={address}: nobody answers there ({why})\n"
            f"  Start the head there, or correct RAY_ADDRESS, or unset it; {_AGAIN}"
        ) from error


def _ask_for_a_token() -> None:
    """Switch Ray to its token mode. That works only before Ray is imported, as Ray reads its mode
    once, at import. Raises StudyError where there is no token and RAY_AUTH_MODE does not say that
    this is meant.
    """
    if os.environ.get("RAY_AUTH_MODE") or "ray" in sys.modules:
        return
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    home = Path(os.path.expanduser("~"))
    if not named and not (home / TOKEN_FILE).exists():
        raise StudyError(
            "execution.launcher: ray needs a token, for a cluster without one runs whatever "
            "anybody sends to its ports\n"
            "  Run `ray get-auth-token --generate` once, give ~/.ray/auth_token to all machines of "
            "the cluster, and start it with RAY_AUTH_MODE=token; or set RAY_AUTH_MODE=disabled "
            "where nobody else reaches it."
        )
    os.environ["RAY_AUTH_MODE"] = "token"


def _keep_quiet() -> None:
    """Send what Ray prints about a lost machine, twenty lines at a time, to the log of `--verbose`;
    the fleet says it in one line.
    """
    worker: Any = import_module("ray._private.worker")
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _logged


def _logged(data: dict[str, Any], *_: object, **__: object) -> None:
    for line in data.get("lines", ()):
        log.debug("ray: %s", line)


def demand(execution: Execution) -> dict[str, float]:
    """Return the resources that one pack needs, by Ray's names."""
    assert execution.cores != "auto", "written where the launcher is ray"
    cores: dict[str, float] = {"CPU": execution.cores}
    return cores | ({"GPU": 1.0} if execution.device == "cuda" else {})


def has_room(demanded: dict[str, float], resources: dict[str, float]) -> bool:
    """Say whether a machine has that much at all, whether in use or not."""
    return all(resources.get(name, 0.0) >= amount for name, amount in demanded.items())


def demand_text(demanded: dict[str, float]) -> str:
    """Return the resources in words."""
    return " and ".join(f"{amount:g} {name}" for name, amount in demanded.items())


def how_it_ended(error: Exception) -> Lost:
    """Return the loss that says why an actor is gone, in a few words; Ray has many for each
    reason.
    """
    text = str(error)
    if "node has died" in text or "node was terminated" in text:
        return Lost("its machine is gone", with_machine=True)
    if "Unavailable" in type(error).__name__:
        return Lost("its connection is gone", with_machine=True)
    if "memory pressure" in text or "OutOfMemory" in type(error).__name__:
        return Lost("Ray ended it, for memory was running out")
    if "worker process has died" in text:
        return Lost("its process is gone, as where memory ran out")
    return Lost(first_line(error))


def never_ran(error: Exception) -> bool:
    """Say whether a lost actor had never started, because its machine left before or while it was
    to start there.
    """
    text = str(error)
    return "not schedulable" in text or "never ran" in text or "node has died" in text


def first_line(error: Exception) -> str:
    """Return the first line of an error; for one that carries a traceback, its last line, which
    says what was raised.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if any(line.startswith("File ") for line in lines) else lines[0]
