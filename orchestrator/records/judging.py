"""Stored measurements, judged: the one place where edit counts on file become scores and a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.records.results import Measurement
from orchestrator.scoring.judge import Rank, Scores, Verdict, best_feasible, judge, verdict_rank
from orchestrator.scoring.limits import Criterion, SetScore, criteria, pool
from orchestrator.spec.sweep import SweepSpec

RESAMPLES = 10_000


def guardrails_of(spec: SweepSpec) -> tuple[Criterion, ...]:
    """The limits that make a trial feasible."""
    return criteria(dict(spec.guardrails.items()))


def acceptance_of(spec: SweepSpec) -> tuple[Criterion, ...]:
    """The limits that decide the sweep."""
    return criteria(dict(spec.acceptance.items()))


def scores(measurement: Measurement) -> Scores:
    """Edit counts of a measurement in the form `judge` takes."""
    sets = {name: SetScore(s.errors, s.reference_words, s.speakers) for name, s in measurement.sets.items()}
    number = -1 if measurement.trial is None else measurement.trial
    return Scores(measurement.fingerprint, sets, number, measurement.step, measurement.adapter_scale)


def pooled(measurements: Sequence[Measurement]) -> Scores:
    """Several seeds of one recipe as one: counts summed per utterance, under the first one's number and step.

    Raises FingerprintError when they hold different utterances.
    """
    all_scores = [scores(measurement) for measurement in measurements]
    first = all_scores[0]
    sets = {name: pool([each.sets[name] for each in all_scores]) for name in first.sets}
    return Scores(first.fingerprint, sets, first.number, first.step, first.adapter_scale)


def judged(
    spec: SweepSpec,
    tuned: Scores,
    baseline: Scores,
    *,
    looks: int = 1,
    rivals: int = 1,
    confirmed: bool = False,
    resamples: int = RESAMPLES,
) -> Verdict:
    """The verdict on `tuned` under the limits of the sweep; `looks` is how often its trial is judged in all,
    `rivals` how many trials compete on these sets.

    Raises FingerprintError when the two were not evaluated alike.
    """
    return judge(
        tuned,
        baseline,
        guardrails=guardrails_of(spec),
        acceptance=acceptance_of(spec),
        confirmed=confirmed,
        looks=looks,
        rivals=rivals,
        resamples=resamples,
        seed=spec.seed,
    )


def best(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best feasible verdict; where none is feasible, the one that breaks its guardrails least.

    Ties of violation are ranked as feasible ones are. None when there are no verdicts.
    """
    return best_feasible(verdicts) or min(verdicts, key=_violation, default=None)


def _violation(verdict: Verdict) -> tuple[float, Rank]:
    return max(verdict.constraints.values(), default=0.0), verdict_rank(verdict)
