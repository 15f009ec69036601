"""Judge a trial's numbers against the baseline's: is it feasible, is it accepted, which trial is
best.

Whether a trial is feasible depends only on the measured values against the limits as they are
written, so that the answer is to what the sweep file asks; what the data prove is reported beside
it. These are pure functions; pruning and stopping are up to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.errors import FingerprintError
from orchestrator.scoring.limits import (
    Criterion,
    LimitVerdict,
    constraint,
    estimate_of,
    judge_limit,
    one_of,
)
from orchestrator.scoring.rates import SetScore, delta
from orchestrator.scoring.trend import judge_trend
from orchestrator.set_names import confirm_name

if TYPE_CHECKING:
    from orchestrator.scoring.bootstrap import DeltaEstimate


class Decision(StrEnum):
    """The decision on a trial."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Scores:
    """One measurement of an adapter, or of the untuned model, on the sets of a sweep."""

    fingerprint: str
    sets: Mapping[str, SetScore]
    """Counts by the name of the rate, see `rate_name`; in confirmation confirm_domain and so on."""
    number: int = -1
    """The trial's number; -1 for the untuned model."""
    step: int = 0
    adapter_scale: float = 1.0
    losses: tuple[float, ...] = ()
    """Mean training loss in nats per token at each rung of the trial up to this one."""
    later_losses: tuple[float, ...] = ()
    """The same at the trial's later rungs, at which acceptance looks too."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one measurement of one trial."""

    number: int
    step: int
    adapter_scale: float
    confirmed: bool
    """Whether it was measured on the confirm sets. If not, it was measured on the data that chose
    the trial, and is therefore optimistic.
    """
    guardrails: tuple[LimitVerdict, ...]
    acceptance: tuple[LimitVerdict, ...]
    feasible: bool
    """Every guardrail was measured, is finite, and holds literally."""
    constraints: dict[str, float]
    """How far each guardrail metric is beyond its limit, by Optuna's convention: <= 0 is feasible.
    Always finite.
    """
    rates: dict[str, float]
    """Every measured rate in percent, by its name (domain, heldout_cer, domain_terms_recall)."""
    delta: dict[str, float]
    """Tuned minus baseline in points, of the rates that both have."""
    decision: Decision | None
    """None when the sweep declares no acceptance criteria."""
    metric: str = "domain_wer"
    """The metric that the search minimises."""
    unanswered: int = 0
    """How many rates that acceptance asks for this measurement lacks, because they are measured at
    the trial's last step only and no confirmation follows (`verdicts.judging.late_rates`).
    """

    @property
    def objective(self) -> float | None:
        """The rate that the search minimises, in percent."""
        return self.rates.get(rate_name(self.metric, self.confirmed))

    @property
    def violated(self) -> tuple[str, ...]:
        """The metrics of the guardrails that are broken under their rule: those that prune a
        running trial.
        """
        return tuple(limit.criterion.metric for limit in self.guardrails if limit.violated)


def rate_name(metric: str, confirmed: bool) -> str:
    """Return the name of the rate that a metric of the sweep file means: `heldout` for heldout_wer,
    `domain_terms_recall` for terms_recall; others, such as heldout_cer, keep their name. In
    confirmation it has the prefix `confirm_`.
    """
    rate = f"domain_{metric}" if metric.startswith("terms_") else metric.removesuffix("_wer")
    return confirm_name(rate, confirmed)


