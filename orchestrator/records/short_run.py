"""What a short training run showed, as values."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.checks import Finding
from orchestrator.planning.trial_plan import TrialParams

STEPS = 50
"""Optimizer steps."""

SHOWN = 10
"""Utterances whose transcripts are shown."""


def spread_rows(total: int, count: int) -> list[int]:
    """At most `count` of `total` rows, spread over all."""
    kept = min(count, total)
    return [row * total // kept for row in range(kept)]


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
class Transcribed:
    """One utterance, as it was said and as it was heard, before the normaliser."""

    utterance: str
    reference: str
    untuned: str
    tuned: str | None
    """None when the run failed."""


@dataclass(frozen=True)
class WindowComparison:
    """The untuned model with the encoder windows of the sweep and with the other reading of the
    same widths.
    """

    used: str
    """Frames before and ahead, layer by layer."""
    other: str
    other_name: str
    """What evaluation.encoder_windows would say for it."""
    change: float
    """Largest difference of the encoder's output over its largest value."""
    utterances: int
    changed: int
    """Utterances of the domain sample that get other words."""
    wer: float
    """Percent, as the sweep hears the sample."""
    other_wer: float


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
    windows: WindowComparison | None
    """None where both readings are the same, or the model has no windows."""
    transcripts: tuple[Transcribed, ...]
    """A few utterances of the domain."""
    findings: tuple[Finding, ...]
    """Of the model, the baseline and this run."""
