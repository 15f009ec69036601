"""What a short training run showed, as values."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.checks import Finding
from orchestrator.planning.trial_plan import TrialParams

STEPS = 50
"""Optimizer steps of the run."""

SHOWN = 10
"""How many utterances' transcripts are shown."""


def spread_rows(total: int, count: int) -> list[int]:
    """Return at most `count` of `total` row numbers, spread evenly."""
    kept = min(count, total)
    return [row * total // kept for row in range(kept)]


@dataclass(frozen=True)
class SetComparison:
    """One evaluation set, transcribed by the untuned and by the tuned model."""

    utterances: int
    words: int
    """Reference words."""
    baseline_wer: float
    """Percent, untuned."""
    wer: float | None
    """Percent, tuned; None when the run failed."""
    changed_words: int | None
    """Word edits from the untuned transcripts to the tuned ones; None when the run failed."""


@dataclass(frozen=True)
class Transcribed:
    """One utterance: its reference and what was heard, before the normaliser."""

    utterance: str
    reference: str
    untuned: str
    tuned: str | None
    """None when the run failed."""


@dataclass(frozen=True)
class WindowComparison:
    """The untuned model with the sweep's encoder windows, compared with the other reading of the
    same window widths.
    """

    used: str
    """Frames before and ahead that each layer attends to, as the sweep has them."""
    other: str
    """The same in the other reading."""
    other_name: str
    """The value of evaluation.encoder_windows that selects the other reading."""
    change: float
    """Largest difference of the encoder's output, as a share of its largest value."""
    utterances: int
    changed: int
    """Utterances of the domain sample whose words differ between the two."""
    wer: float
    """Percent, with the sweep's windows."""
    other_wer: float
    """Percent, with the other ones."""


@dataclass(frozen=True)
class ShortRun:
    """The sweep's first point, trained for a few steps."""

    params: TrialParams
    failure: str | None
    """Why the run failed; None where it did not."""
    relative_delta: float
    """Frobenius norm of the change of all adapted weights, divided by the norm of these weights."""
    modules: int
    """How many modules are adapted."""
    still: tuple[str, ...]
    """Adapted modules whose weight did not change."""
    loss_before: float
    """Nats per token on the batch of the first step, with the untrained adapter."""
    loss_after: float
    """The same on that batch after the last step."""
    sets: dict[str, SetComparison]
    windows: WindowComparison | None
    """None where both readings are the same, or the model has no windows."""
    transcripts: tuple[Transcribed, ...]
    """A few utterances of the domain set."""
    findings: tuple[Finding, ...]
    """What the checks found about the model, the baseline and this run."""
