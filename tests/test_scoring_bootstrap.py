import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.scoring import bootstrap
from orchestrator.scoring.bootstrap import (
    DeltaEstimate,
    jackknife_error,
    paired_delta,
    paired_rates,
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


@pytest.mark.parametrize("n", [2, 50])
def test_each_resample_carries_its_own_standard_error(n: int) -> None:
    difference, words = _difference(n)
    deltas, errors = resample_ratio(difference, words, 9, seed=5)
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, n, (9, n))
    for row in range(9):
        d, w = difference[drawn[row]], words[drawn[row]]
        assert deltas[row] == pytest.approx(float(_ratio(d, w)))
        residual = d - d.sum() / w.sum() * w
        assert errors[row] == pytest.approx(
            float(100 * np.sqrt(n / (n - 1) * (residual**2).sum()) / w.sum()), abs=1e-6
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
    assert forth.chance_above(0) < 0.1 < 0.9 < back.chance_above(0)


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
        assert estimate.standard_error == float("inf")


def test_resamples_without_words_do_not_break_the_bounds() -> None:
    estimate = paired_delta([0, 1, 0], [1, 1, 2], [0, 4, 4], None, seed=0)
    assert np.all(np.isfinite(estimate.pivots))
    difference, words = np.array([1.0, 0, 2]), np.array([0.0, 4, 5])
    deltas, errors = resample_ratio(difference, words, 300, seed=0)
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 3, (300, 3))
    without = words[drawn].sum(axis=1) == 0
    assert 0 < without.sum() < 30
    residual = difference - 3 / 9 * words
    of_sample = 100 * 3 / 9, 100 * np.sqrt(3 / 2 * (residual**2).sum()) / 9
    assert deltas[without] == pytest.approx(of_sample[0]), "they say what the sample says"
    assert errors[without] == pytest.approx(of_sample[1])


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
    estimate = DeltaEstimate(0.0, 1.0, "utterance", "", 1_000, 1_000, pivots)
    assert estimate.upper(0.95) == -pivots[499]
    assert estimate.lower(0.95) == -pivots[9_500]
    for rivals, outside in (
        (4, 125),
        (20, 25),
        (100, 5),
    ):  # 0.05 / 4 of 10,000 is just below 125 in floats
        shared = 1 - (1 - 0.95) / rivals
        assert estimate.upper(shared) == -pivots[outside - 1]
        assert estimate.lower(shared) == -pivots[-outside]
    for confidence in (0.9999, 0.99999):  # as far as the resamples reach
        assert estimate.upper(confidence) == -pivots[0]
        assert estimate.lower(confidence) == -pivots[-1]


def test_the_bounds_are_student_s_where_these_are_wider() -> None:
    """And the chance that the true value is beyond a limit is that of these bounds."""
    few = DeltaEstimate(-1.0, 0.5, "utterance", "", 5, 60, np.linspace(-0.1, 0.1, 1_000))
    for confidence in (0.9, 0.95, 0.99):
        reach = 0.5 * stats.t.ppf(confidence, 4)
        assert few.upper(confidence) == pytest.approx(-1 + reach, rel=1e-12)
        assert few.lower(confidence) == pytest.approx(-1 - reach, rel=1e-12)
        assert few.chance_above(-1 + reach) == pytest.approx(1 - confidence, rel=1e-9)
    wide = DeltaEstimate(-1.0, 0.5, "utterance", "", 5, 60, np.linspace(-40, 40, 1_001))
    assert wide.chance_above(-1 + 0.5 * 20.04) == pytest.approx(250 / 1_001), "more than Student's"


def test_where_nothing_can_be_told_either_is_as_likely() -> None:
    alone = paired_delta([2], [1], [10], None, resamples=50, seed=0)
    assert alone.chance_above(-100) == alone.chance_above(0) == alone.chance_above(100) == 0.5


# rates with different denominators


def _counts(n: int = 75, seed: int = 3) -> NDArray[np.float64]:
    """Errors and units of two models, (n, 4), as `paired_rates` takes them; a few have no units."""
    generator = np.random.default_rng(seed)
    heard = generator.integers(0, 9, (2, n))
    wrong = generator.binomial(heard, [[0.3], [0.26]])
    return np.stack([wrong[0], heard[0], wrong[1], heard[1]], axis=1).astype(float)


def _change(counts: NDArray[np.float64]) -> tuple[float, float]:
    """The change of the rate in points, and its linearised standard error."""
    wrong, heard, after, heard_after = counts.sum(axis=0)
    of_block = (counts[:, 2] - after / heard_after * counts[:, 3]) / heard_after
    of_block -= (counts[:, 0] - wrong / heard * counts[:, 1]) / heard
    n = len(counts)
    error = 100 * np.sqrt(n / (n - 1) * (of_block**2).sum())
    return 100 * (after / heard_after - wrong / heard), float(error)


