"""How many utterances would decide a limit that the measured ones leave open."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.scoring.bootstrap import DeltaEstimate

POWER = 2.49
"""z(0.95) + z(0.80): how many standard errors the true value must lie from a limit for a one-sided
5 % test to have 80 % power. For other levels see `deviations_for`."""

ONE_SIDED = 1.645
"""z(0.95): the quantile of a one-sided bound at 95 %."""


def deviations_for(level: float) -> float:
    """Return how many standard errors the true value must lie inside the limit for a one-sided
    bound at this confidence to lie inside it with 80 % power.
    """
    quantile = NormalDist().inv_cdf
    return POWER + quantile(level) - quantile(0.95)


def utterances_needed(paired: DeltaEstimate, gap: float, deviations: float) -> int | None:
    """Return n * (deviations * SE / gap)^2, as the standard error shrinks with the square root of
    the number of utterances; None where that is no number.

    It is more than the n that did not suffice: in a set of a few utterances the bounds are farther
    from the point than these deviations.
    """
    if gap == 0 or not math.isfinite(paired.standard_error) or not math.isfinite(gap):
        return None
    ratio = deviations * paired.standard_error / gap
    needed = paired.utterances * (ratio * ratio)
    return max(math.ceil(needed), paired.utterances + 1) if math.isfinite(needed) else None
