import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.scoring import bootstrap
from orchestrator.scoring.bootstrap import (
    DeltaEstimate,
    jackknife_error,
    paired_delta,
    resample_ratio,
)


def _set(n: int = 300, seed: int = 0) -> tuple[list[int], list[int], list[int]]:
    generator = np.random.default_rng(seed)
    words = generator.integers(3, 40, n)
    baseline = generator.binomial(words, 0.12)
    tuned = (
        baseline - generator.binomial(baseline, 0.25) + generator.binomial(words - baseline, 0.02)
    )
    return baseline.tolist(), tuned.tolist(), words.tolist()


def _difference(n: int = 300) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    baseline, tuned, words = _set(n)
    return np.subtract(tuned, baseline).astype(float), np.asarray(words, float)


def _ratio(
    difference: NDArray[np.float64], words: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = 100 * difference.sum(axis=axis) / words.sum(axis=axis)
    return ratio


def test_resamples_agree_with_scipy() -> None:
    difference, words = _difference()
    oracle = stats.bootstrap(
        (difference, words),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=1,
    )
    deltas, _ = resample_ratio(difference, words, 20_000, seed=2)
    spread = oracle.standard_error
    assert deltas.std(ddof=1) == pytest.approx(spread, rel=0.03)
    low, high = np.quantile(deltas, (0.025, 0.975))
    assert low == pytest.approx(oracle.confidence_interval.low, abs=0.08 * spread)
    assert high == pytest.approx(oracle.confidence_interval.high, abs=0.08 * spread)


def test_the_jackknife_is_the_literal_leave_one_out() -> None:
    difference, words = _difference(40)
    left_out = np.array([_ratio(np.delete(difference, i), np.delete(words, i)) for i in range(40)])
    expected = np.sqrt(39 / 40 * ((left_out - _ratio(difference, words)) ** 2).sum())
    assert jackknife_error(difference, words) == pytest.approx(float(expected), rel=1e-12)


def test_each_resample_carries_its_own_standard_error() -> None:
    difference, words = _difference(50)
    deltas, errors = resample_ratio(difference, words, 3, seed=5)
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, 50, (3, 50))
    for row in range(3):
        d, w = difference[drawn[row]], words[drawn[row]]
        assert deltas[row] == pytest.approx(float(_ratio(d, w)))
        residual = d - d.sum() / w.sum() * w
        assert errors[row] == pytest.approx(
            float(100 * np.sqrt(50 / 49 * (residual**2).sum()) / w.sum())
        )


def test_point_is_the_difference_of_corpus_wers() -> None:
    baseline, tuned, words = _set()
    estimate = paired_delta(baseline, tuned, words, None, seed=0)
    assert estimate.point == pytest.approx(
        100 * sum(tuned) / sum(words) - 100 * sum(baseline) / sum(words)
    )


def test_bounds_are_never_narrower_than_student_s() -> None:
    baseline, tuned, words = _set()
    estimate = paired_delta(baseline, tuned, words, None, seed=0)
    for confidence in (0.9, 0.95, 0.975, 0.995):
        student = estimate.standard_error * stats.t.ppf(confidence, len(words) - 1)
        assert estimate.upper(confidence) >= estimate.point + student - 1e-12
        assert estimate.lower(confidence) <= estimate.point - student + 1e-12
        assert estimate.upper(confidence) <= estimate.point + 1.5 * student
    assert estimate.interval(0.9) == (estimate.lower(0.95), estimate.upper(0.95))


def test_pairing_makes_the_bounds_narrower_than_two_separate_systems() -> None:
    difference, words = _difference()
    baseline, tuned, _ = _set()
    shuffled = np.random.default_rng(0).permutation(len(words))
    apart = np.asarray(tuned, float)[shuffled] * words / words[shuffled] - np.asarray(
        baseline, float
    )
    assert jackknife_error(difference, words) < 0.7 * jackknife_error(apart, words)


