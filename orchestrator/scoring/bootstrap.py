"""The paired difference of two corpus WERs, with bootstrap confidence bounds.

Baseline and tuned model decode the same utterances, so the difference is taken per utterance before
anything is averaged (Bisani & Ney, ICASSP 2004). Utterances of one speaker go wrong together, so
whole speakers are resampled where there are enough (Liu & Peng, Interspeech 2020, arXiv
1912.09508).

The bounds are studentised (Efron & Tibshirani 1993, section 12.5): each resample gives t* = (delta*
- delta) / se*, and a bound is the point less the jackknife standard error times a quantile of t*,
or of Student's t where that is wider. Percentile intervals, the customary choice, were measured to
be too narrow: with 20 speakers nominal 95 % covered 90 %, BCa 88 %, bootstrap-t alone 92-93 %,
Student's t alone 91-93 %, the wider of both with the jackknife 94-95 % (`benchmarks/coverage.py`
prints the table).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ENOUGH_SPEAKERS = 20
"""With fewer speakers, utterances are resampled: few blocks estimate their own spread too badly."""

FLOOR_WORDS = 2.0
"""Least standard error, in words. When nothing changed in n utterances the sample has no spread,
but up to 3 changes in n remain likely at 95 % (the rule of three, Hanley & Lippman-Hand 1983): 3.0
words / 1.645, rounded up."""

_CHUNK = 2_000_000
"""Block indices drawn at once: bounds the memory at about 50 MB whatever the size of the set."""

_KEPT_BYTES = 12_000_000
"""Largest draw that is cached: 10,000 resamples of 600 blocks, as 16-bit counts."""

_KEPT_SETS = 4
"""How many draws are cached: one for each number of blocks, so at most 48 MB."""


@dataclass(frozen=True)
class DeltaEstimate:
    """Tuned minus baseline corpus WER in points; negative is better."""

    point: float
    standard_error: float
    """In points: the delete-one-block jackknife's (of `paired_rates` the linearised one), but never
    less than `FLOOR_WORDS` words; infinite where one block holds all words.
    """
    unit: Literal["speaker", "utterance"]
    why: str
    """Why this unit was resampled, for the report."""
    blocks: int
    """Number of units that are resampled."""
    utterances: int
    pivots: Floats = field(repr=False, compare=False)
    """t* of every resample, sorted."""

    def lower(self, confidence: float = 0.95) -> float:
        """One-sided lower bound in points: the true delta is above it with this confidence."""
        return self.point - self._reach(confidence)

    def upper(self, confidence: float = 0.95) -> float:
        """One-sided upper bound in points: the true delta is below it with this confidence."""
        return self.point + self._reach(confidence, upper=True)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided interval with equal tails."""
        one_sided = (1 + confidence) / 2
        return self.lower(one_sided), self.upper(one_sided)

    def chance_above(self, limit: float) -> float:
        """How likely the true value is above `limit`, by the confidence distribution that the
        bounds come from.

        It is 1 - the confidence at which the upper bound equals `limit`: the larger chance of the
        two distributions, t* and Student's t. 0.5 where the standard error is infinite.
        """
        from scipy.special import stdtr  # a tenth of a second to import: only who judges spends it

        if not np.isfinite(self.standard_error):
            return 0.5
        distance = (limit - self.point) / self.standard_error
        # upper = point - pivot * SE exceeds the limit where pivot < -distance
        of_pivots = float(np.mean(self.pivots < -distance))
        return max(of_pivots, 1 - float(stdtr(self.blocks - 1, distance)))

    def _reach(self, confidence: float, upper: bool = False) -> float:
        """Distance from the point estimate to a one-sided bound, in WER points."""
        from scipy.special import stdtrit

        if not 0.5 < confidence < 1:
            raise ValueError(f"confidence must lie between 0.5 and 1, not {confidence}")
        if not np.isfinite(self.standard_error):
            return float("inf")
        # The upper bound comes from the lower tail of t*, and the other way round. Rounded towards
        # the tail; 1e-6 is for products that floating point puts just below a whole number.
        rank = max(0, int((1 - confidence) * len(self.pivots) + 1e-6) - 1)
        pivot = -self.pivots[rank] if upper else self.pivots[len(self.pivots) - 1 - rank]
        return float(self.standard_error * max(pivot, stdtrit(self.blocks - 1, confidence)))


