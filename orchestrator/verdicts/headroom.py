"""Checks of measured error rates: is there room for the gain asked for, and does a model hear at
all?

They look at the rate that the search minimises. In a language without spaces that is the CER: its
WER is one of whole sentences, which is high for a model that hears well.
"""

from __future__ import annotations

from orchestrator.checks import Finding, finding
from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.scoring.edit_counts import error_rate
from orchestrator.scoring.limit_text import enough_decimals
from orchestrator.sweepfile.sweep import SweepSpec

HIGH = 50.0
"""Error rate in percent above which most of what a model writes is wrong, so that a gain there
means little.
"""

HEADROOM = 5.0
"""Error rate on the domain in percent below which a gain is hard to find and harder to prove."""


def searched_rate(spec: SweepSpec) -> str:
    """Return which kind of rate the search minimises: WER or CER."""
    return "CER" if spec.metric.name == "domain_cer" else "WER"


def rate_of(score: SetMeasurement, kind: str) -> float:
    """Return the WER or the CER of a set in percent; the WER where characters were not counted."""
    if kind == "CER" and score.characters:
        return error_rate(score.character_errors, score.characters)
    return score.wer


def headroom(spec: SweepSpec, domain: SetMeasurement, part: str = "") -> list[Finding]:
    """Check that the baseline's error rate on the domain set leaves room for the gain that the
    acceptance criteria ask for. `part` says of a sample what of the set it is: `on 100 of 500
    utterances`.
    """
    where = f" {part}" if part else ""
    for kind in ("WER", "CER"):
        criterion, rate = spec.acceptance.get(f"domain_{kind.lower()}"), rate_of(domain, kind)
        asked = criterion.min_gain if criterion is not None else None
        # a gain in percent can always be reached
        gain = asked if isinstance(asked, float) else None
        # all errors gone are a gain of exactly that, which can be measured and not be proven
        proven = criterion is not None and criterion.rule_of("min_gain") == "proven"
        if gain is not None and (rate < gain or (rate == gain and proven)):
            shown = on_its_side(rate, gain, 2)
            message = (
                f"the baseline's domain {kind}{where} is {shown} %, so a gain of {gain:g} points cannot be reached by "
                "any adapter; ask for less, or take a domain set that the model finds harder."
            )
            return [finding("no-headroom", message)]
    kind = searched_rate(spec)
    if (rate := rate_of(domain, kind)) < HEADROOM:
        shown = on_its_side(rate, HEADROOM, 2)
        message = (
            f"the baseline's domain {kind}{where} is {shown} %, below {HEADROOM:g} %: few errors are left to win, and "
            "a gain is hard to tell from chance."
        )
        return [finding("low-headroom", message)]
    return []


def high_rates(spec: SweepSpec, measurement: Measurement, who: str) -> list[Finding]:
    """Find the sets on which a model's error rate is above `HIGH`."""
    kind = searched_rate(spec)
    return [
        finding(
            "high-wer",
            f"{who} has a {kind} of {on_its_side(rate, HIGH, 1)} % on {name}: above {HIGH:g} % a model may hear "
            "nothing of what is said. Read the transcripts before anything is believed.",
        )
        for name, score in measurement.sets.items()
        if (rate := rate_of(score, kind)) > HIGH
    ]


def on_its_side(rate: float, limit: float, decimals: int) -> str:
    """Format a rate with as many `decimals`, and more where it would be shown on another side of
    the limit.
    """
    below = rate < limit
    side = (rate, lambda shown: shown < limit if below else shown > limit)
    return f"{rate:.{enough_decimals(decimals, side)}f}"
