"""What a dashboard shows of a study beyond Optuna's own record, as values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from orchestrator.search.storage import Database

Check = Callable[["Database", Collection["FrozenTrial"]], None]
"""Raises StudyError where the trials that a database holds are not those of the study's files."""


@dataclass(frozen=True)
class Attachment:
    """A file offered on the page; its contents are made when they are asked for."""

    name: str
    kind: str
    """Media type."""
    read: Callable[[], bytes]
    """Returns the contents. Raises OrchestrateError or OSError where they cannot be made any
    more.
    """


@dataclass(frozen=True)
class DashboardTrial:
    """What is shown of one trial that ended."""

    note: str
    """Markdown."""
    attributes: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Keys are names that a person reads; numbers stay numbers, so that they sort."""
    constraints: tuple[float, ...] = ()
    """By Optuna's convention, <= 0 is feasible."""
    feasible: bool = True
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class DashboardStudy:
    """What is shown of the study and of its trials that ended."""

    objective: str
    """Name and unit of the rate that is minimised."""
    note: str
    """Markdown."""
    best: int | None
    """The best trial, to which the note links."""
    attributes: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Id -> figure in plotly's JSON."""
    attachments: tuple[Attachment, ...] = ()
    trials: Mapping[int, DashboardTrial] = field(default_factory=dict)
    check: Check = lambda database, held: None
