"""One limit on one rate of one set: what was asked, what was measured, what the data prove.

Every limit gets two answers. *Literal*: does the measured value keep the limit, as the sweep file
asks? *Evidence*: do the one-sided confidence bounds of the paired estimate keep it? A limit on
something that was not measured, or is not finite, never holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from orchestrator.scoring.needed_data import ONE_SIDED, deviations_for, utterances_needed
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
"""The constraint where a value equals a strict limit: Optuna takes 0 for feasible, but "less than"
is not "at most".
"""

UNMEASURED = 100.0
"""The constraint, in points, of a guardrail that was not measured: infeasible, and finite because
samplers and SQLite need that.
"""

Rule = Literal["point", "proven"]


class Evidence(StrEnum):
    """What the data say about a limit at the confidence asked for."""

    PROVEN = "proven"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


Kind = Literal[
    "max_regression", "min_gain", "not_worse", "max_rate", "falls", "falls_monotonically"
]
Unit = Literal["points", "percent", "times"]


@dataclass(frozen=True)
class Criterion:
    """One limit of the sweep file, on one rate or on at least one of several."""

    metric: str
    """As the sweep file names it: domain_wer, heldout_cer, terms_recall, any_also_wer, train_loss.
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
    """The unit of `limit`. points: percentage points of the rate. percent: percent of the
    baseline's rate. times: multiples of the baseline's rate.
    """
    among: tuple[str, ...] = ()
    """The metrics of which at least one must keep the limit; empty where it is on `metric` itself.
    """

    @property
    def question(self) -> tuple[str, str, float, str]:
        """What is asked of the numbers: all but the rule. Equal for limits that differ in rule
        only.
        """
        return self.metric, self.kind, self.limit, self.unit

    @property
    def threshold(self) -> float:
        """Where the limit lies on the scale of `LimitVerdict.value`: gains are negative changes."""
        return -self.limit if self.kind == "min_gain" else self.limit

    @property
    def strict(self) -> bool:
        """Whether a value exactly at the threshold breaks the limit."""
        return self.kind == "max_regression"

    def keeps(self, value: float) -> bool:
        """Whether the limit holds at this value."""
        return value < self.threshold if self.strict else value <= self.threshold


@dataclass(frozen=True)
class LimitVerdict:
    """The judgement of one limit: by the literal rule, and by what the data prove."""

    criterion: Criterion
    baseline: float | None
    """The rate in percent (of a training loss: the first rung's, in nats); None: not measured."""
    tuned: float | None
    """The same of the tuned model (of a training loss: the last rung's)."""
    delta: float | None
    """Tuned - baseline in points; negative is better."""
    holds: bool | None
    """Whether the measured value keeps the limit, literally; None where there is no such value."""
    evidence: Evidence
    lower: float
    """One-sided bounds of `value` at the confidence asked for."""
    upper: float
    utterances_needed: int | None
    """Size of a set that would decide with 80 % power if the true value were the measured one; None
    where it is decided or the value is exactly at the limit.
    """
    estimate: DeltaEstimate | None
    value: float | None = None
    """The number that is compared with the limit: the change in points or in percent of the
    baseline, the rate itself, or its multiple of the baseline's; of a training loss see `trend`.
    """
    utterances_for_gain: int | None = None
    """The same number for telling a gain that was asked for from none; None where it is told."""

    @property
    def gain_significant(self) -> bool:
        """Whether a gain that was asked for is proven to be above zero; true for any other kind."""
        return self.criterion.kind != "min_gain" or self.upper < 0

    @property
    def satisfied(self) -> bool:
        """Whether an acceptance limit is kept under its rule."""
        sure = self.criterion.rule == "point" or self.evidence is Evidence.PROVEN
        return self.kept and sure

    @property
    def kept(self) -> bool:
        """Whether the limit holds and any gain that was asked for is proven to be above 0, which is
        all that the verdict asks of a guardrail.
        """
        return self.holds is True and self.gain_significant

    @property
    def violated(self) -> bool:
        """Whether a guardrail is broken under its rule and so prunes a running trial. One that was
        not measured does not, nor a minimal gain: a trial has all its steps to reach it.
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
    """Return the number that is compared with the limit; None where it cannot be computed."""
    if criterion.kind == "max_rate" and criterion.unit == "points":
        return tuned.rate if tuned is not None else None
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
    """Return the estimate of `value_of` with its bounds; for a multiple of the baseline's rate
    (times), that of the change in percent. None where `value_of` is.
    """
    if value_of(criterion, baseline, tuned) is None or tuned is None:
        return None
    if criterion.kind == "max_rate" and criterion.unit == "points":
        # the rate itself is the difference from a model without errors
        nothing = replace(tuned, errors=(0,) * len(tuned.errors))
        return estimate(nothing, tuned, resamples=resamples, seed=seed)
    if criterion.unit == "points" or baseline is None:
        return estimate(baseline, tuned, resamples=resamples, seed=seed)
    # relative to the baseline it is the same ratio of sums, with the baseline's errors as units
    before = tuple(decodings_beside(baseline, tuned) * errors for errors in baseline.errors)
    shares = replace(tuned, units=before)
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
    evidence, needed, for_gain = Evidence.UNDECIDED, None, None
    if paired is not None and value is not None:
        lower, upper = (
            _to_value_scale(criterion, bound)
            for bound in (paired.lower(confidence), paired.upper(confidence))
        )
        evidence = _evidence_of(
            criterion, _to_value_scale(criterion, paired.lower(violation_confidence)), upper
        )
        if evidence is Evidence.UNDECIDED:
            level = confidence if criterion.keeps(value) else violation_confidence
            gap = _gap(criterion, value)
            needed = utterances_needed(paired, gap, deviations_for(level))
        if criterion.kind == "min_gain" and upper >= 0:
            for_gain = utterances_needed(paired, value, deviations_for(confidence))
    return LimitVerdict(
        criterion=criterion,
        baseline=baseline.rate if baseline else None,
        tuned=tuned.rate if tuned else None,
        delta=delta(baseline, tuned),
        holds=None if value is None else criterion.keeps(value),
        evidence=evidence,
        lower=lower,
        upper=upper,
        utterances_needed=needed,
        estimate=paired,
        value=value,
        utterances_for_gain=for_gain,
    )


def one_of(criterion: Criterion, verdicts: Sequence[LimitVerdict]) -> LimitVerdict:
    """Combine the verdicts on several sets, at least one of which must keep the limit, into one;
    its numbers are those of the set chosen by `_by_what_is_shown`.

    Proven where it is proven on one of them (`judge` divides the error among them); violated where
    it is on all.
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
    needed = chosen.utterances_needed
    if evidence is Evidence.UNDECIDED and chosen.evidence is Evidence.VIOLATED:
        # the limit is open on the other sets, and each of those would have to decide it
        open_ = [verdict.utterances_needed for verdict in verdicts if verdict.utterances_needed]
        needed = max(open_, default=None)
    return replace(
        chosen, criterion=criterion, holds=holds, evidence=evidence, utterances_needed=needed
    )


