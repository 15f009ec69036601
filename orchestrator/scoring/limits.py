"""One limit on one rate of one set: what was asked, what was measured, what the data prove.

Every limit gets two answers. *Literal*: the measured value against the limit, as the sweep file
asks. *Evidence*: the one-sided bounds of the paired estimate against the limit. What was not
measured, or is not finite, holds nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from orchestrator.scoring.rates import (
    SetScore,
    decodings_beside,
    delta,
    estimate,
    relative_delta,
    relative_rate,
)

if TYPE_CHECKING:
    from orchestrator.scoring.bootstrap import DeltaEstimate

AT_LIMIT = 1e-9
"""Constraint of a strict limit met exactly: Optuna takes 0 for feasible, and "less than" is not "at
most".
"""

UNMEASURED = 100.0
"""Constraint of a guardrail without a number, in points: infeasible, and finite because samplers
and SQLite need it.
"""

POWER = 2.49
"""z(0.95) + z(0.80): 80 % power of a one-sided 5 % test; of one at another level its quantile more,
see `_deviations`."""

ONE_SIDED = 1.645
"""z(0.95)."""


Rule = Literal["point", "proven"]


class Evidence(StrEnum):
    """What the data say of a limit at the confidence asked for."""

    PROVEN = "proven"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


Kind = Literal[
    "max_regression", "min_gain", "not_worse", "max_rate", "falls", "falls_monotonically"
]
Unit = Literal["points", "percent", "times"]


@dataclass(frozen=True)
class Criterion:
    """One limit on one rate, or on one of several."""

    metric: str
    """domain_wer, heldout_cer, terms_recall, any_also_wer, train_loss: as the sweep file names
    it.
    """
    kind: Kind
    """max_regression: the change is less than the limit, strictly. min_gain: the fall is at least
    the limit. not_worse: the change is at most 0. max_rate: the rate itself is at most the limit.
    falls, falls_monotonically: of the training loss, see `trend.py`."""
    limit: float = 0.0
    rule: Rule = "point"
    """A guardrail prunes when it is broken literally (point) or provably (proven). An acceptance
    limit is met when it holds literally (point), or only when it is proven too (proven)."""
    unit: Unit = "points"
    """points: of the rate, absolute. percent: of the baseline's rate. times: the baseline's
    rate.
    """
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
    """Size of set that would decide, were the true value the measured one; None when decided or at
    the limit.
    """
    estimate: DeltaEstimate | None
    value: float | None = None
    """What the limit is compared with: the change in points or in percent of the baseline, or the
    rate itself.
    """

    @property
    def gain_significant(self) -> bool:
        """min_gain: the gain can be told from zero. Any other limit: nothing to show."""
        return self.criterion.kind != "min_gain" or self.upper < 0

    @property
    def satisfied(self) -> bool:
        """Whether an acceptance limit is kept under its rule. A gain must be told from zero under
        either.
        """
        sure = self.criterion.rule == "point" or self.evidence is Evidence.PROVEN
        return self.holds is True and self.gain_significant and sure

    @property
    def violated(self) -> bool:
        """Whether a guardrail ends a trial before its last step, under its rule; what was not
        measured does not.

        A gain is asked of the end: a trial has all its steps to reach it.
        """
        if self.criterion.kind == "min_gain":
            return False
        return (
            self.holds is False
            if self.criterion.rule == "point"
            else self.evidence is Evidence.VIOLATED
        )


def value_of(
    criterion: Criterion, baseline: SetScore | None, tuned: SetScore | None
) -> float | None:
    """What the limit is compared with; None where it does not exist."""
    if criterion.kind == "max_rate" and criterion.unit == "points":
        return tuned.wer if tuned is not None else None
    if criterion.unit == "points":
        return delta(baseline, tuned)
    if criterion.unit == "percent":
        return relative_delta(baseline, tuned)
    return relative_rate(baseline, tuned)


def estimate_of(
    criterion: Criterion,
    baseline: SetScore | None,
    tuned: SetScore | None,
    *,
    resamples: int,
    seed: int,
) -> DeltaEstimate | None:
    """The estimate of `value_of`; of a ratio to the baseline (times), that of the change in
    percent.
    """
    if value_of(criterion, baseline, tuned) is None or tuned is None:
        return None
    if criterion.kind == "max_rate" and criterion.unit == "points":
        nothing = replace(tuned, errors=(0,) * len(tuned.errors))
        return estimate(nothing, tuned, resamples=resamples, seed=seed)
    if criterion.unit == "points" or baseline is None:
        return estimate(baseline, tuned, resamples=resamples, seed=seed)
    # the change as a share of the baseline's errors: the same ratio of sums over other units
    before = tuple(decodings_beside(baseline, tuned) * errors for errors in baseline.errors)
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

    proven: the bound at `confidence` lies inside the limit. violated: the opposite bound at
    `violation_confidence` lies outside it. Neither contradicts the literal rule, because a bound
    never crosses the point.
    """
    value = value_of(criterion, baseline, tuned)
    lower, upper = -math.inf, math.inf
    evidence, needed = Evidence.UNDECIDED, None
    if paired is not None and value is not None:
        lower, upper = (
            _to_value_scale(criterion, bound)
            for bound in (paired.lower(confidence), paired.upper(confidence))
        )
        evidence = _evidence_of(
            criterion, _to_value_scale(criterion, paired.lower(violation_confidence)), upper
        )
        gap = paired.point - _from_value_scale(criterion, criterion.threshold)
        if evidence is Evidence.UNDECIDED:
            level = confidence if criterion.keeps(value) else violation_confidence
            needed = _utterances_needed(paired, gap, _deviations(level))
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
    """Several sets of which one must keep the limit, as one verdict: the numbers of the set that
    keeps it best, of those that prove most.

    Proven where it is proven on one of them, for which `judge` shares out the error; violated where
    on all.
    """
    chosen = min(verdicts, key=_by_what_is_shown)
    answers = {verdict.holds for verdict in verdicts}
    holds: bool | None = False
    if True in answers:
        holds = True
    elif None in answers:
        holds = None
    found = {verdict.evidence for verdict in verdicts}
    evidence = Evidence.UNDECIDED
    if Evidence.PROVEN in found:
        evidence = Evidence.PROVEN
    elif found == {Evidence.VIOLATED}:
        evidence = Evidence.VIOLATED
    return replace(chosen, criterion=criterion, holds=holds, evidence=evidence)


