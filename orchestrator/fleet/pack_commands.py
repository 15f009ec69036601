"""What a pack was told, in order. Its state is what it last saved plus these commands since,
whichever process computes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.fleet_file import Command
from orchestrator.records.worker_protocol import Event, Failed, Noticed, Progress

Files = dict[str, bytes]
"""Name -> contents of the files in a folder without sub-folders."""
ADVANCE: Command = ("advance", -1)
"""The command to advance, with a number in the place of a trial that means none."""


@dataclass(frozen=True)
class PackState:
    """All that is needed to make a pack again: what it saved, and what it was told since."""

    saved: Files | None
    """The files of its last checkpoint; None where it began with no trial in a slot."""
    saved_slots: tuple[int, ...]
    """Trials that held a slot when it was saved, in order of admission."""
    log: tuple[Command, ...]
    """The commands since it was saved, in order."""
    plans: dict[int, TrialPlan]
    """The plans of all trials that `saved_slots` and `log` name."""


@dataclass(frozen=True)
class Advanced:
    """The result of an advance."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Rebuilt:
    """Says that a pack has become what a state describes."""

    digests: tuple[str, ...]
    """Digests of the events that were computed again on the way, one for each advance in the
    log.
    """


def events_digest(events: Sequence[Event]) -> str:
    """Return the SHA-256 of everything in events that decides something; progress, notices and
    tracebacks do not.
    """
    total = hashlib.sha256()
    for event in events:
        if isinstance(event, Failed):
            total.update(repr((event.number, event.step, event.reason)).encode())
        elif not isinstance(event, Progress | Noticed):
            total.update(repr(event).encode())
    return total.hexdigest()
