"""Stored measurements, judged: the one place where edit counts on file become scores and a
verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.scoring.judge import (
    Rank,
    Scores,
    Verdict,
    best_feasible,
    judge,
    set_name,
    verdict_rank,
)
from orchestrator.scoring.limits import Criterion, Kind, Unit
from orchestrator.scoring.rates import SetScore, pool
from orchestrator.sweepfile.limits import ANY, EVERY, SHIPPED, Limit, Rule, set_of
from orchestrator.sweepfile.sweep import SweepSpec

RESAMPLES = 10_000


def guardrails_of(spec: SweepSpec) -> tuple[Criterion, ...]:
    """The limits that make a trial feasible."""
    return criteria(spec, spec.guardrails)


def guardrail_metrics(spec: SweepSpec) -> tuple[str, ...]:
    """The metrics that a trial has a constraint for, in file order."""
    return tuple(dict.fromkeys(criterion.metric for criterion in guardrails_of(spec)))


def acceptance_of(spec: SweepSpec) -> tuple[Criterion, ...]:
    """The limits that decide the sweep."""
    return criteria(spec, spec.acceptance)


def criteria(spec: SweepSpec, limits: Mapping[str, Limit]) -> tuple[Criterion, ...]:
    """The limits of a section of the sweep file, in file order; the rule is point where none is
    set.

    A limit on every set of `data.also` becomes one a set.
    """
    found: list[Criterion] = []
    for metric, limit in limits.items():
        if metric == SHIPPED:
            continue  # asked of the other limits, see `shipping`
        name, rate = set_of(metric), metric.rpartition("_")[2]
        also = tuple(f"{further}_{rate}" for further in spec.data.also)
        for own in also if name == EVERY else (metric,):
            asked = [
                _criterion_of(own, key, value, limit.rule or "point")
                for key, value in limit.questions.items()
            ]
            found += (
                [replace(criterion, among=also) for criterion in asked] if name == ANY else asked
            )
    return tuple(found)


def _criterion_of(metric: str, key: str, value: float | str, rule: Rule) -> Criterion:
    """One question of a limit: a number of points, a share of the baseline (5%), a multiple of it
    (2x), or a word.
    """
    kinds: dict[str, Kind] = {"max_wer": "max_rate", "max_cer": "max_rate"}
    if key == "asks":
        return Criterion(metric, cast(Kind, value), 0.0, rule)
    kind = kinds.get(key, cast(Kind, key))
    if isinstance(value, str):
        unit: Unit = "percent" if value.endswith("%") else "times"
        return Criterion(metric, kind, float(value[:-1]), rule, unit)
    return Criterion(metric, kind, value, rule)


def scores(measurement: Measurement, losses: Sequence[float] = ()) -> Scores:
    """Counts of a measurement in the form `judge` takes; `losses` as `losses.trial_losses` gives
    them.
    """
    rates: dict[str, SetScore] = {}
    for name, score in measurement.sets.items():
        rates |= _rates_of_set(name, score)
    number = -1 if measurement.trial is None else measurement.trial
    fingerprint, step, scale = measurement.fingerprint, measurement.step, measurement.adapter_scale
    return Scores(fingerprint, rates, number, step, scale, tuple(losses))


def _rates_of_set(name: str, measured: SetMeasurement) -> dict[str, SetScore]:
    """All rates of one set. Of terms the share that was missed, and of what was heard the share
    that was not said.
    """
    rates = {name: SetScore(measured.errors, measured.reference_words, measured.speakers)}
    if measured.characters:
        rates[f"{name}_cer"] = SetScore(
            measured.character_errors,
            measured.characters,
            measured.speakers,
            units_a_word=sum(measured.characters) / max(1, sum(measured.reference_words)),
        )
    if measured.terms is not None:
        said, heard, found = measured.terms.said, measured.terms.heard, measured.terms.found
        missed, wrong = (
            tuple(a - b for a, b in zip(total, found, strict=True)) for total in (said, heard)
        )
        rates[f"{name}_terms_recall"] = SetScore(missed, said, measured.speakers)
        rates[f"{name}_terms_precision"] = SetScore(
            wrong, heard, measured.speakers, of_hypotheses=True
        )
    return rates


def pool_scores(measurements: Sequence[Measurement]) -> Scores:
    """Several seeds of one recipe as one: counts summed per utterance, under the first one's number
    and step.

    Raises FingerprintError when they hold different utterances.
    """
    all_scores = [scores(measurement) for measurement in measurements]
    first = all_scores[0]
    sets = {name: pool([of_seed.sets[name] for of_seed in all_scores]) for name in first.sets}
    return replace(first, sets=sets)


def judge_scores(
    spec: SweepSpec,
    tuned: Scores,
    baseline: Scores,
    *,
    looks: int = 1,
    n_comparisons: int = 1,
    confirmed: bool = False,
    resamples: int = RESAMPLES,
) -> Verdict:
    """The verdict on `tuned` under the limits of the sweep; `looks` is how often its trial is
    judged in all, `n_comparisons` how many trials compete on these sets.

    Raises FingerprintError when the two were not evaluated alike.
    """
    verdict = judge(
        tuned,
        baseline,
        guardrails=guardrails_of(spec),
        acceptance=acceptance_of(spec),
        confirmed=confirmed,
        looks=looks,
        n_comparisons=n_comparisons,
        resamples=resamples,
        seed=spec.seed,
        metric=spec.metric.name,
    )
    return replace(verdict, unanswered=len(late_rates(spec) - verdict.wer.keys()))


def late_rates(spec: SweepSpec) -> frozenset[str]:
    """The rates that acceptance asks of the search and that trials are measured on at their last
    step alone (`rungs: last`). None where confirm sets answer in the search's place.
    """
    if spec.data.confirm is not None:
        return frozenset()
    late = {name for name, also in spec.data.also.items() if also.rungs == "last"}
    asked = {
        metric
        for criterion in acceptance_of(spec)
        for metric in criterion.among or (criterion.metric,)
    }
    return frozenset(set_name(metric, False) for metric in asked if set_of(metric) in late)


def best_verdict(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best feasible verdict; where none is feasible, the one that breaks its guardrails least.

    Ties of violation are ranked as feasible ones are. None when there are no verdicts.
    """
    return best_feasible(verdicts) or min(verdicts, key=_by_violation, default=None)


def _by_violation(verdict: Verdict) -> tuple[float, tuple[int, Rank]]:
    return max(verdict.constraints.values(), default=0.0), verdict_rank(verdict)
