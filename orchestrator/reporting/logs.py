"""`--verbose`: what the loggers of this package say, on stderr. Without it nothing of the kind is
printed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.reporting.escape import plain

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment, which a live table puts its own in the place of."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, a line for each of its own: a name from a manifest never drives the
        terminal.
        """
        print(*map(plain, self.format(record).split("\n")), sep="\n", file=sys.stderr, flush=True)


@contextmanager
def debug_logging(verbose: bool) -> Iterator[None]:
    """Show debug records of `orchestrator` and below while the context lasts, where that is asked
    for.
    """
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