def _by_what_is_shown(verdict: LimitVerdict) -> tuple[bool, bool, bool, float]:
    """Of two sets the first shows more: a small one may keep the limit best and prove nothing."""
    kept = verdict.holds is True
    proven = verdict.evidence is Evidence.PROVEN
    return not kept, not proven, not verdict.gain_significant, _excess_over_limit(verdict)


def constraint(verdicts: Sequence[LimitVerdict]) -> float:
    """All limits on one guardrail metric as one number: <= 0 exactly when all hold literally.
    Always finite.
    """
    return max(map(_excess_over_limit, verdicts))


@dataclass(frozen=True)
class Risk:
    """What an undecided limit leaves open although it holds."""

    chance: float
    """That the true value is beyond the limit, as the data have it."""
    utterances: int | None
    """Size of set that would bring it below 5 %, were the true value the measured one; None at the
    limit.
    """


def risk(verdict: LimitVerdict) -> Risk | None:
    """The risk of a limit that holds and is not proven; None for any other, and where nothing was
    estimated.
    """
    paired = verdict.estimate
    if paired is None or verdict.holds is not True or verdict.evidence is Evidence.PROVEN:
        return None
    threshold = _from_value_scale(verdict.criterion, verdict.criterion.threshold)
    return Risk(
        paired.chance_above(threshold),
        _utterances_needed(paired, paired.point - threshold, ONE_SIDED),
    )


def _to_value_scale(criterion: Criterion, bound: float) -> float:
    """A bound of the estimate on the scale of the value."""
    return 1 + bound / 100 if criterion.unit == "times" else bound


def _from_value_scale(criterion: Criterion, value: float) -> float:
    return 100 * (value - 1) if criterion.unit == "times" else value


def _excess_over_limit(verdict: LimitVerdict) -> float:
    """How far beyond the limit. A difference of unequal floats is never 0, so only equality needs
    care.
    """
    beyond = math.nan if verdict.value is None else verdict.value - verdict.criterion.threshold
    if not math.isfinite(beyond):
        return -UNMEASURED if verdict.holds else UNMEASURED
    return AT_LIMIT if beyond == 0 and not verdict.holds else beyond


def _evidence_of(criterion: Criterion, lower: float, upper: float) -> Evidence:
    if lower > criterion.threshold:
        return Evidence.VIOLATED
    return Evidence.PROVEN if criterion.keeps(upper) else Evidence.UNDECIDED


def _deviations(level: float) -> float:
    """Standard errors from the limit at which a bound at this confidence lies inside it with 80 %
    power.
    """
    quantile = NormalDist().inv_cdf
    return POWER + quantile(level) - quantile(0.95)


def _utterances_needed(paired: DeltaEstimate, gap: float, deviations: float) -> int | None:
    """n * (z * SE / gap)^2: the standard error shrinks with the root of the number of
    utterances.
    """
    if gap == 0 or not math.isfinite(paired.standard_error) or not math.isfinite(gap):
        return None
    return math.ceil(paired.utterances * (deviations * paired.standard_error / gap) ** 2)
