"""How often a sweep accepts an adapter that does not keep the promise, by rule and by the data it looks at.

    python -m benchmarks.false_accepts [STUDIES]

Each simulated study trains 30 recipes whose true gains scatter around the figure on the left, picks the best feasible
one by its measured numbers, and has the shipped code judge it: once on the sets that chose it, once retrained with
three fresh seeds on sets of the same size that the search never saw. An ACCEPT is false when the recipe's true gain is
below 1.0 point or its true regression is 0.2 points or more.

Assumed, not measured on a model: sets of 200 and 500 utterances (standard errors of about 0.25 and 0.10 points),
recipes scattered by 0.15 (domain) and 0.05 points (heldout, around a regression of 0.1), seeds by as much again.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.judge import Decision, Scores, Verdict, decide, judge
from orchestrator.scoring.limits import Criterion, SetScore, pool

Ints = NDArray[np.int64]

GAINS = (0.4, 0.8, 1.2)
TRIALS = 30
SEEDS = 3
RESAMPLES = 1_000
GUARDRAILS = (Criterion("heldout_wer", "max_regression", 0.2),)
ACCEPTANCE = (Criterion("domain_wer", "min_gain", 1.0), *GUARDRAILS)
RULES = ("literal", "point", "proven")


@dataclass(frozen=True)
class Population:
    """What one of the two sets is drawn from."""

    utterances: int
    wer: float
    churn: float
    """Share of words that turn right and of words that turn wrong without a net change."""
    recipe_spread: float
    seed_spread: float


DOMAIN = Population(200, 0.12, 0.03, 0.15, 0.15)
HELDOUT = Population(500, 0.045, 0.01, 0.05, 0.05)


@dataclass(frozen=True)
class EvaluationSet:
    """Utterances decoded by the base model; arrays of shape (utterances,)."""

    population: Population
    baseline: Ints
    words: Ints

    def tuned(self, delta: float, generator: np.random.Generator) -> Ints:
        """Errors of an adapter whose expected delta is `delta` points."""
        population = self.population
        mended = population.churn + max(-delta, 0) / 100
        spoiled = population.churn + max(delta, 0) / 100
        return (
            self.baseline
            - generator.binomial(self.baseline, mended / population.wer)
            + generator.binomial(self.words - self.baseline, spoiled / (1 - population.wer))
        )

    def score(self, errors: Ints) -> SetScore:
        """The counts as the judge takes them."""
        return SetScore(tuple(errors.tolist()), tuple(self.words.tolist()))


def draw(population: Population, generator: np.random.Generator) -> EvaluationSet:
    """Utterances of about 20 words whose hardness scatters."""
    words = np.maximum(1, generator.gamma(2, 10, population.utterances).round().astype(int))
    hardness = generator.lognormal(-0.32, 0.8, population.utterances)
    return EvaluationSet(population, generator.binomial(words, np.minimum(0.95, population.wer * hardness)), words)


def study(gain: float, generator: np.random.Generator) -> tuple[bool, Verdict, Verdict] | None:
    """One sweep: whether its winner keeps the promise, and the verdicts on search and confirm data."""
    recipes = np.stack(
        [
            generator.normal(-gain, DOMAIN.recipe_spread, TRIALS),
            generator.normal(0.1, HELDOUT.recipe_spread, TRIALS),
        ],
        axis=1,
    )
    search = draw(DOMAIN, generator), draw(HELDOUT, generator)
    errors = [train(search, recipe, generator) for recipe in recipes]
    base_heldout = search[1].baseline.sum()
    feasible = [
        t for t, (_, heldout) in enumerate(errors) if 100 * (heldout.sum() - base_heldout) < 0.2 * search[1].words.sum()
    ]
    if not feasible:
        return None
    winner = min(feasible, key=lambda t: errors[t][0].sum())
    fresh = draw(DOMAIN, generator), draw(HELDOUT, generator)
    retrained = [train(fresh, recipes[winner], generator) for _ in range(SEEDS)]
    sound = bool(-recipes[winner, 0] >= 1.0 and recipes[winner, 1] < 0.2)
    return sound, verdict(search, [errors[winner]]), verdict(fresh, retrained)


def train(
    sets: tuple[EvaluationSet, EvaluationSet], recipe: NDArray[np.float64], generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """One training of a recipe with a new seed: its errors on both sets."""
    domain, heldout = (
        part.tuned(float(generator.normal(delta, part.population.seed_spread)), generator)
        for part, delta in zip(sets, recipe, strict=True)
    )
    return domain, heldout


def verdict(sets: tuple[EvaluationSet, EvaluationSet], runs: list[tuple[Ints, Ints]]) -> Verdict:
    """The shipped judgement of one or several trainings, pooled."""
    names = ("domain", "heldout")
    tuned = {
        name: pool([part.score(run[i]) for run in runs]) for i, (name, part) in enumerate(zip(names, sets, strict=True))
    }
    baseline = {name: part.score(part.baseline) for name, part in zip(names, sets, strict=True)}
    return judge(
        Scores("simulated", tuned, number=0),
        Scores("simulated", baseline),
        guardrails=GUARDRAILS,
        acceptance=ACCEPTANCE,
        resamples=RESAMPLES,
    )


def accepts(rule: str, judged: Verdict) -> bool:
    """Whether a rule accepts; `literal` asks for the measured numbers alone."""
    if rule == "literal":
        return all(limit.holds for limit in judged.acceptance)
    return decide(judged.acceptance, judged.guardrails, "proven" if rule == "proven" else "point") is Decision.ACCEPT


def false_accepts(gain: float, studies: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Per rule and data: shares of studies that accept falsely, and that accept at all."""
    generator = np.random.default_rng(seed)
    false: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in (study(gain, generator) for _ in range(studies)):
        if outcome is None:
            continue
        sound, searched, confirmed = outcome
        for rule in RULES:
            for data, judged in (("search", searched), ("confirm", confirmed)):
                accepted = accepts(rule, judged)
                total[f"{rule}, {data}"] += accepted
                false[f"{rule}, {data}"] += accepted and not sound
    return {key: (false[key] / studies, total[key] / studies) for key in total}


def main(studies: int = 150) -> None:
    columns = [f"{rule}, {data}" for data in ("search", "confirm") for rule in RULES]
    print(f"{studies} studies a row; false accepts / all accepts, percent of studies")
    print(f"{'true gain':<10}" + "".join(f"{column:>18}" for column in columns))
    for gain in GAINS:
        shares = false_accepts(gain, studies)
        cells = (f"{100 * shares[column][0]:.0f} / {100 * shares[column][1]:.0f}" for column in columns)
        print(f"{gain:<10}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
