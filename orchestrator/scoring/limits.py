"""One limit on one set: what was asked, what was measured, what the data prove.

Every limit gets two answers. *Literal*: the measured delta against the limit, as the sweep file asks. *Evidence*: the
one-sided bounds of the paired delta against the limit. What was not measured, or is not finite, holds nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import FingerprintError
from orchestrator.scoring.bootstrap import DeltaEstimate, paired_delta
from orchestrator.scoring.wer import error_rate

if TYPE_CHECKING:
    from orchestrator.spec.sweep import Limit

AT_LIMIT = 1e-9
"""Constraint of a strict limit met exactly: Optuna takes 0 for feasible, and "less than" is not "at most"."""

UNMEASURED = 100.0
"""Constraint of a guardrail without a number, in points: infeasible, and finite because samplers and SQLite need it."""

POWER = 2.49
"""z(0.95) + z(0.80): 80 % power of a one-sided 5 % test."""


Rule = Literal["point", "proven"]


class Evidence(StrEnum):
    """What the data say of a limit at the confidence asked for."""

    PROVEN = "proven"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Criterion:
    """One limit in WER points against the baseline."""

    metric: str
    """domain_wer or heldout_wer."""
    kind: Literal["max_regression", "min_gain"]
    limit: float
    """max_regression: delta < limit, strictly. min_gain: -delta >= limit."""
    rule: Rule = "point"
    """A guardrail prunes when it is broken literally (point) or provably (proven). An acceptance limit is met when it
    holds literally (point), or only when it is proven too (proven)."""

    @property
    def question(self) -> tuple[str, str, float]:
        """What is asked of the numbers, whatever rule decides on the answer."""
        return self.metric, self.kind, self.limit


@dataclass(frozen=True)
class SetScore:
    """Decodings of one set: word errors per utterance, in manifest order."""

    errors: tuple[int, ...]
    reference_words: tuple[int, ...]
    speakers: tuple[str, ...] = ()
    """Empty, or one per utterance, itself empty where unknown."""
    decodings: int = 1
    """How many decodings of each utterance are summed in `errors` and `reference_words`."""

    def __post_init__(self) -> None:
        if len(self.errors) != len(self.reference_words) or len(self.speakers) not in (0, len(self.errors)):
            raise ValueError("errors, reference words and speakers must cover the same utterances")

    @property
    def wer(self) -> float | None:
        """Corpus WER in percent; None when the counts cannot give one (empty, negative, not finite, no words)."""
        words = sum(self.reference_words)
        if not all(math.isfinite(count) and count >= 0 for count in (*self.errors, *self.reference_words)):
            return None
        return error_rate(self.errors, self.reference_words) if words else None


@dataclass(frozen=True)
class LimitVerdict:
    """One limit, as asked and as the data bear it out."""

    criterion: Criterion
    baseline: float | None
    """WER in percent; None where not measured."""
    tuned: float | None
    delta: float | None
    """WER points, tuned - baseline; negative is better."""
    holds: bool | None
    """The literal rule; None where the delta does not exist."""
    evidence: Evidence
    lower: float
    """One-sided bounds of the delta at the confidence asked for."""
    upper: float
    utterances_needed: int | None
    """Size of set that would decide, were the true delta the measured one; None when decided or at the limit."""
    estimate: DeltaEstimate | None

    @property
    def shown(self) -> bool:
        """min_gain: the gain can be told from zero. max_regression: nothing to show."""
        return self.criterion.kind == "max_regression" or self.upper < 0

    @property
    def met(self) -> bool:
        """Whether an acceptance limit is kept under its rule. A gain must be told from zero under either."""
        sure = self.criterion.rule == "point" or self.evidence is Evidence.PROVEN
        return self.holds is True and self.shown and sure

    @property
    def broken(self) -> bool:
        """Whether a guardrail is broken under its rule; what was not measured is not."""
        return self.holds is False if self.criterion.rule == "point" else self.evidence is Evidence.VIOLATED


def criteria(limits: Mapping[str, Limit]) -> tuple[Criterion, ...]:
    """The limits of a sweep file (`guardrails` or `acceptance`), in file order; the rule is point where none is set."""
    found = []
    for metric, limit in limits.items():
        rule = limit.rule or "point"
        if limit.max_regression is not None:
            found.append(Criterion(metric, "max_regression", limit.max_regression, rule))
        if limit.min_gain is not None:
            found.append(Criterion(metric, "min_gain", limit.min_gain, rule))
    return tuple(found)


def pool(scores: Sequence[SetScore]) -> SetScore:
    """One recipe decoded on one set with several seeds, as one score: counts are summed per utterance.

    The utterance (or its speaker) stays the sampled unit; three seeds are not three times the data. `judge` weighs the
    baseline's counts accordingly. Raises ValueError when empty, FingerprintError when the utterances differ.
    """
    if not scores:
        raise ValueError("nothing to pool")
    first = scores[0]
    same = (first.reference_words, first.speakers, first.decodings)
    if any((score.reference_words, score.speakers, score.decodings) != same for score in scores):
        raise FingerprintError("The seeds of a finalist were scored on different utterances; measure them again.")
    return replace(
        first,
        errors=tuple(map(sum, zip(*(score.errors for score in scores), strict=True))),
        reference_words=tuple(len(scores) * words for words in first.reference_words),
        decodings=len(scores) * first.decodings,
    )


def delta(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """Corpus WER points, tuned - baseline; None unless both were measured.

    One division of exact integers, so a set of 1,000 words and 2 more errors gives 0.2, the number a sweep file holds,
    and not 0.1999 or 0.2001.
    """
    if baseline is None or tuned is None or baseline.wer is None or tuned.wer is None:
        return None
    ratio = tuned.decodings // baseline.decodings
    return 100 * (sum(tuned.errors) - ratio * sum(baseline.errors)) / sum(tuned.reference_words)


def estimate(
    baseline: SetScore | None, tuned: SetScore | None, *, resamples: int = 10_000, seed: int = 0
) -> DeltaEstimate | None:
    """The paired estimate of `delta`, with its bounds; None unless both were measured."""
    if baseline is None or tuned is None or delta(baseline, tuned) is None:
        return None
    ratio = tuned.decodings // baseline.decodings
    return paired_delta(
        [ratio * errors for errors in baseline.errors],
        tuned.errors,
        tuned.reference_words,
        tuned.speakers or None,
        resamples=resamples,
        seed=seed,
        decodings=tuned.decodings,
    )


def judge_limit(
    criterion: Criterion,
    baseline: SetScore | None,
    tuned: SetScore | None,
    paired: DeltaEstimate | None,
    *,
    confidence: float,
    violation_confidence: float,
) -> LimitVerdict:
    """Judge one limit. `paired` is `estimate(baseline, tuned)`.

    proven: the bound at `confidence` lies inside the limit. violated: the opposite bound at `violation_confidence` lies
    outside it. Neither contradicts the literal rule, because a bound never crosses the point.
    """
    point = delta(baseline, tuned)
    lower, upper = -math.inf, math.inf
    evidence, needed = Evidence.UNDECIDED, None
    if paired is not None and point is not None:
        lower, upper = paired.lower(confidence), paired.upper(confidence)
        evidence = _evidence(criterion, paired.lower(violation_confidence), upper)
        needed = _needed(paired, point - _threshold(criterion)) if evidence is Evidence.UNDECIDED else None
    return LimitVerdict(
        criterion=criterion,
        baseline=baseline.wer if baseline else None,
        tuned=tuned.wer if tuned else None,
        delta=point,
        holds=_holds(criterion, point),
        evidence=evidence,
        lower=lower,
        upper=upper,
        utterances_needed=needed,
        estimate=paired,
    )


def constraint(verdicts: Sequence[LimitVerdict]) -> float:
    """All limits on one guardrail metric as one number: <= 0 exactly when all hold literally. Always finite."""
    return max(map(_excess, verdicts))


def _excess(verdict: LimitVerdict) -> float:
    """Points beyond the limit. A difference of unequal floats is never 0, so only equality needs care."""
    beyond = math.nan if verdict.delta is None else verdict.delta - _threshold(verdict.criterion)
    if not math.isfinite(beyond):
        return -UNMEASURED if verdict.holds else UNMEASURED
    return AT_LIMIT if beyond == 0 and not verdict.holds else beyond


def _threshold(criterion: Criterion) -> float:
    """The delta at which the limit lies: gains are negative deltas."""
    return criterion.limit if criterion.kind == "max_regression" else -criterion.limit


def _holds(criterion: Criterion, point: float | None) -> bool | None:
    if point is None:
        return None
    threshold = _threshold(criterion)
    return point < threshold if criterion.kind == "max_regression" else point <= threshold


def _evidence(criterion: Criterion, lower: float, upper: float) -> Evidence:
    if lower > _threshold(criterion):
        return Evidence.VIOLATED
    return Evidence.PROVEN if _holds(criterion, upper) else Evidence.UNDECIDED


def _needed(paired: DeltaEstimate, gap: float) -> int | None:
    """n * (2.49 * SE / gap)^2: the standard error shrinks with the root of the number of utterances."""
    if gap == 0 or not math.isfinite(paired.standard_error) or not math.isfinite(gap):
        return None
    return math.ceil(paired.utterances * (POWER * paired.standard_error / gap) ** 2)
