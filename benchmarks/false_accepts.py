"""Simulate how often a sweep accepts an adapter whose true gain or regression breaks the limits, by
decision rule and by the data that the decision looks at.

    python -m benchmarks.false_accepts [STUDIES]

Each simulated study trains 30 recipes whose true gains and regressions scatter around the figures
on the left. Its feasible trials are ranked by their measured numbers. The shipped code then judges
twice: under `search`, the best trial on the sets that chose it; under `confirm`, the best two,
retrained with three fresh seeds, on sets of the same size that the search never saw, where the
better of the two is the winner. An ACCEPT is false when the recipe's true gain is below 1.0 point
or its true regression is 0.2 points or more.

The rule `literal` asks for the measured numbers alone, `shipped` decides by the rules a sweep file
has by default (a gain must be proven, a regression must hold), `proven` wants both proven.

Assumed, not measured on a model: sets of 200 and 500 utterances (standard errors of about 0.25 and
0.10 points), recipes scattered by 0.15 (domain) and 0.05 points (heldout), seeds by as much again.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.judge import Decision, Scores, Verdict, best_feasible, decide, judge
from orchestrator.scoring.limits import LimitVerdict
from orchestrator.scoring.rates import SetScore, pool
from orchestrator.sweepfile.data import DataSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import SearchSpace
from orchestrator.sweepfile.sweep import Budget, ModelSpec, SweepSpec
from orchestrator.verdicts.judging import acceptance_of, guardrails_of

Ints = NDArray[np.int64]

CASES = ((0.4, 0.1), (0.8, 0.1), (1.2, 0.1), (2.0, 0.1), (0.8, 0.3), (1.5, 0.3), (2.0, 0.3))
"""Mean true gain and mean true regression of a sweep's recipes, in WER points."""
TRIALS = 30
FINALISTS = 2
SEEDS = 3
RESAMPLES = 1_000
RULES = ("literal", "shipped", "proven")


@dataclass(frozen=True)
class Form:
    """The same two limits, a gain of 1.0 and a regression of 0.2 points of WER, expressed in some
    rate or unit.
    """

    rates: tuple[str, str]
    """Names of the rates of the domain and the heldout set, as measurements name them."""
    guardrails: dict[str, Limit]
    acceptance: dict[str, Limit]
    errors: int = 1
    """How many errors a wrong word counts as."""
    units: int = 1
    """How many units (the rate's denominator) a word counts as."""


FORMS = {
    "points of WER": Form(
        ("domain", "heldout"),
        {"heldout_wer": Limit(max_regression=0.2)},
        {"domain_wer": Limit(min_gain=1.0), "heldout_wer": Limit(max_regression=0.2)},
    ),
    # of simulated baselines of 12 and 4.5 % WER: 1.0 is 8.33 % of 12, 0.2 is 4.44 % of 4.5
    "percent of the baseline": Form(
        ("domain", "heldout"),
        {"heldout_wer": Limit(max_regression="4.44%")},
        {"domain_wer": Limit(min_gain="8.33%"), "heldout_wer": Limit(max_regression="4.44%")},
    ),
    # a word has five characters, of which three are wrong where the word is
    "CER": Form(
        ("domain_cer", "heldout_cer"),
        {"heldout_cer": Limit(max_regression=0.12)},
        {"domain_cer": Limit(min_gain=0.6), "heldout_cer": Limit(max_regression=0.12)},
        errors=3,
        units=5,
    ),
    # every word of the domain set is a listed term
    "terms": Form(
        ("domain_terms_recall", "heldout"),
        {"heldout_wer": Limit(max_regression=0.2)},
        {"terms_recall": Limit(min_gain=1.0), "heldout_wer": Limit(max_regression=0.2)},
    ),
}


def spec_of(form: Form) -> SweepSpec:
    """Return a sweep with these limits, whose rules are the defaults of a sweep file."""
    return SweepSpec(
        version=1,
        name="simulated",
        model=ModelSpec(id="none"),
        data=DataSpec(train=Path("train"), domain=Path("domain"), heldout=Path("heldout")),
        parameters=SearchSpace(fixed={}, searched=(), presets={}),
        guardrails=form.guardrails,
        acceptance=form.acceptance,
        budget=Budget(trials=TRIALS),
    )