def _rates(
    counts: NDArray[np.float64], speakers: list[str] | None = None, **asked: int
) -> DeltaEstimate:
    columns = counts.astype(int).T.tolist()
    return paired_rates(
        (columns[0], columns[1]), (columns[2], columns[3]), speakers, **{"seed": 5} | asked
    )


@pytest.mark.parametrize("by_speaker", [False, True])
@pytest.mark.parametrize("chunk", [1, 1_000, bootstrap._CHUNK])
def test_the_change_of_two_rates_is_computed_from_every_resample(
    by_speaker: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_CHUNK", chunk)
    counts = _counts()
    speakers = [f"s{at * 7 % 25:02d}" for at in range(75)] if by_speaker else None
    estimate = _rates(counts, speakers, resamples=40)
    blocks = counts
    if speakers:
        named = np.asarray(speakers)
        blocks = np.stack([counts[named == name].sum(axis=0) for name in sorted(set(speakers))])
    point, error = _change(blocks)
    assert estimate.point == pytest.approx(point) and estimate.point < 0
    assert estimate.standard_error == pytest.approx(error)
    assert (estimate.unit, estimate.blocks, estimate.utterances) == (
        ("speaker", 25, 75) if by_speaker else ("utterance", 75, 75)
    )
    n = len(blocks)
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, n, (40, n))
    deltas, errors = np.array([_change(blocks[rows]) for rows in drawn]).T
    assert estimate.pivots == pytest.approx(np.sort((deltas - point) / errors))


def test_the_least_error_of_two_rates_is_that_of_the_smaller_number_of_units() -> None:
    """Nothing changed but the number of units that were counted, and so the errors among them."""
    counts = np.tile([1.0, 10, 2, 20], (30, 1))
    for rows in (counts, counts[:, [2, 3, 0, 1]]):
        estimate = _rates(rows, resamples=50)
        assert (estimate.point, estimate.standard_error) == (0, 100 * 2 / 300)
        assert estimate.pivots.tolist() == [0.0] * 50
        thrice = _rates(3 * rows, resamples=50, decodings=3)
        assert thrice.standard_error == estimate.standard_error
    better = counts + np.array([0, 0, -1, 0])
    assert _rates(better, resamples=50).pivots == pytest.approx(np.zeros(50), abs=1e-9)


def test_a_draw_in_which_a_model_has_no_units_is_no_change() -> None:
    rows = np.array([[1.0, 1, 0, 40], [0, 0, 1, 1], [20, 90, 0, 0]])
    estimate = _rates(rows, resamples=200)
    point, error = _change(rows)
    assert estimate.standard_error == pytest.approx(error)
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, 3, (200, 3))
    floor = 100 * 2 / 41
    expected, without = [], 0
    for own in drawn:
        known = (rows[own][:, [1, 3]].sum(axis=0) > 0).all()
        without += not known
        delta, spread = _change(rows[own]) if known else (0.0, 0.0)
        expected.append((delta - point) / max(spread, floor))
    assert 0 < without < 100
    assert estimate.pivots == pytest.approx(np.sort(expected))


def test_a_model_without_errors_has_a_rate_all_the_same() -> None:
    for pair in (([0, 0], [1, 0]), ([1, 0], [0, 0]), ([0, 0], [0, 0])):
        estimate = paired_rates((pair[0], [1, 0]), (pair[1], [1, 0]), None, resamples=50, seed=0)
        assert estimate.point == 100 * (sum(pair[1]) - sum(pair[0]))


def test_two_utterances_are_enough_for_an_error() -> None:
    rows = np.array([[30.0, 90, 10, 80], [10, 70, 20, 60]])
    estimate = _rates(rows, resamples=50)
    assert (estimate.point, estimate.standard_error) == pytest.approx(_change(rows))


def test_two_rates_of_one_utterance_have_infinite_bounds() -> None:
    estimate = _rates(np.array([[2.0, 4, 1, 5]]), resamples=50)
    assert estimate.point == pytest.approx(-30)
    assert estimate.interval() == (-float("inf"), float("inf"))


@pytest.mark.parametrize(
    ("before", "after", "speakers"),
    [
        (([1], [2, 2]), ([1, 1], [2, 2]), None),
        (([1, 1], [2, 2]), ([1, 1], [2]), None),
        (([1, 1], [2, 2]), ([1, 1], [2, 2]), ["a"]),
    ],
)
def test_two_rates_cover_the_same_utterances(
    before: tuple[list[int], list[int]],
    after: tuple[list[int], list[int]],
    speakers: list[str] | None,
) -> None:
    with pytest.raises(ValueError, match="must cover the same utterances"):
        paired_rates(before, after, speakers, seed=0)


@pytest.mark.parametrize(("before", "after"), [((0, 0), (2, 2)), ((2, 2), (0, 0))])
def test_two_rates_need_units_each(before: tuple[int, int], after: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="without units has no rate"):
        paired_rates(([0, 0], before), ([0, 0], after), None, seed=0)
