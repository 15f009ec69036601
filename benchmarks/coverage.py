"""Measure how often the bounds of a paired WER delta hold, on simulated sets of known true delta.

    python -m benchmarks.coverage [DATASETS]

Simulated speakers differ in how many utterances they have, in how hard they are, and in what tuning
does to them; utterances differ in length and hardness. The columns are the shares of datasets in
which the true delta lies within a bound: `shipped` is `DeltaEstimate.interval(0.95)`, `lower` and
`upper` are the one-sided 95 % bounds, and `percentile`, for comparison, is the percentile interval
of the same resamples. With 1,000 datasets a printed share has a standard error of 0.7 points.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.bootstrap import DeltaEstimate, paired_delta, paired_rates, resample_ratio

Ints = NDArray[np.int64]

RESAMPLES = 1_000
POPULATION = 300_000
"""About how many utterances the sample has from which `truth` computes the true delta."""


@dataclass(frozen=True)
class Scenario:
    """A population of speakers and the change that tuning makes to it."""

    name: str
    speakers: int
    utterances_each: int
    """Mean number of utterances of a speaker. The numbers are drawn from a geometric distribution,
    so a few speakers have many.
    """
    wer: float
    """Error rate of the baseline, as a fraction."""
    fixed: float
    """Share of the baseline's errors that tuning mends."""
    broken: float
    """Share of the words recognised correctly by the baseline that tuning spoils."""
    named: bool = True
    """Whether the manifest names the speaker of each utterance."""
    form: Literal["points", "share", "precision"] = "points"
    """What the delta is: in `points`, the change of the error rate; in `share`, the change of the
    errors as a share of the baseline's errors; in `precision`, the difference of two rates, each
    relative to what its own model has written.
    """
    units: float = 20.0
    """Mean number of words, or of listed terms, in an utterance."""
    clump: int = 1
    """Above 1 the rate is a CER: a word counts as five characters, of which `clump` are wrong where
    the word is.
    """


SCENARIOS = (
    Scenario("domain, 20 speakers x 6", 20, 6, 0.12, 0.25, 0.02),
    Scenario("domain, 20 speakers x 25", 20, 25, 0.12, 0.25, 0.02),
    Scenario("domain, 40 speakers x 12", 40, 12, 0.12, 0.25, 0.02),
    Scenario("heldout, 20 speakers x 6", 20, 6, 0.045, 0.1, 0.006),
    Scenario("heldout, 40 speakers x 12", 40, 12, 0.045, 0.1, 0.006),
    Scenario("heldout, 100 speakers x 5", 100, 5, 0.045, 0.1, 0.006),
    Scenario("domain, 120 utterances", 120, 1, 0.12, 0.25, 0.02, named=False),
    Scenario("heldout, 500 utterances", 500, 1, 0.045, 0.1, 0.006, named=False),
    Scenario("hardly anything changes", 120, 1, 0.045, 0.03, 0.0015, named=False),
    Scenario("8 speakers x 25, resampled as utterances", 8, 25, 0.12, 0.25, 0.02),
    Scenario("share of domain errors, 40 speakers x 12", 40, 12, 0.12, 0.25, 0.02, form="share"),
    Scenario("share of heldout errors, 100 speakers x 5", 100, 5, 0.045, 0.1, 0.006, form="share"),
    Scenario(
        "share of heldout errors, 500 utterances",
        500,
        1,
        0.045,
        0.1,
        0.006,
        named=False,
        form="share",
    ),
    Scenario("CER, domain, 40 speakers x 12", 40, 12, 0.12, 0.25, 0.02, units=20, clump=3),
    Scenario(
        "CER, heldout, 500 utterances", 500, 1, 0.045, 0.1, 0.006, named=False, units=20, clump=3
    ),
    Scenario("terms missed, 40 speakers x 25", 40, 25, 0.2, 0.3, 0.02, units=1.5),
    Scenario("terms missed, 500 utterances", 500, 1, 0.2, 0.3, 0.02, named=False, units=1.5),
    Scenario(
        "precision of terms, 40 speakers x 25", 40, 25, 0.2, 0.3, 0.02, form="precision", units=1.5
    ),
    Scenario(
        "precision of terms, 500 utterances",
        500,
        1,
        0.2,
        0.3,
        0.02,
        named=False,
        form="precision",
        units=1.5,
    ),
)


@dataclass(frozen=True)
class Sample:
    """Errors and reference units of one set, decoded by both models; arrays (utterances,)."""

    baseline: Ints
    """Errors of the untuned model."""
    tuned: Ints
    """Errors of the tuned model."""
    words: Ints
    """The denominators (words, characters or terms) of both models, or of the tuned one alone
    where `own` is given.
    """
    speakers: list[str]
    """The speaker of each utterance; empty where the manifest names none."""
    own: Ints | None = None
    """The baseline's denominators, where they differ from the tuned model's (precision)."""