@dataclass(frozen=True)
class Population:
    """The distribution from which one of the two sets is drawn, and how adapters scatter on it."""

    utterances: int
    wer: float
    """Error rate of the baseline, as a fraction."""
    churn: float
    """Share of all words that any adapter turns from wrong to right, and as many from right to
    wrong, without a net change.
    """
    recipe_spread: float
    """Standard deviation of the recipes' true deltas, in points."""
    seed_spread: float
    """Standard deviation of the true deltas of one recipe's trainings, in points."""


DOMAIN = Population(200, 0.12, 0.03, 0.15, 0.15)
HELDOUT = Population(500, 0.045, 0.01, 0.05, 0.05)


@dataclass(frozen=True)
class EvaluationSet:
    """Utterances decoded by the base model; arrays of shape (utterances,)."""

    population: Population
    baseline: Ints
    words: Ints

    def tuned(self, delta: float, generator: np.random.Generator) -> Ints:
        """Draw the errors (utterances,) of an adapter whose expected delta is `delta` points."""
        population = self.population
        # as shares of all words; divided below by the share of those that can be mended or spoiled
        mended = population.churn + max(-delta, 0) / 100
        spoiled = population.churn + max(delta, 0) / 100
        return (
            self.baseline
            - generator.binomial(self.baseline, mended / population.wer)
            + generator.binomial(self.words - self.baseline, spoiled / (1 - population.wer))
        )

    def score(self, errors: Ints, form: Form) -> SetScore:
        """Return error and word counts in the form's units, as the judge takes them."""
        return SetScore(
            tuple((form.errors * errors).tolist()), tuple((form.units * self.words).tolist())
        )


def draw(population: Population, generator: np.random.Generator) -> EvaluationSet:
    """Draw a set of utterances of about 20 words, whose hardness scatters (log-normal, mean 1)."""
    words = np.maximum(1, generator.gamma(2, 10, population.utterances).round().astype(int))
    hardness = generator.lognormal(-0.32, 0.8, population.utterances)
    return EvaluationSet(
        population, generator.binomial(words, np.minimum(0.95, population.wer * hardness)), words
    )


@dataclass(frozen=True)
class Outcome:
    """The verdict on a winner, and whether its recipe truly keeps both limits (`sound`)."""

    sound: bool
    verdict: Verdict


def study(
    gain: float, regression: float, generator: np.random.Generator, form: Form
) -> tuple[Outcome, Outcome | None] | None:
    """Simulate one sweep. Returns its winner on the data of the search, and its winner on the
    confirm data, None where no finalist is feasible there; None alone where no trial is feasible.
    """
    # (TRIALS, 2): the true deltas on domain and heldout, in points
    recipes = np.stack(
        [
            generator.normal(-gain, DOMAIN.recipe_spread, TRIALS),
            generator.normal(regression, HELDOUT.recipe_spread, TRIALS),
        ],
        axis=1,
    )
    search = draw(DOMAIN, generator), draw(HELDOUT, generator)
    errors = [train(search, recipe, generator) for recipe in recipes]
    base_heldout = search[1].baseline.sum()
    feasible = [
        t
        for t, (_, heldout) in enumerate(errors)
        if 100 * (heldout.sum() - base_heldout) < 0.2 * search[1].words.sum()
    ]
    if not feasible:
        return None
    sound = (-recipes[:, 0] >= 1.0) & (recipes[:, 1] < 0.2)
    finalists = sorted(feasible, key=lambda t: errors[t][0].sum())[:FINALISTS]
    first = Outcome(
        bool(sound[finalists[0]]),
        verdict(search, [errors[finalists[0]]], finalists[0], TRIALS, form),
    )
    fresh = draw(DOMAIN, generator), draw(HELDOUT, generator)
    retrained = {t: [train(fresh, recipes[t], generator) for _ in range(SEEDS)] for t in finalists}
    confirmed = best_feasible(
        [verdict(fresh, runs, t, len(finalists), form) for t, runs in retrained.items()]
    )
    return first, Outcome(bool(sound[confirmed.number]), confirmed) if confirmed else None


