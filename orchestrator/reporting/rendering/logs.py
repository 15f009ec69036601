"""`--verbose`: the log records of this package on stderr. Without it none are printed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.reporting.rendering.escape import plain

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Stderr(logging.Handler):
    """Writes to `sys.stderr` as it is at the moment: a live table replaces it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, line by line and escaped, so that text from a manifest cannot control
        the terminal.
        """
        print(*map(plain, self.format(record).split("\n")), sep="\n", file=sys.stderr, flush=True)


@contextmanager
def debug_logging(verbose: bool) -> Iterator[None]:
    """Within the context, print debug records of `orchestrator` and below, where `verbose`."""
    if not verbose:
        yield
        return
    logger, handler = logging.getLogger("orchestrator"), _Stderr()
    handler.setFormatter(logging.Formatter(FORMAT))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
