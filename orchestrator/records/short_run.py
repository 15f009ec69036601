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
    """Number of words in the references."""
    baseline_wer: float
    """WER of the untuned model in percent."""
    wer: float | None
    """WER of the tuned model in percent; None when the run failed."""
    changed_words: int | None
    """Word edits from the untuned transcripts to the tuned ones; None when the run failed."""


@dataclass(frozen=True)
class Transcribed:
    """One utterance: its reference and what was heard, before the normaliser."""

    utterance: str
    reference: str
    untuned: str
    tuned: str | None
    """What the tuned model made of it; None when the run failed."""


@dataclass(frozen=True)
class WindowComparison:
    """The untuned model with the sweep's encoder windows, compared with the other reading of the
    same window widths.
    """

    used: str
    """Frames before and ahead that each layer attends to, as the sweep has them."""
    other: str
    """These frames in the other reading."""
    other_name: str
    """The value of evaluation.encoder_windows that selects the other reading."""
    change: float
    """Largest difference of the encoder's output, as a share of its largest value."""
    utterances: int
    changed: int
    """Utterances of the domain sample whose words differ between the two."""
    wer: float
    """WER in percent with the sweep's windows."""
    other_wer: float
    """WER in percent with the windows of the other reading."""


@dataclass(frozen=True)
class ShortRun:
    """The sweep's first point, trained for a few steps."""

    params: TrialParams
    failure: str | None
    """Why the run failed; None where it did not."""
    relative_delta: float
    """Frobenius norm of the change of all adapted weights, divided by the norm of these weights."""
    modules: int
    """Number of modules that are adapted."""
    still: tuple[str, ...]
    """Adapted modules whose weight did not change."""
    loss_before: float
    """Nats per token on the batch of the first step, with the untrained adapter."""
    loss_after: float
    """Nats per token on that batch after the last step."""
    sets: dict[str, SetComparison]
    windows: WindowComparison | None
    """Comparison with the other reading of the encoder's windows; None where both readings are the
    same, or the model has no windows.
    """
    transcripts: tuple[Transcribed, ...]
    """A few utterances of the domain set."""
    findings: tuple[Finding, ...]
    """What the checks found about the model, the baseline and this run."""