def train(
    sets: tuple[EvaluationSet, EvaluationSet],
    recipe: NDArray[np.float64],
    generator: np.random.Generator,
) -> tuple[Ints, Ints]:
    """Simulate one training of a recipe with a new seed; return its errors on both sets."""
    domain, heldout = (
        part.tuned(float(generator.normal(delta, part.population.seed_spread)), generator)
        for part, delta in zip(sets, recipe, strict=True)
    )
    return domain, heldout


def verdict(
    sets: tuple[EvaluationSet, EvaluationSet],
    runs: list[tuple[Ints, Ints]],
    number: int,
    n_comparisons: int,
    form: Form,
) -> Verdict:
    """Judge one or several trainings of a recipe, pooled, by the shipped code."""
    named = tuple(zip(form.rates, sets, strict=True))
    tuned = {
        name: pool([part.score(run[i], form) for run in runs])
        for i, (name, part) in enumerate(named)
    }
    baseline = {name: part.score(part.baseline, form) for name, part in named}
    spec = spec_of(form)
    return judge(
        Scores("simulated", tuned, number=number),
        Scores("simulated", baseline),
        guardrails=guardrails_of(spec),
        acceptance=acceptance_of(spec),
        n_comparisons=n_comparisons,
        resamples=RESAMPLES,
        metric=f"{form.rates[0]}_wer" if form.rates[0] == "domain" else form.rates[0],
    )


def accepts(rule: str, judged: Verdict) -> bool:
    """Whether one of `RULES` accepts; `shipped` leaves each limit the rule that it has."""
    if rule == "literal":
        return all(limit.holds for limit in (*judged.acceptance, *judged.guardrails))
    if rule == "shipped":
        return judged.decision is Decision.ACCEPT
    return (
        decide([to_prove(limit) for limit in judged.acceptance], judged.guardrails)
        is Decision.ACCEPT
    )


def to_prove(limit: LimitVerdict) -> LimitVerdict:
    """Return the limit with the rule that `rule: proven` gives it in a sweep file."""
    return replace(limit, criterion=replace(limit.criterion, rule="proven"))


def false_accepts(
    gain: float, regression: float, studies: int, seed: int = 0, form: Form = FORMS["points of WER"]
) -> dict[str, tuple[float, float]]:
    """Return, per rule and data, the share of studies that accept falsely and the share that accept
    at all.
    """
    generator = np.random.default_rng(seed)
    false: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for searched, confirmed in filter(
        None, (study(gain, regression, generator, form) for _ in range(studies))
    ):
        for data, outcome in (("search", searched), ("confirm", confirmed)):
            if outcome is None:
                continue
            for rule in RULES:
                accepted = accepts(rule, outcome.verdict)
                total[f"{rule}, {data}"] += accepted
                false[f"{rule}, {data}"] += accepted and not outcome.sound
    columns = [f"{rule}, {data}" for data in ("search", "confirm") for rule in RULES]
    return {column: (false[column] / studies, total[column] / studies) for column in columns}


def main(studies: int = 150) -> None:
    print(f"{studies} studies a row; false accepts / all accepts, percent of studies")
    columns = [f"{rule}, {data}" for data in ("search", "confirm") for rule in RULES]
    for name, form in FORMS.items():
        print(f"limits in {name}")
        print(f"{'gain':<6}{'regression':<10}" + "".join(f"{column:>18}" for column in columns))
        for gain, regression in CASES:
            shares = false_accepts(gain, regression, studies, form=form)
            cells = (
                f"{100 * shares[column][0]:.0f} / {100 * shares[column][1]:.0f}"
                for column in columns
            )
            print(
                f"{gain:<6}{regression:<10}" + "".join(f"{cell:>18}" for cell in cells), flush=True
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
