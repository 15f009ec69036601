"""What the untuned model leaves to win."""

from __future__ import annotations

from orchestrator.checks import Finding, finding
from orchestrator.spec.sweep import SweepSpec

HEADROOM = 5.0
"""Percent of domain WER below which a gain is hard to find and harder to prove."""


def headroom(spec: SweepSpec, wer: float) -> list[Finding]:
    """Whether a baseline's domain WER, in percent, leaves room for the gain that the acceptance criteria ask for."""
    criterion = spec.acceptance.get("domain_wer")
    gain = criterion.min_gain if criterion is not None else None
    if gain is not None and wer <= gain:
        message = (
            f"the baseline's domain WER is {wer:.2f} %, so a gain of {gain:g} points cannot be reached by any adapter; "
            "ask for less, or take a domain set that the model finds harder."
        )
        return [finding("no-headroom", message)]
    if wer < HEADROOM:
        message = (
            f"the baseline's domain WER is {wer:.2f} %, below {HEADROOM:g} %: few errors are left to win, and a gain "
            "is hard to tell from chance."
        )
        return [finding("low-headroom", message)]
    return []
