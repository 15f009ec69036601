"""What a short training run showed, as values."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.checks import Finding
from orchestrator.planning.trial_plan import TrialParams

STEPS = 50
"""Optimizer steps."""


@dataclass(frozen=True)
class SetComparison:
    """One evaluation set, heard untuned and tuned."""

    utterances: int
    words: int
    """Reference words."""
    baseline_wer: float
    """Percent."""
    wer: float | None
    """Percent, tuned; None when the run failed."""
    changed_words: int | None
    """Word edits from the untuned transcripts to the tuned ones."""


@dataclass(frozen=True)
class ShortRun:
    """The sweep's first point, trained for a few steps."""

    params: TrialParams
    failure: str | None
    relative_delta: float
    """Frobenius norm of the change of all adapted weights over that of the weights."""
    modules: int
    still: tuple[str, ...]
    """Adapted modules whose weight did not change."""
    loss_before: float
    """Nats a token on the batch of the first step, with the untrained adapter."""
    loss_after: float
    sets: dict[str, SetComparison]
    findings: tuple[Finding, ...]
    """Of the model, the baseline and this run."""
