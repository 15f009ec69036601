"""Rates beside the WER: characters, recall and precision of terms, and what the data prove of them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scoring.bootstrap import paired_delta, paired_rates
from orchestrator.scoring.edit_counts import character_counts, check_with_jiwer, edit_counts
from orchestrator.scoring.judge import Scores, judge
from orchestrator.scoring.limit_text import (
    asked_text,
)
from orchestrator.scoring.limits import (
    Criterion,
)
from orchestrator.scoring.rates import SetScore, delta, estimate, pool
from orchestrator.scoring.terms import Terms
from tests.scoring_support import N, score

texts = st.lists(
    st.text(alphabet="ab c", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=6
)


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(0, 3))
def test_the_cer_is_jiwers(references: list[str], cut: int) -> None:
    hypotheses = [text[::-1][cut:] for text in references]
    clean = [[" ".join(text.split()) for text in side] for side in (references, hypotheses)]
    errors, characters = character_counts(*clean)
    assert sum(errors) / sum(characters) == pytest.approx(jiwer.cer(*clean))


def test_counts_that_jiwer_does_not_share_are_said() -> None:
    references, hypotheses = ["one two", "", "three"], ["one", "noise", "tree three"]
    counts = edit_counts(references, hypotheses)
    check_with_jiwer(references, hypotheses, counts)
    wrong = replace(counts, insertions=(0, 1, 0))
    with pytest.raises(RuntimeError, match="jiwer counts"):
        check_with_jiwer(references, hypotheses, wrong)


words = st.lists(st.sampled_from(["alfa", "bravo", "to", "the"]), max_size=8).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_terms_found_are_never_more_than_said_or_heard(reference: str, hypothesis: str) -> None:
    terms = Terms((("alfa",), ("alfa", "bravo"), ("to",)))
    said, heard, found = terms.count(reference, hypothesis)
    assert found <= min(said, heard)
    own = [word for word in reference.split() if word in ("alfa", "to")]
    pairs = sum(pair == ("alfa", "bravo") for pair in pairwise(reference.split()))
    assert said == len(own) + pairs
    assert terms.count(reference, reference) == (said, said, said)


def test_precision_counts_in_what_each_model_heard() -> None:
    before = SetScore((5, 0, 3, 2), (10, 0, 10, 10), of_hypotheses=True)
    after = SetScore((1, 1, 0, 1), (9, 2, 8, 11), of_hypotheses=True)
    assert delta(before, after) == pytest.approx(100 * (3 / 30 - 10 / 30))
    limit = Criterion("terms_precision", "min_gain", 5.0)
    key = "domain_terms_precision"
    [verdict] = judge(
        Scores("f", {key: after}), Scores("f", {key: before}), guardrails=[limit]
    ).guardrails
    assert (
        verdict.holds is True
        and asked_text(limit) == "domain terms precision rises by at least 5 points"
    )


def test_the_precision_of_several_seeds_is_pooled_though_each_heard_its_own_words() -> None:
    before = SetScore((5, 0, 3, 2), (10, 0, 10, 10), of_hypotheses=True)
    seeds = [
        SetScore((1, 1, 0, 1), (9, 2, 8, 11), of_hypotheses=True),
        SetScore((2, 0, 0, 1), (8, 0, 9, 10), of_hypotheses=True),
    ]
    pooled = pool(seeds)
    assert (pooled.errors, pooled.units, pooled.decodings) == (
        (3, 1, 0, 2),
        (17, 2, 17, 21),
        2,
    )
    assert delta(before, pooled) == pytest.approx(100 * (6 / 57 - 10 / 30))
    once = estimate(before, pool(seeds[:1]), resamples=500)
    twice = estimate(before, pool([seeds[0], seeds[0]]), resamples=500)
    assert once is not None and twice is not None
    assert twice.point == pytest.approx(once.point), "two equal seeds say what one says"
    assert twice.standard_error == pytest.approx(once.standard_error)


def test_the_estimate_of_a_precision_is_that_of_two_rates() -> None:
    before = SetScore((5, 0, 3, 2) * 20, (10, 0, 10, 10) * 20, of_hypotheses=True)
    after = SetScore((1, 1, 0, 1) * 20, (9, 2, 8, 11) * 20, of_hypotheses=True)
    found = estimate(before, after, resamples=300, seed=4)
    assert found is not None and found.point == pytest.approx(delta(before, after))
    expected = paired_rates(
        (before.errors, before.units), (after.errors, after.units), None, resamples=300, seed=4
    )
    assert found == expected and found.pivots.tolist() == expected.pivots.tolist()


@pytest.mark.parametrize("of_hypotheses", [False, True])
def test_the_limits_of_a_set_that_names_its_speakers_are_judged_by_speaker(
    of_hypotheses: bool,
) -> None:
    speakers = tuple(f"s{at % 25}" for at in range(N))
    key = "domain_terms_precision" if of_hypotheses else "domain"
    before, after = (
        replace(score(errors), speakers=speakers, of_hypotheses=of_hypotheses)
        for errors in (400, 380)
    )
    metric = "terms_precision" if of_hypotheses else "domain_wer"
    [limit] = judge(
        Scores("f", {key: after}),
        Scores("f", {key: before}),
        guardrails=[Criterion(metric, "max_regression", 1.0)],
        resamples=100,
    ).guardrails
    assert limit.estimate is not None
    assert (limit.estimate.unit, limit.estimate.blocks, limit.estimate.utterances) == (
        "speaker",
        25,
        N,
    )


@pytest.mark.parametrize("of_hypotheses", [False, True])
def test_the_least_error_of_several_seeds_is_that_of_one(of_hypotheses: bool) -> None:
    """Nothing changed, so that the floor of the error decides: more decodings do not lower it."""
    same = replace(score(400), of_hypotheses=of_hypotheses)
    once, thrice, both = (
        estimate(*pair, resamples=100)
        for pair in (
            (same, same),
            (same, pool([same] * 3)),
            (pool([same] * 2), pool([same] * 2)),
        )
    )
    assert once is not None and thrice is not None and both is not None
    assert once.standard_error == thrice.standard_error == both.standard_error == 100 * 2 / 10_000
    assert once.point == thrice.point == both.point == 0


def test_two_rates_of_equal_units_are_one_difference() -> None:
    generator = np.random.default_rng(1)
    units = generator.integers(5, 20, 80)
    before, after = (generator.binomial(units, p) for p in (0.2, 0.15))
    one = paired_delta(
        before.tolist(), after.tolist(), units.tolist(), None, resamples=4000, seed=0
    )
    two = paired_rates(
        (before.tolist(), units.tolist()),
        (after.tolist(), units.tolist()),
        None,
        resamples=4000,
        seed=0,
    )
    assert two.point == pytest.approx(one.point)
    assert two.standard_error == pytest.approx(one.standard_error, rel=0.05)
    assert two.upper() == pytest.approx(one.upper(), abs=0.2)


@pytest.mark.parametrize("speakers", [None, tuple(f"s{row % 25}" for row in range(100))])
def test_terms_of_one_utterance_prove_neither_recall_nor_precision(
    speakers: tuple[str, ...] | None,
) -> None:
    def counted(errors: int, apart: int = 0) -> tuple[list[int], list[int]]:
        return [errors, *(0,) * 99], [40 - apart, *(0,) * 98, apart]

    def error(apart: int) -> tuple[float, float]:
        baseline, tuned = counted(20, apart), counted(0, apart)
        of_recall = paired_delta(baseline[0], tuned[0], tuned[1], speakers, resamples=50, seed=1)
        of_precision = paired_rates(baseline, tuned, speakers, resamples=50, seed=1)
        return of_recall.standard_error, of_precision.standard_error

    assert error(0) == (math.inf, math.inf)
    assert all(map(math.isfinite, error(1)))
