"""Steps and evaluations that take far longer than they usually do: said, for nobody watches a sweep
at night.
"""

from __future__ import annotations

from collections import deque
from statistics import median

TIMES = 50
"""So many times the usual is worth a sentence."""
AT_LEAST = 1.0
"""Seconds: below, a busy machine says nothing."""
KNOWN = 5
"""Times after which the usual is known."""
REMEMBERED = 101


class Usual:
    """What a kind of work usually takes a trial."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = {}

    def judge(self, kind: str, seconds: float, trials: int) -> str | None:
        """A sentence where `seconds` for so many trials are too many; they count for the next
        time.
        """
        known = self._seconds.setdefault(kind, deque(maxlen=REMEMBERED))
        per_trial = seconds / trials
        usual = median(known) if len(known) >= KNOWN else None
        known.append(per_trial)
        if usual is None or seconds < AT_LEAST or per_trial < TIMES * usual:
            return None
        return (
            f"{kind} took {seconds:.1f} s, {per_trial / max(usual, 1e-9):,.0f} times the usual: "
            "is the machine short of memory, or asleep in between?"
        )
