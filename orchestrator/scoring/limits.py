"""One limit on one rate of one set: what was asked, what was measured, what the data prove.

Every limit gets two answers. *Literal*: the measured value against the limit, as the sweep file asks. *Evidence*: the
one-sided bounds of the paired estimate against the limit. What was not measured, or is not finite, holds nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from orchestrator.errors import FingerprintError
from orchestrator.scoring.bootstrap import DeltaEstimate, paired_delta, paired_rates
from orchestrator.scoring.wer import error_rate

AT_LIMIT = 1e-9
"""Constraint of a strict limit met exactly: Optuna takes 0 for feasible, and "less than" is not "at most"."""

UNMEASURED = 100.0
"""Constraint of a guardrail without a number, in points: infeasible, and finite because samplers and SQLite need it."""

POWER = 2.49
"""z(0.95) + z(0.80): 80 % power of a one-sided 5 % test."""

ONE_SIDED = 1.645
"""z(0.95)."""


Rule = Literal["point", "proven"]


class Evidence(StrEnum):
    """What the data say of a limit at the confidence asked for."""

    PROVEN = "proven"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


Kind = Literal["max_regression", "min_gain", "not_worse", "max_rate", "falls", "falls_monotonically"]
Unit = Literal["points", "percent", "times"]


@dataclass(frozen=True)
class Criterion:
    """One limit on one rate, or on one of several."""

    metric: str
    """domain_wer, heldout_cer, terms_recall, any_also_wer, train_loss: as the sweep file names it."""
    kind: Kind
    """max_regression: the change is less than the limit, strictly. min_gain: the fall is at least the limit. not_worse:
    the change is at most 0. max_rate: the rate itself is at most the limit. falls, falls_monotonically: of the training
    loss, see `trend.py`."""
    limit: float = 0.0
    rule: Rule = "point"
    """A guardrail prunes when it is broken literally (point) or provably (proven). An acceptance limit is met when it
    holds literally (point), or only when it is proven too (proven)."""
    unit: Unit = "points"
    """points: of the rate, absolute. percent: of the baseline's rate. times: the baseline's rate."""
    among: tuple[str, ...] = ()
    """The rates of which one must keep the limit; empty where the metric is one rate."""

    @property
    def question(self) -> tuple[str, str, float, str]:
        """What is asked of the numbers, whatever rule decides on the answer."""
        return self.metric, self.kind, self.limit, self.unit

    @property
    def threshold(self) -> float:
        """Where the limit lies on the scale of `LimitVerdict.value`: gains are negative changes."""
        return -self.limit if self.kind == "min_gain" else self.limit

    @property
    def strict(self) -> bool:
        """Whether a value at the threshold is beyond it."""
        return self.kind == "max_regression"

    def keeps(self, value: float) -> bool:
        """Whether the limit holds at this value."""
        return value < self.threshold if self.strict else value <= self.threshold


@dataclass(frozen=True)
class SetScore:
    """One rate of one set, as counts per utterance in manifest order: word errors over words, character errors over
    characters, terms missed over terms said."""

    errors: tuple[int, ...]
    reference_words: tuple[int, ...]
    """What the errors are a share of: words, or the units of another rate."""
    speakers: tuple[str, ...] = ()
    """Empty, or one per utterance, itself empty where unknown."""
    decodings: int = 1
    """How many decodings of each utterance are summed in `errors` and `reference_words`."""
    of_hypotheses: bool = False
    """The units are counted in what was heard (precision), so that baseline and tuned model have their own."""

    def __post_init__(self) -> None:
        if len(self.errors) != len(self.reference_words) or len(self.speakers) not in (0, len(self.errors)):
            raise ValueError("errors, reference words and speakers must cover the same utterances")

    @property
    def utterances(self) -> tuple[object, ...]:
        """What two scores of the same utterances have in common; what was heard is each model's own."""
        return len(self.errors), () if self.of_hypotheses else self.reference_words, self.speakers, self.decodings

    @property
    def wer(self) -> float | None:
        """The corpus rate in percent; None when the counts cannot give one (empty, negative, not finite, no units)."""
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
    """The literal rule; None where what it asks about does not exist."""
    evidence: Evidence
    lower: float
    """One-sided bounds of `value` at the confidence asked for."""
    upper: float
    utterances_needed: int | None
    """Size of set that would decide, were the true value the measured one; None when decided or at the limit."""
    estimate: DeltaEstimate | None
    value: float | None = None
    """What the limit is compared with: the change in points or in percent of the baseline, or the rate itself."""

    @property
    def gain_significant(self) -> bool:
        """min_gain: the gain can be told from zero. Any other limit: nothing to show."""
        return self.criterion.kind != "min_gain" or self.upper < 0

    @property
    def satisfied(self) -> bool:
        """Whether an acceptance limit is kept under its rule. A gain must be told from zero under either."""
        sure = self.criterion.rule == "point" or self.evidence is Evidence.PROVEN
        return self.holds is True and self.gain_significant and sure

    @property
    def violated(self) -> bool:
        """Whether a guardrail ends a trial before its last step, under its rule; what was not measured does not.

        A gain is asked of the end: a trial has all its steps to reach it.
        """
        if self.criterion.kind == "min_gain":
            return False
        return self.holds is False if self.criterion.rule == "point" else self.evidence is Evidence.VIOLATED


