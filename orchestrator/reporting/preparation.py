"""What is made ready before the first trial, in words: how far it is, and how long it still takes."""

from __future__ import annotations

from orchestrator.reporting.status import duration


class Preparation:
    """Decides when something is worth saying: at first, every so many seconds, and at the end."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._what = ""
        self._started = self._said = 0.0
        self._first = 0

    def told(self, what: str, done: int, total: int, now: float) -> str:
        """What to say of `done` of `total` at `now`, in seconds; empty where it can wait."""
        if what != self._what:
            self._what, self._started, self._first = what, now, done
            self._said = now
            return f"{what}: {done:,} of {total:,}"
        if done < total and now - self._said < self._every:
            return ""
        self._said = now
        spent = now - self._started
        if done == total:
            self._what = ""
            return f"{what}: {total:,} in {duration(spent)}"
        made = done - self._first
        left = spent / made * (total - done) if made else 0.0
        return f"{what}: {done:,} of {total:,}, about {duration(left)} left"