def paired_delta(
    baseline_errors: Sequence[int],
    tuned_errors: Sequence[int],
    reference_words: Sequence[int],
    blocks: Sequence[str] | None,
    *,
    resamples: int = 10_000,
    seed: int,
    decodings: int = 1,
    units_a_word: float = 1.0,
) -> DeltaEstimate:
    """Estimate the difference of two corpus WERs on the same utterances.

    All sequences have one entry per utterance; `blocks` names the speaker, empty or None where
    unknown. `decodings` is how many decodings of each utterance (seeds of a confirmation) the
    counts sum up: they add no utterances. `units_a_word`: units (characters of a CER) a word has.

    Resampled sums are sums of integers, exact in float64 in any order, and PCG64 is specified: the
    same seed gives the same bits on every machine. 10,000 resamples of 500 utterances take about
    0.05 s on one core.

    Raises ValueError when the lengths differ or there are no reference words.
    """
    # Lengths are compared here because numpy would broadcast a single count over all utterances.
    lengths = {
        len(column)
        for column in (baseline_errors, tuned_errors, reference_words, blocks)
        if column is not None
    }
    if len(lengths) != 1:
        raise ValueError("errors, reference words and blocks must cover the same utterances")
    difference = np.asarray(tuned_errors, float) - np.asarray(baseline_errors, float)
    words = np.asarray(reference_words, float)
    if not words.sum() > 0:
        raise ValueError("a set without reference words has no WER")
    unit, why = resampling_unit(blocks)
    block_difference, block_words = difference, words
    if unit == "speaker":  # (utterances,) -> (speakers,), by sums
        _, of_block = np.unique(np.asarray(blocks), return_inverse=True)
        block_difference = np.bincount(of_block, difference).astype(float)
        block_words = np.bincount(of_block, words).astype(float)
    floor = 100 * FLOOR_WORDS * units_a_word * decodings / words.sum()
    point = 100 * difference.sum() / words.sum()
    deltas, errors = resample_ratio(block_difference, block_words, resamples, seed)
    return DeltaEstimate(
        point=float(point),
        standard_error=max(jackknife_error(block_difference, block_words), float(floor)),
        unit=unit,
        why=why,
        blocks=len(block_words),
        utterances=len(words),
        pivots=np.sort((deltas - point) / np.maximum(errors, floor)),
    )