def _by_what_is_shown(verdict: LimitVerdict) -> tuple[bool, bool, bool, float]:
    """Sort key of the set to show: the limit holds, is proven, its gain is significant, and only
    then the margin, because a small set may have the best margin and prove nothing.
    """
    kept = verdict.holds is True
    proven = verdict.evidence is Evidence.PROVEN
    return not kept, not proven, not verdict.gain_significant, _excess_over_limit(verdict)


def constraint(verdicts: Sequence[LimitVerdict]) -> float:
    """Combine all limits on one guardrail metric into Optuna's constraint: <= 0 exactly when all of
    them hold literally. Always finite.
    """
    return max(map(_excess_over_limit, verdicts))


@dataclass(frozen=True)
class Risk:
    """The remaining risk of a limit that holds literally but is not proven."""

    chance: float
    """Probability that the true value is beyond the limit, see `DeltaEstimate.chance_above`."""
    utterances: int | None
    """Size of a set that would bring the chance below 5 % if the true value were the measured one;
    None where the value is exactly at the limit.
    """


def risk(verdict: LimitVerdict) -> Risk | None:
    """Return the risk of a limit that holds unproven; None for others and without an estimate."""
    paired, value = verdict.estimate, verdict.value
    if paired is None or value is None or verdict.holds is not True:
        return None
    if verdict.evidence is Evidence.PROVEN:
        return None
    gap = _gap(verdict.criterion, value)
    return Risk(paired.chance_above(paired.point - gap), utterances_needed(paired, gap, ONE_SIDED))


def _to_value_scale(criterion: Criterion, bound: float) -> float:
    """Convert a bound of the estimate (in percent for the unit times) to the scale of `value`. That
    of a rate is no less than 0, as no rate is.
    """
    scaled = 1 + bound / 100 if criterion.unit == "times" else bound
    has_floor = criterion.kind == "max_rate" and math.isfinite(scaled)
    return max(0.0, scaled) if has_floor else scaled


def _gap(criterion: Criterion, value: float) -> float:
    """Return how far the value is beyond the limit, on the scale of the estimate: exactly 0 at the
    limit, where the point of the estimate may differ in its last digit.
    """
    beyond = value - criterion.threshold
    return 100 * beyond if criterion.unit == "times" else beyond


def _excess_over_limit(verdict: LimitVerdict) -> float:
    """Return how far the value is beyond the limit, as a finite number that is <= 0 exactly when
    the limit holds.

    The difference of two unequal floats is never 0, so only a value at a strict limit needs care.
    """
    beyond = math.nan if verdict.value is None else verdict.value - verdict.criterion.threshold
    if not math.isfinite(beyond):
        return -UNMEASURED if verdict.holds else UNMEASURED
    return AT_LIMIT if beyond == 0 and not verdict.holds else beyond


def _evidence_of(criterion: Criterion, lower: float, upper: float) -> Evidence:
    if lower > criterion.threshold:
        return Evidence.VIOLATED
    return Evidence.PROVEN if criterion.keeps(upper) else Evidence.UNDECIDED
