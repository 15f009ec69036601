"""Checks of measured WERs: is there room for the gain asked for, and does a model hear at all?"""

from __future__ import annotations

from orchestrator.checks import Finding, finding
from orchestrator.records.results import Measurement
from orchestrator.sweepfile.sweep import SweepSpec

HIGH = 50.0
"""WER in percent above which most of what a model writes is wrong, so that a gain there means
little.
"""

HEADROOM = 5.0
"""Domain WER in percent below which a gain is hard to find and harder to prove."""


def headroom(spec: SweepSpec, wer: float) -> list[Finding]:
    """Check that the baseline's domain WER, in percent, leaves room for the gain that the
    acceptance criteria ask for.
    """
    criterion = spec.acceptance.get("domain_wer")
    asked = criterion.min_gain if criterion is not None else None
    gain = asked if isinstance(asked, float) else None  # a gain in percent can always be reached
    # all errors gone are a gain of exactly that, which can be measured and not be proven
    proven = criterion is not None and criterion.rule_of("min_gain") == "proven"
    if gain is not None and (wer < gain or (wer == gain and proven)):
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


def high_wer(measurement: Measurement, who: str) -> list[Finding]:
    """Find the sets on which a model's WER is above `HIGH`."""
    return [
        finding(
            "high-wer",
            f"{who} has a WER of {score.wer:.1f} % on {name}: above {HIGH:g} % a model may hear nothing of what is "
            "said. Read the transcripts before anything is believed.",
        )
        for name, score in measurement.sets.items()
        if score.wer > HIGH
    ]