def draw(scenario: Scenario, generator: np.random.Generator) -> Sample:
    """Draw speakers, their utterances, and both models' errors."""
    count = scenario.speakers
    # (utterances,): the index of the speaker of each
    of_speaker = np.repeat(
        np.arange(count), generator.geometric(1 / scenario.utterances_each, count)
    )
    n = len(of_speaker)
    least = 1 if scenario.units >= 5 else 0  # an utterance may well hold no term
    words = np.maximum(least, generator.gamma(2, scenario.units / 2, n).round().astype(int))
    hardness = _effect(generator, 0.4, count)[of_speaker] * _effect(generator, 0.8, n)
    baseline = generator.binomial(words, np.minimum(0.95, scenario.wer * hardness))
    mended = generator.binomial(
        baseline, np.minimum(0.95, scenario.fixed * _effect(generator, 0.5, count)[of_speaker])
    )
    spoiled = generator.binomial(
        words - baseline,
        np.minimum(0.95, scenario.broken * _effect(generator, 0.5, count)[of_speaker]),
    )
    names = [f"s{s}" for s in of_speaker] if scenario.named else []
    tuned = baseline - mended + spoiled
    if scenario.form == "precision":
        # what a model has written: the terms it got right, and some that nobody said
        own, heard = (words - errors + generator.poisson(0.15, n) for errors in (baseline, tuned))
        wrong = [
            np.minimum(units, generator.poisson(0.1, n) + units // 4) for units in (own, heard)
        ]
        return Sample(wrong[0], wrong[1], heard, names, own)
    # for a CER: five characters to a word, of which `clump` are wrong where the word is
    each = 5 if scenario.clump > 1 else 1
    return Sample(scenario.clump * baseline, scenario.clump * tuned, each * words, names)


def truth(scenario: Scenario) -> float:
    """Return the true delta in the scenario's form, times 100, computed on a sample so large that
    its sampling error does not matter.
    """
    sample = draw(
        replace(scenario, speakers=POPULATION // scenario.utterances_each), np.random.default_rng(1)
    )
    if sample.own is not None:
        return float(
            100
            * (sample.tuned.sum() / sample.words.sum() - sample.baseline.sum() / sample.own.sum())
        )
    units = sample.baseline if scenario.form == "share" else sample.words
    return float(100 * (sample.tuned - sample.baseline).sum() / units.sum())


def estimated(scenario: Scenario, sample: Sample, seed: int) -> DeltaEstimate:
    """Return what the shipped code estimates from a sample, in the scenario's form."""
    before, after, speakers = (
        sample.baseline.tolist(),
        sample.tuned.tolist(),
        sample.speakers or None,
    )
    if sample.own is not None:
        units = sample.own.tolist(), sample.words.tolist()
        return paired_rates(
            (before, units[0]), (after, units[1]), speakers, resamples=RESAMPLES, seed=seed
        )
    words = before if scenario.form == "share" else sample.words.tolist()
    return paired_delta(before, after, words, speakers, resamples=RESAMPLES, seed=seed)


def coverage(scenario: Scenario, datasets: int, seed: int = 2) -> dict[str, float]:
    """Return the shares of datasets in which each interval or bound contains the true delta, and
    under `width` the mean width of the shipped interval in points.
    """
    target, generator = truth(scenario), np.random.default_rng(seed)
    hits = np.zeros((datasets, 5))
    for row in range(datasets):
        sample = draw(scenario, generator)
        estimate = estimated(scenario, sample, row)
        low, high = estimate.interval(0.95)
        percentile_low, percentile_high = _percentile(
            scenario, sample, estimate.unit == "speaker", row
        )
        hits[row] = (
            low <= target <= high,
            estimate.lower() <= target,
            target <= estimate.upper(),
            percentile_low <= target <= percentile_high,
            high - low,
        )
    return dict(
        zip(
            ("shipped", "lower", "upper", "percentile", "width"),
            hits.mean(axis=0).tolist(),
            strict=True,
        )
    )


def _percentile(
    scenario: Scenario, sample: Sample, by_speaker: bool, seed: int
) -> tuple[float, float]:
    """Return the plain percentile interval of the resampled delta; NaN for `precision`."""
    if sample.own is not None:
        return float("nan"), float("nan")
    units = sample.baseline if scenario.form == "share" else sample.words
    difference, words = (sample.tuned - sample.baseline).astype(float), units.astype(float)
    if by_speaker:
        # (utterances,) -> (speakers,): sums over the utterances of each speaker
        _, block = np.unique(sample.speakers, return_inverse=True)
        difference, words = np.bincount(block, difference), np.bincount(block, words)
    low, high = np.quantile(resample_ratio(difference, words, RESAMPLES, seed)[0], (0.025, 0.975))
    return float(low), float(high)


def _effect(generator: np.random.Generator, spread: float, size: int) -> NDArray[np.float64]:
    """Draw log-normal factors of mean 1, `spread` being the standard deviation of the log."""
    return generator.lognormal(-(spread**2) / 2, spread, size)


def main(datasets: int = 1_000) -> None:
    print(f"{datasets} datasets a row; nominal: 95 %")
    print(
        f"{'scenario':<42}{'delta':>7}{'shipped':>9}{'lower':>7}{'upper':>7}{'percentile':>12}{'width':>7}"
    )
    for scenario in SCENARIOS:
        shares = coverage(scenario, datasets)
        cells = "".join(
            f"{100 * shares[key]:>{width}.1f}"
            for key, width in (("shipped", 9), ("lower", 7), ("upper", 7), ("percentile", 12))
        )
        print(
            f"{scenario.name:<42}{truth(scenario):>7.2f}{cells}{shares['width']:>7.2f}", flush=True
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
