"""Statistical power of an evaluation set, estimated before anything is measured.

Model: between baseline and tuned model a share `churn` of the reference words changes between right
and wrong, equally often in both directions when nothing is gained or lost. The paired difference
then has variance `churn` per word, so

    SE(delta WER) = 100 * sqrt(churn / words)        WER points

Words are taken as independent. Errors cluster in utterances and speakers, so the true error is
larger on sets of few speakers; churn is not known beforehand and grows with how aggressive an
adapter is. These figures are therefore a lower bound of what is needed, and the measured bootstrap
interval decides.
"""

from __future__ import annotations

import math
from statistics import NormalDist

Z_POWER = 1.6449 + 0.8416
"""Quantiles of the normal distribution for a one-sided test at 5 % with 80 % power."""
CHURN = {"domain": 0.03, "heldout": 0.01}
"""Typical share of words that change between right and wrong: 3 % on a set that is adapted to, 1 %
on one that is to be kept.
"""


def standard_error(words: int, churn: float) -> float:
    """Return the standard error of a paired WER difference in WER points. Raises ValueError unless
    words > 0 and 0 < churn <= 1.
    """
    if words <= 0 or not 0 < churn <= 1:
        raise ValueError(f"words must be above 0 and churn in (0, 1], not {words} and {churn}")
    return 100 * math.sqrt(churn / words)


def smallest_detectable(words: int, churn: float) -> float:
    """Return the true difference in WER points that a one-sided 5 % test finds with 80 % power."""
    return Z_POWER * standard_error(words, churn)


def provable_gain(words: int, churn: float, limit: float, comparisons: int) -> float:
    """Return the true gain in WER points that is proven to be at least `limit` with 80 % power.

    With `comparisons` trials competing on the set, the bound that must lie beyond the limit has an
    error of 5 % / comparisons (Bonferroni).
    """
    quantile = NormalDist().inv_cdf
    deviations = quantile(1 - 0.05 / comparisons) + quantile(0.8)
    return limit + deviations * standard_error(words, churn)


def utterances_needed(utterances: int, words: int, churn: float, limit: float) -> int | None:
    """Return how many utterances of the same mean length tell a difference of `limit` WER points
    from 0: n * (2.49 * SE / limit)^2.

    None for a limit of 0, or so near to it that the number is not finite: no set can resolve it.
    """
    ratio = smallest_detectable(words, churn) / limit if limit > 0 else math.inf
    needed = utterances * (ratio * ratio)
    return math.ceil(needed) if math.isfinite(needed) else None