def pool(scores: Sequence[SetScore]) -> SetScore:
    """One recipe decoded on one set with several seeds, as one score: counts are summed per utterance.

    The utterance (or its speaker) stays the sampled unit; three seeds are not three times the data. `judge` weighs the
    baseline's counts accordingly. Raises ValueError when empty, FingerprintError when the utterances differ.
    """
    if not scores:
        raise ValueError("nothing to pool")
    first = scores[0]
    if any(score.utterances != first.utterances for score in scores):
        raise FingerprintError("The seeds of a finalist were scored on different utterances; measure them again.")
    return replace(
        first,
        errors=tuple(map(sum, zip(*(score.errors for score in scores), strict=True))),
        reference_words=tuple(map(sum, zip(*(score.reference_words for score in scores), strict=True))),
        decodings=len(scores) * first.decodings,
    )


def delta(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """Points of the corpus rate, tuned - baseline; None unless both were measured.

    One division of exact integers, so a set of 1,000 words and 2 more errors gives 0.2, the number a sweep file holds,
    and not 0.1999 or 0.2001.
    """
    if baseline is None or tuned is None or baseline.wer is None or tuned.wer is None:
        return None
    if tuned.of_hypotheses:
        return tuned.wer - baseline.wer
    return 100 * _more_errors(baseline, tuned) / sum(tuned.reference_words)


def relative_delta(baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """The change in percent of the baseline's rate; None unless both were measured and the baseline has errors."""
    if baseline is None or tuned is None or delta(baseline, tuned) is None or not sum(baseline.errors):
        return None
    return 100 * _more_errors(baseline, tuned) / (_ratio(baseline, tuned) * sum(baseline.errors))


def _ratio(baseline: SetScore, tuned: SetScore) -> int:
    """How many decodings of the tuned model stand beside one of the baseline."""
    return tuned.decodings // baseline.decodings


def _more_errors(baseline: SetScore, tuned: SetScore) -> int:
    return sum(tuned.errors) - _ratio(baseline, tuned) * sum(baseline.errors)


def value_of(criterion: Criterion, baseline: SetScore | None, tuned: SetScore | None) -> float | None:
    """What the limit is compared with; None where it does not exist."""
    if criterion.kind == "max_rate" and criterion.unit == "points":
        return tuned.wer if tuned is not None else None
    if criterion.unit == "points":
        return delta(baseline, tuned)
    change = relative_delta(baseline, tuned)
    return change if change is None or criterion.unit == "percent" else 1 + change / 100


def estimate(
    baseline: SetScore | None, tuned: SetScore | None, *, resamples: int = 10_000, seed: int = 0
) -> DeltaEstimate | None:
    """The paired estimate of `delta`, with its bounds; None unless both were measured."""
    if baseline is None or tuned is None or delta(baseline, tuned) is None:
        return None
    before = [_ratio(baseline, tuned) * errors for errors in baseline.errors]
    blocks = tuned.speakers or None
    if tuned.of_hypotheses:
        units = [_ratio(baseline, tuned) * each for each in baseline.reference_words]
        return paired_rates(
            (before, units),
            (tuned.errors, tuned.reference_words),
            blocks,
            resamples=resamples,
            seed=seed,
            decodings=tuned.decodings,
        )
    return paired_delta(
        before,
        tuned.errors,
        tuned.reference_words,
        blocks,
        resamples=resamples,
        seed=seed,
        decodings=tuned.decodings,
    )


def estimate_of(
    criterion: Criterion, baseline: SetScore | None, tuned: SetScore | None, *, resamples: int, seed: int
) -> DeltaEstimate | None:
    """The estimate of `value_of`; of a ratio to the baseline (times), that of the change in percent."""
    if value_of(criterion, baseline, tuned) is None or tuned is None:
        return None
    if criterion.kind == "max_rate" and criterion.unit == "points":
        nothing = replace(tuned, errors=(0,) * len(tuned.errors))
        return estimate(nothing, tuned, resamples=resamples, seed=seed)
    if criterion.unit == "points" or baseline is None:
        return estimate(baseline, tuned, resamples=resamples, seed=seed)
    # the change as a share of the baseline's errors: the same ratio of sums over other units
    before = tuple(_ratio(baseline, tuned) * errors for errors in baseline.errors)
    shares = replace(tuned, reference_words=before)
    return estimate(replace(shares, errors=before), shares, resamples=resamples, seed=seed)


def judge_limit(
    criterion: Criterion,
    baseline: SetScore | None,
    tuned: SetScore | None,
    paired: DeltaEstimate | None,
    *,
    confidence: float,
    violation_confidence: float,
) -> LimitVerdict:
    """Judge one limit. `paired` is `estimate_of(criterion, baseline, tuned)`.

    proven: the bound at `confidence` lies inside the limit. violated: the opposite bound at `violation_confidence` lies
    outside it. Neither contradicts the literal rule, because a bound never crosses the point.
    """
    value = value_of(criterion, baseline, tuned)
    lower, upper = -math.inf, math.inf
    evidence, needed = Evidence.UNDECIDED, None
    if paired is not None and value is not None:
        lower, upper = (_scaled(criterion, bound) for bound in (paired.lower(confidence), paired.upper(confidence)))
        evidence = _evidence(criterion, _scaled(criterion, paired.lower(violation_confidence)), upper)
        gap = paired.point - _unscaled(criterion, criterion.threshold)
        needed = _needed(paired, gap, POWER) if evidence is Evidence.UNDECIDED else None
    return LimitVerdict(
        criterion=criterion,
        baseline=baseline.wer if baseline else None,
        tuned=tuned.wer if tuned else None,
        delta=delta(baseline, tuned),
        holds=None if value is None else criterion.keeps(value),
        evidence=evidence,
        lower=lower,
        upper=upper,
        utterances_needed=needed,
        estimate=paired,
        value=value,
    )


def one_of(criterion: Criterion, verdicts: Sequence[LimitVerdict]) -> LimitVerdict:
    """Several sets of which one must keep the limit, as one verdict: the numbers of the set that keeps it best.

    Proven where it is proven on one of them, for which `judge` shares out the error; violated where on all.
    """
    chosen = min(verdicts, key=_excess)
    answers = {each.holds for each in verdicts}
    holds = True if True in answers else None if None in answers else False
    proven = any(each.evidence is Evidence.PROVEN for each in verdicts)
    violated = all(each.evidence is Evidence.VIOLATED for each in verdicts)
    evidence = Evidence.PROVEN if proven else Evidence.VIOLATED if violated else Evidence.UNDECIDED
    return replace(chosen, criterion=criterion, holds=holds, evidence=evidence)


def constraint(verdicts: Sequence[LimitVerdict]) -> float:
    """All limits on one guardrail metric as one number: <= 0 exactly when all hold literally. Always finite."""
    return max(map(_excess, verdicts))


@dataclass(frozen=True)
class Risk:
    """What an undecided limit leaves open although it holds."""

    chance: float
    """That the true value is beyond the limit, as the data have it."""
    utterances: int | None
    """Size of set that would bring it below 5 %, were the true value the measured one; None at the limit."""


def risk(verdict: LimitVerdict) -> Risk | None:
    """The risk of a limit that holds and is not proven; None for any other, and where nothing was estimated."""
    paired = verdict.estimate
    if paired is None or verdict.holds is not True or verdict.evidence is Evidence.PROVEN:
        return None
    threshold = _unscaled(verdict.criterion, verdict.criterion.threshold)
    return Risk(paired.chance_above(threshold), _needed(paired, paired.point - threshold, ONE_SIDED))


def _scaled(criterion: Criterion, bound: float) -> float:
    """A bound of the estimate on the scale of the value."""
    return 1 + bound / 100 if criterion.unit == "times" else bound


def _unscaled(criterion: Criterion, value: float) -> float:
    return 100 * (value - 1) if criterion.unit == "times" else value


def _excess(verdict: LimitVerdict) -> float:
    """How far beyond the limit. A difference of unequal floats is never 0, so only equality needs care."""
    beyond = math.nan if verdict.value is None else verdict.value - verdict.criterion.threshold
    if not math.isfinite(beyond):
        return -UNMEASURED if verdict.holds else UNMEASURED
    return AT_LIMIT if beyond == 0 and not verdict.holds else beyond


def _evidence(criterion: Criterion, lower: float, upper: float) -> Evidence:
    if lower > criterion.threshold:
        return Evidence.VIOLATED
    return Evidence.PROVEN if criterion.keeps(upper) else Evidence.UNDECIDED


def _needed(paired: DeltaEstimate, gap: float, deviations: float) -> int | None:
    """n * (z * SE / gap)^2: the standard error shrinks with the root of the number of utterances."""
    if gap == 0 or not math.isfinite(paired.standard_error) or not math.isfinite(gap):
        return None
    return math.ceil(paired.utterances * (deviations * paired.standard_error / gap) ** 2)
