"""What a dashboard shows of a study beyond Optuna's own record, as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Attachment:
    """A file of the page; its contents are made when they are asked for."""

    name: str
    kind: str
    """Media type."""
    read: Callable[[], bytes]
    """Raises OrchestrateError or OSError where it cannot be made any more."""


@dataclass(frozen=True)
class DashboardTrial:
    """One trial that ended."""

    note: str
    """Markdown."""
    attributes: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """By names that a person reads; numbers stay numbers, so that they sort."""
    constraints: tuple[float, ...] = ()
    """Optuna's convention: <= 0 is feasible."""
    feasible: bool = True
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class DashboardStudy:
    """The study and its trials that ended."""

    objective: str
    """Name and unit of what is minimised."""
    note: str
    """Markdown."""
    best: int | None
    """The trial that the note speaks of."""
    attributes: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Id -> a figure in plotly's JSON."""
    attachments: tuple[Attachment, ...] = ()
    trials: Mapping[int, DashboardTrial] = field(default_factory=dict)
    differing: Callable[[Sequence[FrozenTrial]], int | None] = lambda held: None
    """The first trial of which Optuna says another thing than its sealed result; None where both
    agree.
    """