def paired_rates(
    baseline: tuple[Sequence[int], Sequence[int]],
    tuned: tuple[Sequence[int], Sequence[int]],
    blocks: Sequence[str] | None,
    *,
    resamples: int = 10_000,
    seed: int,
    decodings: int = 1,
) -> DeltaEstimate:
    """Estimate the difference of two corpus rates that have different denominators; `baseline` and
    `tuned` are the errors and the units of each utterance.

    For precision, whose units are the words heard, which differ between the models. As
    `paired_delta`, with the linearised influence of each block in the place of its difference
    (Efron & Tibshirani 1993, section 10.5). Raises ValueError for unequal lengths or no units.
    """
    columns = (*baseline, *tuned)
    if len({len(column) for column in (*columns, *([blocks] if blocks is not None else []))}) != 1:
        raise ValueError("errors, units and blocks must cover the same utterances")
    # (utterances, 4): errors, units of the baseline, then of the tuned model
    counts = np.stack([np.asarray(column, float) for column in columns], axis=1)
    if not np.all(counts[:, [1, 3]].sum(axis=0) > 0):
        raise ValueError("a set without units has no rate")
    unit, why = resampling_unit(blocks)
    if unit == "speaker":  # (utterances, 4) -> (speakers, 4), by sums
        names, of_block = np.unique(np.asarray(blocks), return_inverse=True)
        counts = np.stack(
            [np.bincount(of_block, column, len(names)) for column in counts.T], axis=1
        )
    n = len(counts)
    # one memory order, cached or new: the last bits of these sums, not of integers, depend on it
    drawn = [
        _rate_change(np.ascontiguousarray(rows), counts)
        for rows in _drawn_counts(seed, resamples, n, _CHUNK // n + 1)
    ]
    deltas, errors = (np.concatenate(column) for column in zip(*drawn, strict=True))
    point, error = (float(column[0]) for column in _rate_change(np.ones((1, n)), counts))
    floor = 100 * FLOOR_WORDS * decodings / min(counts[:, 1].sum(), counts[:, 3].sum())
    units = counts[:, [1, 3]]
    if not np.all(units.sum(axis=0) > units):  # one block holds all units of a model
        error = float("inf")
    return DeltaEstimate(
        point=point,
        standard_error=max(error, float(floor)),
        unit=unit,
        why=why,
        blocks=n,
        utterances=len(columns[0]),
        pivots=np.sort((deltas - point) / np.maximum(errors, floor)),
    )


def _rate_change(drawn: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return the rate's change in each resample and its standard error, both (rows,), in points.

    `drawn` is (rows, blocks), `counts` (blocks, 4) as in `paired_rates`. A draw in which one model
    has no units counts as no change.
    """
    before, units_before, after, units_after = (drawn @ counts).T
    kept = (units_before > 0) & (units_after > 0)
    denominators = np.where(kept, units_before, 1), np.where(kept, units_after, 1)
    rates = before / denominators[0], after / denominators[1]
    # (rows, blocks): what each block adds to the change, by the derivative of either ratio
    influence = (counts[:, 2] - rates[1][:, None] * counts[:, 3]) / denominators[1][:, None] - (
        counts[:, 0] - rates[0][:, None] * counts[:, 1]
    ) / denominators[0][:, None]
    n = counts.shape[0]
    spread = np.sqrt(n / max(n - 1, 1) * (drawn * influence**2).sum(axis=1))
    return np.where(kept, 100 * (rates[1] - rates[0]), 0.0), np.where(kept, 100 * spread, 0.0)


def resampling_unit(blocks: Sequence[str] | None) -> tuple[Literal["speaker", "utterance"], str]:
    """Choose the unit to resample, and return it with the words that say why."""
    named = [block for block in blocks or () if block]
    if not named:
        return (
            "utterance",
            "the manifest names no speakers; if few people speak, the bounds are too narrow",
        )
    if blocks is not None and len(named) < len(blocks):
        missing = len(blocks) - len(named)
        return (
            "utterance",
            f"{missing} of {len(blocks)} utterances name no speaker; the bounds may be too narrow",
        )
    speakers = len(set(named))
    if speakers < ENOUGH_SPEAKERS:
        return "utterance", (
            f"only {speakers} speaker{'s' if speakers > 1 else ''}, fewer than {ENOUGH_SPEAKERS}; "
            "the bounds hold for these speakers, not for new ones"
        )
    return "speaker", f"{speakers} speakers, at least {ENOUGH_SPEAKERS}"


def resample_ratio(
    difference: Floats, words: Floats, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Bootstrap the ratio 100 * sum(difference) / sum(words) over blocks.

    Returns the resampled deltas and their own linearised standard errors, both of shape
    (resamples,), in points. Draws without a reference word (possible in tiny sets with empty
    references) count as the sample's own delta.
    """
    n = len(words)
    # for the variance of a ratio r: sum((d - r w)^2) = sum(d^2) - 2 r sum(d w) + r^2 sum(w^2)
    moments = np.stack([difference, difference**2, difference * words])
    sums = _resampled_sums(moments, resamples, seed)
    (w, ww), without = _resampled_words(words.tobytes(), resamples, seed)
    sums[:, without] = moments.sum(axis=1, keepdims=True)
    d, dd, dw = sums
    ratio = d / w
    spread = np.maximum(dd - 2 * ratio * dw + ratio**2 * ww, 0.0)
    return 100 * ratio, 100 * np.sqrt(spread * n / max(n - 1, 1)) / w


def _resampled_sums(moments: Floats, resamples: int, seed: int) -> Floats:
    """Sum `moments` (rows, blocks) over the blocks of each resample: (rows, resamples)."""
    blocks = moments.shape[1]
    drawn = _drawn_counts(seed, resamples, blocks, max(1, _CHUNK // blocks))
    return np.concatenate([moments @ counts.T for counts in drawn], axis=1)


@lru_cache(maxsize=_KEPT_SETS)
def _resampled_words(words: bytes, resamples: int, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the sums of words and squared words in each resample, (2, resamples), and which have
    no word; those get the sample's sums. `words`: bytes of a float64 array, as a cache key.
    """
    of_blocks = np.frombuffer(words)
    moments = np.stack([of_blocks, of_blocks**2])
    sums = _resampled_sums(moments, resamples, seed)
    without = sums[0] == 0
    sums[:, without] = moments.sum(axis=1, keepdims=True)
    return sums, without


def jackknife_error(difference: Floats, words: Floats) -> float:
    """Delete-one-block jackknife standard error of the ratio, in points; infinite where a block
    holds all words.
    """
    n = len(words)
    rest = words.sum() - words
    if n < 2 or not np.all(rest > 0):
        return float("inf")
    left_out = (difference.sum() - difference) / rest
    deviations = left_out - difference.sum() / words.sum()
    return float(100 * np.sqrt((n - 1) / n * np.sum(deviations**2)))


def _drawn_counts(seed: int, resamples: int, n: int, step: int) -> Iterator[Floats]:
    """Yield how often each of n blocks is in each resample, in chunks of shape (at most step, n).

    All trials of a study are judged on the same draws, so small draws are cached between calls; a
    cached draw has the same bits as a new one.
    """
    if _kept_type(resamples, n) is None:
        yield from _draw_counts(seed, resamples, n, step)
        return
    for rows in _kept_counts(seed, resamples, n, step):
        yield rows.astype(float, copy=False)


def _kept_type(resamples: int, n: int) -> np.dtype[Any] | None:
    """The type to cache counts in: float64, as they are used, where `_KEPT_BYTES` allow it; else
    the smallest integer that holds n, the most that a block is drawn; None where neither fits.
    """
    kinds = (np.dtype(float), np.min_scalar_type(n))
    return next((kind for kind in kinds if resamples * n * kind.itemsize <= _KEPT_BYTES), None)


@lru_cache(maxsize=_KEPT_SETS)
def _kept_counts(seed: int, resamples: int, n: int, step: int) -> tuple[NDArray[Any], ...]:
    # column-major: BLAS multiplies the few rows of the moments with that fastest
    kind = _kept_type(resamples, n)
    return tuple(rows.astype(kind, order="F") for rows in _draw_counts(seed, resamples, n, step))


def _draw_counts(seed: int, resamples: int, n: int, step: int) -> Iterator[Floats]:
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, resamples, step):
        yield _multinomial_counts(generator, min(step, resamples - start), n)


def _multinomial_counts(generator: np.random.Generator, rows: int, n: int) -> Floats:
    """How often each of n blocks is drawn in each of `rows` resamples of n; shape (rows, n)."""
    # row i gets the numbers i*n to i*n + n-1, so that one bincount counts all rows
    drawn = generator.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
