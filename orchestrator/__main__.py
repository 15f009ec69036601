"""The entry point of `orchestrate` and of `python -m orchestrator`.

It handles Ctrl+C before it imports anything of the project, because those imports take a while.
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
    """Run the command line. Ctrl+C before it has begun prints one line and exits with code 130."""
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _stop)
    _imported_main()()


def _imported_main() -> Callable[[], None]:
    """Import the command line and return its `main`.

    Objects made by these imports live until the process ends, so the garbage collector is off
    during the import and never searches them afterwards: that took a fifth of the start-up time.
    """
    # without this, pydantic searches the metadata of every installed package for plugins
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
