"""What a pack was told, in order: its state is what it last saved and these since, whoever computes
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.fleet_file import Command
from orchestrator.records.worker_protocol import Event, Failed, Noticed, Progress

Files = dict[str, bytes]
"""Name -> contents, of a folder without folders in it."""
ADVANCE: Command = ("advance", -1)


@dataclass(frozen=True)
class PackState:
    """All that makes a pack again: what it saved, and what it was told since."""

    saved: Files | None
    """None: it began with no trial in a slot."""
    saved_slots: tuple[int, ...]
    """Trials that held a slot when it was saved, in order of admission."""
    log: tuple[Command, ...]
    plans: dict[int, TrialPlan]
    """Of every trial that is named above."""


@dataclass(frozen=True)
class Advanced:
    """What came of an advance."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Rebuilt:
    """A pack has become what a state describes."""

    digests: tuple[str, ...]
    """Of the events that were computed again on the way, one for each advance in the log."""


def events_digest(events: Sequence[Event]) -> str:
    """SHA-256 of all that decides something; progress, notices and tracebacks do not."""
    total = hashlib.sha256()
    for event in events:
        if isinstance(event, Failed):
            total.update(repr((event.number, event.step, event.reason)).encode())
        elif not isinstance(event, Progress | Noticed):
            total.update(repr(event).encode())
    return total.hexdigest()
