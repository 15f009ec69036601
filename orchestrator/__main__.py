"""`python -m orchestrator` is `orchestrate`. Nothing but this is imported before Ctrl+C has an
answer.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from types import FrameType

_SAID = b"Interrupted while starting: nothing was begun. The same command begins again.\n"


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, _SAID)
    os._exit(128 + number)  # an exception would surface in whatever module is being imported


def main() -> None:
    """The command, with one line and exit code 130 where Ctrl+C comes before it has begun."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _stop)
    _imported_main()()


def _imported_main() -> Callable[[], None]:
    """The command line. What its import makes stays for good, so the garbage collector neither
    searches it while it grows nor ever after: that took a fifth of the start.
    """
    # pydantic would read the metadata of every installed package, in search of plugins
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.disable()
    try:
        from orchestrator.cli import main as run
    finally:
        gc.enable()
    gc.freeze()
    return run


if __name__ == "__main__":
    main()