def test_swapping_the_systems_mirrors_the_estimate() -> None:
    baseline, tuned, words = _set(60)
    forth, back = (
        paired_delta(*pair, words, None, seed=3) for pair in ((baseline, tuned), (tuned, baseline))
    )
    assert back.point == -forth.point
    assert back.upper(0.95) == pytest.approx(-forth.lower(0.95))
    assert forth.probability_of_improvement > 0.9 > 0.1 > back.probability_of_improvement


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, again, other = (paired_delta(*_set(), None, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.pivots, again.pivots)
    assert first.interval(0.95) == again.interval(0.95) != other.interval(0.95)


@pytest.mark.parametrize("n", [1, 255, 256, 300])
def test_kept_draws_are_those_drawn_anew(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    difference, words = np.arange(n, dtype=float) % 7, np.arange(n, dtype=float) % 5 + 1
    first, again = (resample_ratio(difference, words, 500, seed=4) for _ in range(2))
    monkeypatch.setattr(bootstrap, "_KEPT_BYTES", 0)
    anew = resample_ratio(difference, words, 500, seed=4)
    for kept in (first, again):
        assert all(np.array_equal(one, other) for one, other in zip(kept, anew, strict=True))


def test_a_second_estimate_on_a_set_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, tuned, words = _set()
    paired_delta(baseline, tuned, words, None, resamples=200, seed=9)
    monkeypatch.setattr(bootstrap, "_multinomial_counts", lambda *_: pytest.fail("drawn again"))
    paired_delta(tuned, baseline, words, None, resamples=200, seed=9)


def test_chunks_of_resamples_draw_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    difference, words = _difference(100)
    whole = resample_ratio(difference, words, 500, seed=1)
    monkeypatch.setattr("orchestrator.scoring.bootstrap._CHUNK", 3_100)
    assert np.array_equal(whole, resample_ratio(difference, words, 500, seed=1))


@pytest.mark.parametrize(
    ("blocks", "unit", "why"),
    [
        (
            None,
            "utterance",
            "the manifest names no speakers; if few people speak, the bounds are too narrow",
        ),
        (
            [""] * 40,
            "utterance",
            "the manifest names no speakers; if few people speak, the bounds are too narrow",
        ),
        ([f"s{i}" for i in range(39)] + [""], "utterance", "1 of 40 utterances name no speaker; "),
        ([f"s{i % 19}" for i in range(40)], "utterance", "only 19 speakers, fewer than 20; "),
        (["me"] * 40, "utterance", "only 1 speaker, fewer than 20; "),
        ([f"s{i % 20}" for i in range(40)], "speaker", "20 speakers, at least 20"),
    ],
)
def test_the_estimate_says_what_was_resampled_and_why(
    blocks: list[str] | None, unit: str, why: str
) -> None:
    estimate = paired_delta(*_set(40), blocks, resamples=100, seed=0)
    assert estimate.unit == unit
    assert estimate.why.startswith(why)
    assert estimate.blocks == (20 if unit == "speaker" else 40)
    assert estimate.utterances == 40


def test_speakers_that_differ_widen_the_bounds() -> None:
    words, speakers = [20] * 200, [f"s{i // 10}" for i in range(200)]
    baseline, tuned = [4] * 200, [2 if i // 10 % 2 else 5 for i in range(200)]
    by_speaker = paired_delta(baseline, tuned, words, speakers, seed=0)
    by_utterance = paired_delta(baseline, tuned, words, None, seed=0)
    assert by_speaker.point == by_utterance.point
    assert by_speaker.standard_error == pytest.approx(
        by_utterance.standard_error * 10**0.5, rel=0.05
    )


def test_a_set_in_which_nothing_changed_still_has_bounds() -> None:
    estimate = paired_delta([1] * 120, [1] * 120, [20] * 120, None, seed=0)
    assert estimate.point == 0
    assert estimate.upper(0.95) >= 100 * 3.0 / 2400, "the rule of three"
    assert estimate.probability_of_improvement == 0
    one_worse = paired_delta([1] * 120, [1] * 119 + [2], [20] * 120, None, seed=0)
    assert 0 < one_worse.upper(0.95) < 0.25
    assert one_worse.lower(0.95) < 0


def test_several_decodings_of_a_set_are_not_more_utterances() -> None:
    baseline, tuned, words = _set(100)
    once = paired_delta(baseline, tuned, words, None, seed=0)
    three = [[3 * n for n in counts] for counts in (baseline, tuned, words)]
    thrice = paired_delta(three[0], three[1], three[2], None, seed=0, decodings=3)
    assert thrice.interval(0.95) == pytest.approx(once.interval(0.95))
    same = [3] * 20
    flat = paired_delta(same, same, [30] * 20, None, seed=0, decodings=3)
    assert flat.upper() == pytest.approx(
        paired_delta([1] * 20, [1] * 20, [10] * 20, None, seed=0).upper()
    )


def test_what_cannot_be_told_has_infinite_bounds() -> None:
    for errors, words in (([1], [10]), ([1, 0], [10, 0])):
        estimate = paired_delta([0] * len(words), errors, words, None, seed=0)
        assert estimate.interval(0.95) == (-float("inf"), float("inf"))


def test_resamples_without_words_do_not_break_the_bounds() -> None:
    estimate = paired_delta([0, 1, 0], [1, 1, 2], [0, 4, 4], None, seed=0)
    assert np.all(np.isfinite(estimate.pivots))


@pytest.mark.parametrize("blocks", [None, ["a"]])
def test_lengths_must_agree(blocks: list[str] | None) -> None:
    with pytest.raises(ValueError, match="must cover the same utterances"):
        paired_delta([1, 2], [1, 2] if blocks else [1], [5, 5], blocks, seed=0)


def test_no_reference_words_is_refused() -> None:
    with pytest.raises(ValueError, match="without reference words"):
        paired_delta([1], [1], [0], None, seed=0)


@pytest.mark.parametrize("confidence", [0.5, 1.0, 95])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        paired_delta(*_set(20), None, resamples=50, seed=0).upper(confidence)


def test_ten_thousand_resamples_put_exactly_five_percent_outside() -> None:
    pivots = np.arange(-5_000, 5_000, dtype=np.float64)
    estimate = DeltaEstimate(0.0, 1.0, "utterance", "", 1_000, 1_000, 0.5, pivots)
    assert estimate.upper(0.95) == -pivots[499]
    assert estimate.lower(0.95) == -pivots[9_500]