def judge(
    tuned: Scores,
    baseline: Scores,
    *,
    guardrails: Sequence[Criterion],
    acceptance: Sequence[Criterion] = (),
    confirmed: bool = False,
    confidence: float = 0.95,
    looks: int = 1,
    n_comparisons: int = 1,
    resamples: int = 10_000,
    seed: int = 0,
    metric: str = "domain_wer",
) -> Verdict:
    """Judge one measurement against the baseline's.

    `confirmed` reads the confirm sets instead of the search's. `looks` is how often this trial will
    be judged in all (its rungs): the error of calling a guardrail violated is divided among them.
    `n_comparisons` is how many trials compete on these data: the error of calling a limit proven or
    violated, and that of the bounds shown, is divided among them. Missing sets and impossible
    counts raise nothing; limits on them do not hold.

    Raises FingerprintError when the two were not evaluated alike, or the sets hold different
    utterances.
    """
    _same_evaluation(tuned, baseline)
    comparison = _Comparison(tuned, baseline, confirmed, confidence, n_comparisons, resamples, seed)
    losses = tuned.losses
    guarded = tuple(comparison.answer(criterion, looks, losses) for criterion in guardrails)
    losses += tuned.later_losses
    accepted = tuple(comparison.answer(criterion, 1, losses) for criterion in acceptance)
    metrics = dict.fromkeys(criterion.metric for criterion in guardrails)
    deltas = {name: delta(baseline.sets.get(name), score) for name, score in tuned.sets.items()}
    return Verdict(
        number=tuned.number,
        step=tuned.step,
        adapter_scale=tuned.adapter_scale,
        confirmed=confirmed,
        guardrails=guarded,
        acceptance=accepted,
        feasible=all(limit.holds is True for limit in guarded),
        constraints={
            m: constraint([g for g in guarded if g.criterion.metric == m]) for m in metrics
        },
        rates={
            name: rate for name, score in tuned.sets.items() if (rate := score.rate) is not None
        },
        delta={name: value for name, value in deltas.items() if value is not None},
        decision=decide(accepted, guarded) if accepted else None,
        metric=metric,
    )


@dataclass(frozen=True)
class _Comparison:
    """Two measurements to compare, and the confidence that answers about them have."""

    tuned: Scores
    baseline: Scores
    confirmed: bool
    confidence: float
    n_comparisons: int
    resamples: int
    seed: int
    estimates: dict[tuple[str, bool, bool], DeltaEstimate | None] = field(default_factory=dict)
    """Cache of estimates, as limits often compare the same numbers. The key: the rate, whether it
    is relative to the baseline's, whether it is the rate itself (`max_rate`) and not its change.
    """

    def answer(self, criterion: Criterion, looks: int, losses: Sequence[float]) -> LimitVerdict:
        """Judge one limit, on a trial that is judged `looks` times in all; one on the training loss
        by these `losses`.
        """
        if criterion.metric == "train_loss":
            return judge_trend(
                criterion,
                losses,
                error_budget(self.confidence, self.n_comparisons),
                violation_confidence=error_budget(self.confidence, max(looks, self.n_comparisons)),
            )
        if criterion.among:
            # One set is enough to prove it, so the error is divided among the sets (Bonferroni).
            claims = self.n_comparisons * len(criterion.among)
            return one_of(
                criterion,
                [self._on_set(criterion, metric, claims, looks) for metric in criterion.among],
            )
        return self._on_set(criterion, criterion.metric, self.n_comparisons, looks)

    def _on_set(self, criterion: Criterion, metric: str, claims: int, looks: int) -> LimitVerdict:
        name = rate_name(metric, self.confirmed)
        before, after = self.baseline.sets.get(name), self.tuned.sets.get(name)
        form = name, criterion.unit != "points", criterion.kind == "max_rate"
        if form not in self.estimates:
            self.estimates[form] = estimate_of(
                criterion, before, after, resamples=self.resamples, seed=self.seed
            )
        return judge_limit(
            criterion,
            before,
            after,
            self.estimates[form],
            confidence=error_budget(self.confidence, claims),
            violation_confidence=error_budget(self.confidence, max(looks, self.n_comparisons)),
        )


