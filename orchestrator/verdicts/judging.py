"""Judgement of stored measurements: the one place where edit counts on file become scores and a
verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from orchestrator.errors import FingerprintError
from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.scoring.judge import (
    Rank,
    Scores,
    Verdict,
    best_feasible,
    judge,
    rate_name,
    verdict_rank,
)
from orchestrator.scoring.limits import Criterion, Kind, Unit
from orchestrator.scoring.rates import SetScore, pool
from orchestrator.sweepfile.limits import ANY, EVERY, SHIPPED, Limit, Rule, set_of
from orchestrator.sweepfile.sweep import SweepSpec

RESAMPLES = 10_000


def guardrails_of(spec: SweepSpec, confirmed: bool = False) -> tuple[Criterion, ...]:
    """Return the limits that make a trial feasible; `confirmed`: those asked of the confirm sets."""
    return criteria(spec, spec.guardrails, confirmed)


def guardrail_metrics(spec: SweepSpec) -> tuple[str, ...]:
    """Return the metrics for which a trial has a constraint in Optuna, in file order."""
    return tuple(dict.fromkeys(criterion.metric for criterion in guardrails_of(spec)))


def acceptance_of(spec: SweepSpec, confirmed: bool = False) -> tuple[Criterion, ...]:
    """Return the limits that decide the sweep; `confirmed`: those asked of the confirm sets."""
    return criteria(spec, spec.acceptance, confirmed)


def criteria(
    spec: SweepSpec, limits: Mapping[str, Limit], confirmed: bool = False
) -> tuple[Criterion, ...]:
    """Return the limits of a section of the sweep file, in file order.

    A limit on every set of `data.also` becomes one limit for each set. One on any of them is among
    all, of which the confirmation (`confirmed`) leaves out those that have no confirm set.
    """
    further = ((spec.data.confirming if confirmed else None) or spec.data).also
    found: list[Criterion] = []
    for metric, limit in limits.items():
        if metric == SHIPPED:
            continue  # it asks something about the other limits, see `shipping`
        name, rate = set_of(metric), metric.rpartition("_")[2]
        also = tuple(f"{each}_{rate}" for each in further)
        for own in also if name == EVERY else (metric,):
            asked = [
                _criterion_of(own, key, value, limit.rule_of(key))
                for key, value in limit.questions.items()
            ]
            found += (
                [replace(criterion, among=also) for criterion in asked] if name == ANY else asked
            )
    return tuple(found)


def _criterion_of(metric: str, key: str, value: float | str, rule: Rule) -> Criterion:
    """Convert one key of a limit in the sweep file; its value is a number of points, percent of the
    baseline (5%), a multiple of it (2x), or a word.
    """
    kinds: dict[str, Kind] = {"max_wer": "max_rate", "max_cer": "max_rate"}
    if key == "asks":
        return Criterion(metric, cast(Kind, value), 0.0, rule)
    kind = kinds.get(key, cast(Kind, key))
    if isinstance(value, str):
        unit: Unit = "percent" if value.endswith("%") else "times"
        return Criterion(metric, kind, float(value[:-1]), rule, unit)
    return Criterion(metric, kind, value, rule)


def scores(
    measurement: Measurement, losses: Sequence[float] = (), later_losses: Sequence[float] = ()
) -> Scores:
    """Convert a measurement's counts to the form that `judge` takes; `losses` are those that
    `training_losses.trial_losses` returns, both together what `all_losses` does.
    """
    rates: dict[str, SetScore] = {}
    for name, score in measurement.sets.items():
        rates |= _rates_of_set(name, score)
    number = -1 if measurement.trial is None else measurement.trial
    fingerprint, step, scale = measurement.fingerprint, measurement.step, measurement.adapter_scale
    return Scores(fingerprint, rates, number, step, scale, tuple(losses), tuple(later_losses))


def _rates_of_set(name: str, measured: SetMeasurement) -> dict[str, SetScore]:
    """Return all rates of one set, by name. Term recall and precision are counted as errors: the
    share of the terms said that was missed, and the share of those heard that was not said.
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
    """Combine the measurements of several seeds of one recipe: counts are summed per utterance;
    number and step are the first one's.

    Raises FingerprintError when they were not evaluated alike, or hold different utterances.
    """
    all_scores = [scores(measurement) for measurement in measurements]
    first = all_scores[0]
    if len(evaluated := sorted({of_seed.fingerprint[:12] for of_seed in all_scores})) > 1:
        raise FingerprintError(
            f"The seeds of one finalist were evaluated as {' and as '.join(evaluated)}: their counts cannot be added. "
            "The model, the device or a library changed in between. Start a new study with --fork NAME."
        )
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
    """Judge `tuned` under the limits of the sweep; `looks` is how often its trial is judged in all,
    `n_comparisons` how many trials compete on these sets.

    Raises FingerprintError when the two were not evaluated alike.
    """
    verdict = judge(
        tuned,
        baseline,
        guardrails=guardrails_of(spec, confirmed),
        acceptance=acceptance_of(spec, confirmed),
        confirmed=confirmed,
        looks=looks,
        n_comparisons=n_comparisons,
        resamples=resamples,
        seed=spec.seed,
        metric=spec.metric.name,
    )
    return replace(verdict, unanswered=len(late_rates(spec) - verdict.rates.keys()))


def late_rates(spec: SweepSpec) -> frozenset[str]:
    """Return the rates that acceptance needs from the search but that are measured at the last step
    of a trial only (`rungs: last`). Empty where there is a confirmation, which decides then.
    """
    if spec.confirm is not None:
        return frozenset()
    late = {name for name, also in spec.data.also.items() if also.rungs == "last"}
    asked = {
        metric
        for criterion in acceptance_of(spec)
        for metric in criterion.among or (criterion.metric,)
    }
    return frozenset(rate_name(metric, False) for metric in asked if set_of(metric) in late)


def best_verdict(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the best feasible verdict; where none is feasible, the one that breaks its guardrails
    least. Ties are ranked like feasible verdicts. None when there are no verdicts.
    """
    return best_feasible(verdicts) or min(verdicts, key=_by_violation, default=None)


def _by_violation(verdict: Verdict) -> tuple[float, tuple[int, Rank]]:
    return max(verdict.constraints.values(), default=0.0), verdict_rank(verdict)
