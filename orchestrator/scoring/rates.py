"""One rate of one set, as counts per utterance, and what is computed of it: pooling over seeds,
differences in points and percent, paired estimates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.errors import FingerprintError
from orchestrator.scoring.edit_counts import error_rate

if TYPE_CHECKING:
    from orchestrator.scoring.bootstrap import DeltaEstimate


@dataclass(frozen=True)
class SetScore:
    """One rate of one set, as counts per utterance in manifest order: word errors over words,
    character errors over characters, terms missed over terms said."""

    errors: tuple[int, ...]
    units: tuple[int, ...]
    """The denominator of the rate, per utterance: words of the reference, its characters, or the
    terms that were said or heard.
    """
    speakers: tuple[str, ...] = ()
    """One per utterance, an empty string where unknown; or an empty tuple."""
    decodings: int = 1
    """How many decodings of each utterance are summed in `errors` and `units`."""
    of_hypotheses: bool = False
    """Whether the units are counted in the hypotheses (precision), so that baseline and tuned model
    have different ones.
    """

    units_a_word: float = 1.0
    """How many units a word has on average: for CER its characters. One changed word may change all
    of them, which bounds the standard error from below.
    """

    def __post_init__(self) -> None:
        if len(self.errors) != len(self.units) or len(self.speakers) not in (
            0,
            len(self.errors),
        ):
            raise ValueError("errors, reference words and speakers must cover the same utterances")

    @property
    def utterances(self) -> tuple[object, ...]:
        """What is equal for two scores of the same utterances with equally many decodings. Units of
        hypotheses are left out, as each model has its own.
        """
        return (
            len(self.errors),
            () if self.of_hypotheses else self.units,
            self.speakers,
            self.decodings,
        )

    @cached_property
    def rate(self) -> float | None:
        """The corpus rate in percent; None when the counts cannot give one (empty, negative, not
        finite, no units).
        """
        words = sum(self.units)
        counts = (*self.errors, *self.units)
        # a sum is finite only where all its terms are
        if not math.isfinite(sum(counts)) or min(counts, default=0) < 0:
            return None
        return error_rate(self.errors, self.units) if words else None


def pool(scores: Sequence[SetScore]) -> SetScore:
    """Combine the scores of one recipe trained with several seeds, on one set, by summing the
    counts of each utterance.

    The utterance (or its speaker) stays the sampled unit: three seeds are not three times the data.
    In comparisons the baseline's counts are multiplied to match, see `decodings_beside`. Raises
    ValueError when `scores` is empty, FingerprintError when the utterances differ.
    """
    if not scores:
        raise ValueError("nothing to pool")
    first = scores[0]
    if any(score.utterances != first.utterances for score in scores):
        raise FingerprintError(
            "The seeds of a finalist were scored on different utterances; measure them again."
        )
    return replace(
        first,
        errors=tuple(map(sum, zip(*(score.errors for score in scores), strict=True))),
        units=tuple(map(sum, zip(*(score.units for score in scores), strict=True))),
        decodings=len(scores) * first.decodings,
    )


def delta(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """Return tuned - baseline of the corpus rate in points; None unless both were measured.

    Computed by one division of exact integers, so 2 more errors in 1,000 words give 0.2, the number
    that a sweep file holds, and not 0.1999 or 0.2001.
    """
    if baseline is None or tuned is None or baseline.rate is None or tuned.rate is None:
        return None
    if tuned.of_hypotheses:
        before, after = sum(baseline.units), sum(tuned.units)
        more = sum(tuned.errors) * before - sum(baseline.errors) * after
        return 100 * more / (before * after)
    return 100 * _more_errors(baseline, tuned) / sum(tuned.units)


def relative_delta(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """Return the change in percent of the baseline's rate; None unless both were measured and the
    baseline has errors.
    """
    if (
        baseline is None
        or tuned is None
        or delta(baseline, tuned) is None
        or not sum(baseline.errors)
    ):
        return None
    return (
        100
        * _more_errors(baseline, tuned)
        / (decodings_beside(baseline, tuned) * sum(baseline.errors))
    )


def relative_rate(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """Return the tuned rate as a multiple of the baseline's; None where `relative_delta` is. It,
    too, is one division of exact integers.
    """
    if baseline is None or tuned is None or relative_delta(baseline, tuned) is None:
        return None
    before = decodings_beside(baseline, tuned) * sum(baseline.errors)
    return (before + _more_errors(baseline, tuned)) / before


def estimate(
    baseline: SetScore | None, tuned: SetScore | None, *, resamples: int = 10_000, seed: int = 0
) -> DeltaEstimate | None:
    """Return the paired estimate of `delta`, with its bounds; None unless both were measured."""
    from orchestrator.scoring.bootstrap import paired_delta, paired_rates  # numpy: only who judges

    if baseline is None or tuned is None or delta(baseline, tuned) is None:
        return None
    ratio = decodings_beside(baseline, tuned)
    before = [ratio * errors for errors in baseline.errors]
    blocks = tuned.speakers or None
    if tuned.of_hypotheses:
        units = [ratio * words for words in baseline.units]
        return paired_rates(
            (before, units),
            (tuned.errors, tuned.units),
            blocks,
            resamples=resamples,
            seed=seed,
            decodings=tuned.decodings,
        )
    return paired_delta(
        before,
        tuned.errors,
        tuned.units,
        blocks,
        resamples=resamples,
        seed=seed,
        decodings=tuned.decodings,
        units_a_word=tuned.units_a_word,
    )


def decodings_beside(baseline: SetScore, tuned: SetScore) -> int:
    """How many decodings of the tuned model there are for each of the baseline: the factor by which
    the baseline's counts are multiplied before they are compared.
    """
    return tuned.decodings // baseline.decodings


def _more_errors(baseline: SetScore, tuned: SetScore) -> int:
    return sum(tuned.errors) - decodings_beside(baseline, tuned) * sum(baseline.errors)