def decide(acceptance: Sequence[LimitVerdict], guardrails: Sequence[LimitVerdict]) -> Decision:
    """Decide on a trial, by the first line that applies:

    | acceptance criteria and guardrails                                                  |              |
    |-------------------------------------------------------------------------------------|--------------|
    | one fails literally (what is proven violated always does)                           | REJECT       |
    | one was not measured                                                                | INCONCLUSIVE |
    | all hold, and a gain that was asked for cannot be told from zero                    | INCONCLUSIVE |
    | all hold, and an acceptance criterion of rule `proven` is not proven                | INCONCLUSIVE |
    | all hold, and what must be proven is                                                | ACCEPT       |

    The rule of a guardrail (`point` or `proven`) is about pruning; here a guardrail need only hold.
    `benchmarks/false_accepts.py` measures what the rules of acceptance cost.
    """
    limits = (*acceptance, *guardrails)
    if any(limit.holds is False for limit in limits):
        return Decision.REJECT
    kept = all(limit.satisfied for limit in acceptance) and all(limit.kept for limit in guardrails)
    return Decision.ACCEPT if limits and kept else Decision.INCONCLUSIVE


def error_budget(confidence: float, looks: int) -> float:
    """Return the confidence of a single look such that all `looks` together err at most as often as
    one look at `confidence`.

    Bonferroni: alpha / looks. Rungs of a trial are correlated, so it is conservative: a doubtful
    trial trains on, which costs time; a good trial pruned by chance would cost the sweep. It serves
    trials that share an evaluation set in the same way.
    """
    return 1 - (1 - confidence) / max(looks, 1)


def optimism(search_delta: float, confirm_delta: float) -> float:
    """Return by how many WER points the search flattered its winner; positive means that the
    confirmation is worse.
    """
    return confirm_delta - search_delta


def best_feasible(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the feasible verdict with the lowest objective; None when there is none.

    Verdicts with fewer unanswered rates go first. Ties go to the smaller held-out delta, then to
    fewer steps, the smaller trial number, the smaller adapter scale. Optuna's `value` is not used,
    because a pruned trial keeps its last one.
    """
    ranked = [verdict for verdict in verdicts if verdict.feasible and verdict.objective is not None]
    return min(ranked, key=verdict_rank, default=None)


Rank = tuple[float, float, int, int, float]
"""Sort key: objective, held-out delta, step, trial number, adapter scale."""


def rank(
    objective: float | None, heldout_delta: float | None, step: int, number: int, scale: float
) -> Rank:
    """Return the sort key of a feasible adapter: smaller is better, unmeasured comes last."""
    wer, heldout = (math.inf if value is None else value for value in (objective, heldout_delta))
    return wer, heldout, step, number, scale


def verdict_rank(verdict: Verdict) -> tuple[int, Rank]:
    """Return the sort key of a verdict: its unanswered rates, then its `rank`."""
    heldout = verdict.delta.get(rate_name("heldout_wer", verdict.confirmed))
    own = rank(verdict.objective, heldout, verdict.step, verdict.number, verdict.adapter_scale)
    return verdict.unanswered, own


def _same_evaluation(tuned: Scores, baseline: Scores) -> None:
    """Raise FingerprintError where the two were evaluated differently, or on other utterances."""
    if tuned.fingerprint != baseline.fingerprint:
        raise FingerprintError(
            f"Trial {tuned.number} at step {tuned.step} was evaluated as {tuned.fingerprint[:12]}, the baseline as "
            f"{baseline.fingerprint[:12]}: their numbers cannot be compared. A manifest, the audio pipeline, the "
            "normaliser, decoding, the model or its dtype changed in between. Put it back as it was, or start a new "
            "study with --fork NAME."
        )
    for name in sorted(tuned.sets.keys() & baseline.sets.keys()):
        before, after = baseline.sets[name], tuned.sets[name]
        if before.rate is None or after.rate is None:
            continue
        # equal reference words stand for equal utterances; those of pooled seeds are multiples
        ratio, rest = divmod(after.decodings, before.decodings)
        words = before.units
        if ratio != 1:
            words = tuple(ratio * count for count in words)
        if rest or (not after.of_hypotheses and after.units != words):
            raise FingerprintError(
                f"Trial {tuned.number} at step {tuned.step} and the baseline have different utterances in the "
                f"{name} set, though both were evaluated as {tuned.fingerprint[:12]}. One of the two records is "
                "damaged: measure it again."
            )
