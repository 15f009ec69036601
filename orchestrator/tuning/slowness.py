"""Noticing steps and evaluations that take far longer than usual, which is written down because
nobody watches a sweep at night.
"""

from __future__ import annotations

from collections import deque
from statistics import median

TIMES = 50
"""How many times the usual duration is reported."""
AT_LEAST = 1.0
"""Seconds below which nothing is reported, as a busy machine often causes a short delay."""
KNOWN = 5
"""The number of durations after which the usual one is known."""
REMEMBERED = 101
"""The number of latest durations whose median is the usual one."""


class Usual:
    """The usual duration per trial of each kind of work."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = {}

    def judge(self, kind: str, seconds: float, trials: int) -> str | None:
        """Remember that work of this kind took `seconds` for so many trials; return a sentence
        where that is far more than usual.
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
