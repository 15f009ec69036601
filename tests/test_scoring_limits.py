"""Limits of every kind: what holds literally, what the data prove, and what stays open."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.trial_plan import trial_plan
from orchestrator.records.results import Measurement, SetMeasurement, TrialResult, TrialState
from orchestrator.running.trial_stopping import (
    RunningTrial,
    Stop,
    at_last_step,
    result_of,
    why_stop,
)
from orchestrator.scoring.bootstrap import paired_delta, paired_rates
from orchestrator.scoring.edit_counts import character_counts, check_with_jiwer, edit_counts
from orchestrator.scoring.judge import Decision, Scores, Verdict, judge
from orchestrator.scoring.limit_text import (
    allowed_text,
    asked_text,
    is_share_found,
    rate_text,
    shown_bounds,
    shown_change,
    shown_rate,
    value_text,
)
from orchestrator.scoring.limits import (
    UNMEASURED,
    Criterion,
    Evidence,
    LimitVerdict,
    estimate_of,
    one_of,
    risk,
    value_of,
)
from orchestrator.scoring.rates import SetScore, delta, estimate, pool, relative_delta
from orchestrator.scoring.terms import Terms
from orchestrator.scoring.trend import judge_trend
from orchestrator.sweepfile.data import AlsoSet
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Metric
from orchestrator.sweepfile.sweep import EarlyStop
from orchestrator.verdicts.judging import acceptance_of, guardrails_of, judge_scores, scores
from tests.running_support import make_spec

N = 500
"""Utterances of 20 words: 10,000 words, so 100 errors are one point."""


def score(errors: int, n: int = N, words: int = 20) -> SetScore:
    """`errors` errors spread evenly over n utterances."""
    return SetScore(tuple(errors // n + (i < errors % n) for i in range(n)), (words,) * n)


def answer(criterion: Criterion, before: SetScore, after: SetScore) -> LimitVerdict:
    baseline, tuned = Scores("f", {"domain": before}), Scores("f", {"domain": after})
    return judge(tuned, baseline, guardrails=[criterion], resamples=500).guardrails[0]


@pytest.mark.parametrize(
    ("errors", "holds"), [(449, True), (472, True), (473, False), (500, False)]
)
def test_a_share_of_the_baseline_is_compared_exactly_and_strictly(errors: int, holds: bool) -> None:
    """5 % of 450 errors are 22.5: 22 more are less, 23 are not; and of 400 errors 20 more are
    exactly 5 %.
    """
    limit = Criterion("domain_wer", "max_regression", 5.0, unit="percent")
    assert answer(limit, score(450), score(errors)).holds is holds
    at_limit = answer(limit, score(400), score(420))
    assert (at_limit.value, at_limit.holds) == (5.0, False)


def test_a_relative_gain_may_be_reached_exactly() -> None:
    limit = Criterion("domain_wer", "min_gain", 10.0, unit="percent")
    reached, missed = answer(limit, score(1000), score(900)), answer(limit, score(1000), score(901))
    assert (reached.value, reached.holds, missed.holds) == (-10.0, True, False)
    assert reached.delta == -1.0, "the change in points stands beside it"


def test_a_share_has_the_bounds_of_a_ratio() -> None:
    """Bounds of the share are those of the change over the baseline's errors as units."""
    before, after = score(450), score(470)
    limit = Criterion("domain_wer", "max_regression", 5.0, unit="percent")
    found = estimate_of(limit, before, after, resamples=500, seed=1)
    expected = paired_delta(before.errors, after.errors, before.errors, None, resamples=500, seed=1)
    assert found == expected and found is not None
    assert found.point == pytest.approx(100 * 20 / 450)
    pooled = replace(after, errors=tuple(3 * e for e in after.errors), units=(60,) * N, decodings=3)
    assert relative_delta(before, pooled) == relative_delta(before, after)


def test_a_baseline_without_errors_has_no_shares_and_no_multiples() -> None:
    for limit in (
        Criterion("domain_wer", "max_regression", 5.0, unit="percent"),
        Criterion("domain_wer", "max_rate", 2.0, unit="times"),
    ):
        verdict = answer(limit, score(0), score(10))
        assert (verdict.value, verdict.holds, verdict.evidence) == (None, None, Evidence.UNDECIDED)


@pytest.mark.parametrize(
    ("errors", "holds", "evidence"),
    [
        (4000, True, "undecided"),
        (4001, False, "undecided"),
        (3000, True, "proven"),
        (5000, False, "violated"),
    ],
)
def test_an_absolute_rate_is_at_most_the_limit(errors: int, holds: bool, evidence: str) -> None:
    limit = Criterion("domain_wer", "max_rate", 40.0)
    verdict = answer(limit, score(9000), score(errors))
    assert (verdict.value, verdict.holds, verdict.evidence) == (errors / 100, holds, evidence)


def test_a_multiple_of_the_baseline() -> None:
    limit = Criterion("domain_wer", "max_rate", 2.0, unit="times")
    at, beyond = answer(limit, score(400), score(800)), answer(limit, score(400), score(801))
    assert (at.value, at.holds, beyond.holds) == (2.0, True, False)
    far = answer(limit, score(400), score(2000))
    assert far.evidence is Evidence.VIOLATED and 2.0 < far.lower < 5.0 < far.upper


def test_a_multiple_is_judged_as_the_share_that_it_stands_for() -> None:
    """2.2 times the rate is 120 % more: the same bounds, the same need of data and the same risk, on
    another scale.
    """
    before, after = score(400), SetScore((20,) * 37 + (0,) * (N - 37), (20,) * N)
    times = answer(Criterion("domain_wer", "max_rate", 2.2, unit="times"), before, after)
    share = answer(Criterion("domain_wer", "max_regression", 120.0, unit="percent"), before, after)
    assert (times.value, share.value) == (1.85, 85.0)
    assert times.evidence is share.evidence is Evidence.UNDECIDED
    for own, other in ((times.lower, share.lower), (times.upper, share.upper)):
        assert own == pytest.approx(1 + other / 100, rel=1e-12)
    assert times.estimate is not None and times.utterances_needed is not None
    wanted = N * (2.49 * times.estimate.standard_error / 35) ** 2
    assert times.utterances_needed == share.utterances_needed == math.ceil(wanted) > N + 1
    own_risk, other_risk = risk(times), risk(share)
    assert own_risk is not None and other_risk is not None
    assert own_risk.utterances == other_risk.utterances
    assert own_risk.chance == pytest.approx(other_risk.chance)


def test_not_worse_allows_no_change() -> None:
    limit = Criterion("domain_wer", "not_worse")
    assert [answer(limit, score(400), score(errors)).holds for errors in (399, 400, 401)] == [
        True,
        True,
        False,
    ]


def test_a_set_that_proves_a_gain_is_shown_before_one_that_gains_more() -> None:
    """Twelve utterances gain most and prove nothing: what they leave open does not undo the proof
    on the others.
    """
    few = tuple(SetScore((errors, *(1,) * 11), (20,) * 12) for errors in (20, 8))
    many = score(4000, 2000), score(2600, 2000)
    asked = Criterion("any_also_wer", "min_gain", 1.0, rule="proven", among=("few_wer", "many_wer"))
    baseline, tuned = (Scores("f", {"few": few[side], "many": many[side]}) for side in (0, 1))
    verdict = judge(tuned, baseline, guardrails=[], acceptance=[asked], resamples=2000)
    [limit] = verdict.acceptance
    assert limit.value == -3.5 and limit.upper < -1 and limit.evidence is Evidence.PROVEN
    assert limit.satisfied and verdict.decision is Decision.ACCEPT
    alone = answer(replace(asked, metric="domain_wer", among=()), few[0], few[1])
    assert alone.value is not None and alone.value < -3.5 and not alone.gain_significant


@pytest.mark.parametrize("rivals", [1, 2, 8, 30])
def test_the_utterances_that_would_decide_do_in_four_of_five_studies(rivals: int) -> None:
    """The bound of n times as many utterances has the limit at so many of its errors, where the
    normal distribution leaves a fifth.
    """
    baseline, tuned = (Scores("f", {"domain": score(errors)}) for errors in (600, 495))
    asked = Criterion("domain_wer", "min_gain", 1.0, rule="proven")
    verdict = judge(
        tuned, baseline, guardrails=[], acceptance=[asked], n_comparisons=rivals, resamples=2000
    )
    [limit] = verdict.acceptance
    assert limit.evidence is Evidence.UNDECIDED and limit.estimate and limit.utterances_needed
    error = limit.estimate.standard_error / math.sqrt(limit.utterances_needed / N)
    distance = (-1.0 - limit.estimate.point) / error
    power = NormalDist().cdf(distance - NormalDist().inv_cdf(1 - 0.05 / rivals))
    assert power == pytest.approx(0.8, abs=0.005)


def test_a_multiple_and_a_difference_of_shares_are_one_division() -> None:
    """1 + 14 / 100 is 1.1400000000000001; precision of two models has two numbers of units."""
    times = Criterion("domain_wer", "max_rate", 1.14, unit="times")
    assert 1 + 14 / 100 != 1.14
    assert answer(times, score(100), score(114)).holds is True
    assert answer(times, score(100), score(115)).holds is False
    before, after = (
        SetScore((errors,), (heard,), of_hypotheses=True)
        for errors, heard in ((50, 1000), (52, 1000))
    )
    assert before.rate is not None and after.rate is not None
    assert after.rate - before.rate != 0.2 == delta(before, after)


def test_the_least_error_of_a_rate_of_characters_is_that_of_words() -> None:
    """Where nothing changed, 3 words in n may still change, and each has its characters."""
    words = SetScore((1,) * 40, (10,) * 40)
    characters = SetScore((5,) * 40, (60,) * 40, units_a_word=6.0)
    of_words, of_characters = (estimate(each, each) for each in (words, characters))
    assert of_words is not None and of_characters is not None
    assert of_words.standard_error == of_characters.standard_error == 100 * 2 / 400
    measured = SetMeasurement.model_construct(
        substitutions=(1, 0), deletions=(0, 0), insertions=(0, 0), reference_words=(4, 4),
        speakers=("", ""), character_errors=(3, 0), characters=(20, 28), terms=None,
    )  # fmt: skip
    measurement = Measurement.model_construct(
        sets={"heldout": measured}, trial=None, fingerprint="f", step=0, adapter_scale=1.0
    )
    assert scores(measurement).sets["heldout_cer"].units_a_word == 6.0


def test_a_gain_asked_for_ends_no_trial_before_its_end() -> None:
    gain = Criterion("domain_wer", "min_gain", 1.0)
    assert not answer(gain, score(400), score(400)).violated
    assert answer(Criterion("domain_wer", "max_rate", 3.0), score(400), score(400)).violated


def test_one_of_several_sets() -> None:
    kept, lost = (
        answer(Criterion("domain_wer", "not_worse"), score(400), score(errors))
        for errors in (300, 500)
    )
    missing = replace(lost, holds=None, evidence=Evidence.UNDECIDED, value=None)
    asked = Criterion("any_also_wer", "not_worse", among=("noisy_wer", "quiet_wer"))
    assert (
        one_of(asked, [lost, kept]).holds is True
        and one_of(asked, [lost, kept]).evidence is Evidence.PROVEN
    )
    assert (
        one_of(asked, [lost, lost]).holds is False
        and one_of(asked, [lost, lost]).evidence is Evidence.VIOLATED
    )
    assert one_of(asked, [lost, missing]).holds is None, "what was not measured might have kept it"
    assert one_of(asked, [missing, kept]).holds is True


def test_what_is_broken_on_one_set_and_open_on_another_is_open() -> None:
    """The larger set proves that it misses the limit by little, the smaller one misses it by more
    and proves nothing.
    """
    not_worse = Criterion("domain_wer", "not_worse")
    broken = answer(not_worse, score(4000, 4000), score(4400, 4000))
    open_ = answer(not_worse, *(SetScore((e, *(1,) * 11), (20,) * 12) for e in (8, 11)))
    assert broken.value == 0.5 and open_.value == 1.25
    asked = Criterion("any_also_wer", "not_worse", rule="proven", among=("many_wer", "few_wer"))
    both = one_of(asked, [broken, open_])
    assert (both.holds, both.evidence, both.value) == (False, Evidence.UNDECIDED, 0.5)
    assert not both.violated, "and so prunes nothing"
    assert both.criterion == asked


@pytest.mark.parametrize(
    ("shown", "other"),
    [
        ((True, "undecided", -1.5, 0.3), (False, "undecided", -0.9, -0.4)),
        ((True, "proven", -2.0, -1.2), (True, "undecided", -2.5, -0.7)),
        ((True, "undecided", -1.5, -0.2), (True, "undecided", -2.5, 0.3)),
        ((True, "undecided", -2.0, -0.2), (True, "undecided", -1.5, -0.4)),
        ((False, "undecided", -0.8, 0.1), (False, "undecided", -0.7, 0.1)),
    ],
    ids=["it holds", "it is proven", "its gain is one", "it has more margin", "it misses less"],
)
def test_the_set_that_is_shown_is_the_one_that_answers(
    shown: tuple[bool, str, float, float], other: tuple[bool, str, float, float]
) -> None:
    gain = Criterion("any_also_wer", "min_gain", 1.0, among=("noisy_wer", "quiet_wer"))
    template = answer(replace(gain, metric="domain_wer", among=()), score(400), score(300))
    first, second = (
        replace(template, holds=holds, evidence=Evidence(evidence), value=value, upper=upper)
        for holds, evidence, value, upper in (shown, other)
    )
    for order in ([first, second], [second, first]):
        assert one_of(gain, order).value == first.value
        assert one_of(gain, order).satisfied is first.satisfied


KINDS = (
    Criterion("domain_wer", "max_regression", 1.0, "proven"),
    Criterion("domain_wer", "max_regression", 5.0, "proven", "percent"),
    Criterion("domain_wer", "min_gain", 1.0, "proven"),
    Criterion("domain_wer", "max_rate", 40.0, "proven"),
    Criterion("domain_wer", "max_rate", 2.0, "proven", "times"),
)


NOT_FINITE: Any = (math.nan, *score(400).errors[1:])


@pytest.mark.parametrize("limit", KINDS, ids=str)
@pytest.mark.parametrize(
    "after",
    [None, SetScore((1, 1), (0, 0)), replace(score(400), errors=NOT_FINITE)],
    ids=["absent", "no words", "not finite"],
)
def test_a_set_that_was_not_measured_leaves_every_kind_of_limit_open(
    limit: Criterion, after: SetScore | None
) -> None:
    tuned = Scores("f", {"domain": after} if after else {})
    [found] = judge(tuned, Scores("f", {"domain": score(400)}), guardrails=[limit]).guardrails
    assert (found.holds, found.evidence, found.value) == (None, Evidence.UNDECIDED, None)
    assert (found.lower, found.upper) == (-math.inf, math.inf)
    assert found.estimate is None and found.utterances_needed is None and risk(found) is None
    assert not found.violated and not found.satisfied


def test_there_is_no_estimate_of_what_was_not_measured() -> None:
    silence = SetScore((0, 0), (0, 0))
    for pair in ((None, score(400)), (score(400), None), (silence, silence), (None, None)):
        assert estimate(*pair) is None and delta(*pair) is None


@pytest.mark.parametrize("limit", KINDS, ids=str)
def test_the_draws_are_those_that_are_asked_for(limit: Criterion) -> None:
    """The seed is that of the sweep, for every kind of limit."""
    before, after = score(400), SetScore((0, 2) * (N // 2), (20,) * N)

    def drawn(seed: int, resamples: int = 60) -> list[float]:
        found = estimate_of(limit, before, after, resamples=resamples, seed=seed)
        assert found is not None
        return list(map(float, found.pivots))

    assert len(drawn(5)) == 60 and len(drawn(5, 70)) == 70
    assert drawn(5) == drawn(5) != drawn(6)


def test_one_of_two_shares_out_the_error() -> None:
    """A set proves the limit alone; as one of two it must do so at twice the confidence."""
    before = {"noisy": score(400), "quiet": score(400)}
    after = {"noisy": score(386), "quiet": score(440)}
    found: dict[str, LimitVerdict] = {}
    for metric, among in (("noisy_wer", ()), ("any_also_wer", ("noisy_wer", "quiet_wer"))):
        limit = Criterion(metric, "not_worse", among=among)
        [found[metric]] = judge(
            Scores("f", after), Scores("f", before), guardrails=[limit]
        ).guardrails
    alone, shared = found["noisy_wer"], found["any_also_wer"]
    assert shared.estimate is not None and shared.estimate == alone.estimate
    assert alone.upper == shared.estimate.upper(0.95) < shared.upper == shared.estimate.upper(0.975)


def test_limits_of_a_sweep_file_become_criteria() -> None:
    also = {name: AlsoSet(manifest=Path(f"/{name}")) for name in ("noisy", "far")}
    data = make_spec().data.model_copy(update={"also": also})
    spec = make_spec(
        data=data,
        guardrails={
            "heldout_wer": Limit(max_regression="5%", max_wer="2x"),
            "every_also_wer": Limit(asks="not_worse"),
        },
        acceptance={"domain_cer": Limit(max_cer=40.0), "any_also_wer": Limit(asks="not_worse")},
    )
    assert guardrails_of(spec) == (
        Criterion("heldout_wer", "max_regression", 5.0, "proven", "percent"),
        Criterion("heldout_wer", "max_rate", 2.0, "proven", "times"),
        Criterion("noisy_wer", "not_worse", 0.0, "proven"),
        Criterion("far_wer", "not_worse", 0.0, "proven"),
    )
    assert acceptance_of(spec) == (
        Criterion("domain_cer", "max_rate", 40.0, "point"),
        Criterion("any_also_wer", "not_worse", 0.0, "point", among=("noisy_wer", "far_wer")),
    )


@pytest.mark.parametrize(
    ("limit", "criterion"),
    [
        (Limit(min_gain="12.5%"), Criterion("m", "min_gain", 12.5, "proven", "percent")),
        (Limit(max_regression="10%"), Criterion("m", "max_regression", 10.0, "point", "percent")),
        (Limit(max_wer="1.25x"), Criterion("m", "max_rate", 1.25, "point", "times")),
        (Limit(max_wer=12.5), Criterion("m", "max_rate", 12.5, "point")),
    ],
    ids=str,
)
def test_a_limit_is_the_whole_number_that_is_written(limit: Limit, criterion: Criterion) -> None:
    expected = replace(criterion, metric="domain_wer")
    assert acceptance_of(make_spec(acceptance={"domain_wer": limit})) == (expected,)


def test_the_risk_of_a_limit_that_holds_undecided() -> None:
    """With many utterances the bounds are nearly normal: the chance is that of the normal
    distribution.
    """
    generator = np.random.default_rng(3)
    before = SetScore(tuple(generator.binomial(20, 0.05, 2000).tolist()), (20,) * 2000)
    changed = tuple(
        int(e)
        for e in np.asarray(before.errors)
        + generator.choice([-1, 0, 1], 2000, p=[0.08, 0.83, 0.09])
    )
    after = SetScore(tuple(max(0, e) for e in changed), (20,) * 2000)
    change = delta(before, after)
    assert change is not None
    limit = Criterion("domain_wer", "max_regression", change + 0.05)
    verdict = answer(limit, before, after)
    found = risk(verdict)
    assert verdict.estimate is not None and found is not None
    expected = 1 - NormalDist().cdf(0.05 / verdict.estimate.standard_error)
    assert found.chance == pytest.approx(expected, abs=0.03)
    wanted = 2000 * (1.645 * verdict.estimate.standard_error / 0.05) ** 2
    assert found.utterances == math.ceil(wanted)
    assert (
        risk(answer(Criterion("domain_wer", "max_regression", change + 9), before, after)) is None
    ), "proven"
    assert risk(answer(Criterion("domain_wer", "max_regression", change), before, after)) is None, (
        "does not hold"
    )


def test_the_chance_is_that_of_the_bounds() -> None:
    estimated = estimate(score(450), score(460), resamples=2000, seed=0)
    assert estimated is not None
    for confidence in (0.8, 0.9, 0.95, 0.99):
        assert estimated.chance_above(estimated.upper(confidence)) == pytest.approx(
            1 - confidence, abs=0.03
        )


# rates beside the WER

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


# the training loss


@pytest.mark.parametrize(
    ("losses", "holds", "evidence"),
    [
        ((2.0,), None, "undecided"),
        ((2.0, 1.0), True, "undecided"),
        ((4.0, 3.0, 2.0, 1.0), True, "proven"),
        ((4.0, 3.0, 3.5, 2.0, 1.0, 0.5), True, "proven"),
        ((1.0, 2.0, 3.0, 4.0), False, "violated"),
        ((3.0, 1.0, 2.0), True, "undecided"),
        ((1.0, 3.0, 2.0), False, "undecided"),
        ((1.0, 2.0, 3.0), False, "undecided"),
        ((2.0, 2.0, 2.0), False, "undecided"),
        ((2.0, math.nan), None, "undecided"),
    ],
)
def test_a_loss_that_falls_by_and_large(
    losses: tuple[float, ...], holds: bool | None, evidence: str
) -> None:
    verdict = judge_trend(Criterion("train_loss", "falls"), losses, 0.95)
    assert (verdict.holds, verdict.evidence) == (holds, evidence)
    if holds is not None:
        falls, rises = (
            sum(after < before if down else after > before for before, after in pairs)
            for down, pairs in ((down, list(combinations(losses, 2))) for down in (True, False))
        )
        tau = (rises - falls) / math.comb(len(losses), 2)
        assert verdict.value == pytest.approx(tau), "without ties, and 0 where all are equal"


def test_a_trend_is_called_violated_at_a_confidence_of_its_own() -> None:
    rising = (1.0, 2.0, 3.0, 4.0)  # the exact test gives 1 / 4!
    limit = Criterion("train_loss", "falls")
    for confidence, evidence in ((0.95, "violated"), (0.96, "undecided")):
        assert judge_trend(limit, rising, 0.95, confidence).evidence == evidence
        assert judge_trend(limit, rising, confidence).evidence == evidence
    assert judge_trend(limit, rising[::-1], 0.95, 0.99).evidence == "proven"


def test_a_guardrail_on_the_loss_divides_its_error_among_the_rungs() -> None:
    limit = Criterion("train_loss", "falls", 0.0, "proven")
    scored = {"domain": SetScore((1, 2), (9, 9)), "heldout": SetScore((1, 2), (9, 9))}
    tuned, untuned = Scores("f", scored, losses=(1.0, 2.0, 3.0, 4.0)), Scores("f", scored)
    found = [
        judge(tuned, untuned, guardrails=[limit], acceptance=[], resamples=50, looks=looks)
        for looks in (1, 2)
    ]
    assert [each.guardrails[0].evidence for each in found] == ["violated", "undecided"]


def test_a_loss_that_falls_at_every_rung() -> None:
    limit = Criterion("train_loss", "falls_monotonically")
    assert judge_trend(limit, (4.0, 3.0, 2.0), 0.95).holds is True
    one_rise = judge_trend(limit, (4.0, 3.0, 3.25, 1.0), 0.95)
    assert (one_rise.holds, one_rise.value, one_rise.evidence) == (False, 0.25, Evidence.VIOLATED)
    for losses in ((), (2.0,), (2.0, math.nan), (2.0, -math.inf)):
        unknown = judge_trend(limit, losses, 0.95)
        assert (unknown.holds, unknown.value, unknown.evidence) == (None, None, Evidence.UNDECIDED)
    assert judge_trend(limit, (), 0.95).baseline is judge_trend(limit, (), 0.95).tuned is None
    level = judge_trend(limit, (4.0, 3.0, 3.0), 0.95)
    assert (level.holds, level.value, level.evidence) == (False, 0.0, Evidence.VIOLATED)
    assert (level.baseline, level.tuned, level.delta) == (4.0, 3.0, None)


def test_the_loss_has_no_chance_of_a_bound_and_no_number_of_utterances() -> None:
    undecided = judge_trend(Criterion("train_loss", "falls"), (2.0, 1.0), 0.95)
    assert undecided.holds is True and risk(undecided) is None
    assert (undecided.lower, undecided.upper) == (-math.inf, math.inf)


def test_the_error_of_a_falling_loss_is_shared_among_those_that_compete() -> None:
    """Four rungs that fall have a chance of 1/24, five of 1/120."""
    falls = Criterion("train_loss", "falls", rule="proven")
    for rungs, rivals, evidence in ((4, 1, "proven"), (4, 2, "undecided"), (5, 2, "proven")):
        losses = tuple(float(rungs - rung) for rung in range(rungs))
        tuned = Scores("f", {}, losses=losses)
        verdict = judge(
            tuned, Scores("f", {}), guardrails=[], acceptance=[falls], n_comparisons=rivals
        )
        [limit] = verdict.acceptance
        assert (limit.holds, limit.evidence) == (True, evidence)


def test_limits_are_said_with_their_units() -> None:
    share = Criterion("heldout_cer", "max_regression", 5.0, unit="percent")
    assert asked_text(share) == "heldout CER rises by less than 5 % of the baseline's"
    verdict = answer(replace(share, metric="domain_wer"), score(400), score(440))
    assert (
        value_text(verdict) == "+10.0 % of the baseline"
        and allowed_text(share) == "allowed is less than +5 %"
    )
    assert (
        asked_text(Criterion("noisy_wer", "max_rate", 2.0, unit="times"))
        == "noisy WER is at most 2 times the baseline's"
    )
    assert value_of(share, None, score(1)) is None


def test_what_is_found_falls_where_what_is_missed_rises() -> None:
    lost = Criterion("terms_recall", "max_regression", 1.0)
    baseline, tuned = (
        Scores("f", {"domain_terms_recall": score(errors)}) for errors in (1000, 1300)
    )
    [limit] = judge(tuned, baseline, guardrails=[lost], resamples=500).guardrails
    assert limit.holds is False and limit.value == 3.0
    assert value_text(limit) == "-3.00 points"
    assert allowed_text(lost) == "allowed is more than -1"
    assert allowed_text(replace(lost, kind="min_gain", limit=5.0)) == "asked for is +5 or higher"
    assert allowed_text(replace(lost, kind="not_worse")) == "allowed is +0 or higher"


@pytest.mark.parametrize(
    ("limit", "noisy", "said"),
    [
        (
            Limit(max_regression="5%", rule="point"),
            460,
            "+15.0 % of the baseline at step 0 (allowed is less than +5 %)",
        ),
        (Limit(max_wer=4.5, rule="point"), 460, "4.60 % at step 0 (allowed is at most 4.5 %)"),
        (
            Limit(max_wer="2x"),
            1200,
            "3.00 times the baseline at step 0 (allowed is at most 2 times and the data prove it)",
        ),
        (
            Limit(asks="not_worse", rule="point"),
            401,
            "+0.01 points at step 0 (allowed is +0 or lower)",
        ),
    ],
)
def test_the_limit_that_is_broken_prunes_and_is_named(limit: Limit, noisy: int, said: str) -> None:
    also = {"noisy": AlsoSet(manifest=Path("/noisy"))}
    data = make_spec().data.model_copy(update={"also": also})
    spec = make_spec(
        data=data, guardrails={"heldout_wer": Limit(max_regression=0.5), "noisy_wer": limit}
    )
    before, after = (
        {name: score(400) for name in ("domain", "heldout", "noisy")} for _ in range(2)
    )
    rung = [
        judge_scores(
            spec, Scores("f", after | {"noisy": score(noisy)}), Scores("f", before), resamples=500
        )
    ]
    stop = why_stop(spec, rung, 4.0, behind=False)
    assert stop is not None and stop.rule == f"guardrail:noisy_wer:{limit.rule or 'proven'}"
    assert stop.reason == f"guardrail noisy_wer: {said}"


@pytest.mark.parametrize(
    ("at_half_scale", "said"),
    [
        ((460, 410), "at every adapter scale, allowed is less than +0.5"),
        (
            (410, 470),
            "at adapter scale 1, and each other scale breaks a guardrail too, allowed is less than +0.5",
        ),
    ],
    ids=["the same guardrail", "another guardrail"],
)
def test_what_each_adapter_scale_breaks_is_said(at_half_scale: tuple[int, int], said: str) -> None:
    noisy = AlsoSet(manifest=Path("/noisy"))
    spec = make_spec(
        data=make_spec().data.model_copy(update={"also": {"noisy": noisy}}),
        guardrails={
            metric: Limit(max_regression=0.5, rule="point")
            for metric in ("heldout_wer", "noisy_wer")
        },
    )
    before = {name: score(400) for name in ("domain", "heldout", "noisy")}
    rung = [
        judge_scores(
            spec,
            Scores(
                "f",
                before | {"heldout": score(heldout), "noisy": score(noisy)},
                step=50,
                adapter_scale=scale,
            ),
            Scores("f", before),
            resamples=500,
        )
        for scale, (heldout, noisy) in ((1.0, (455, 400)), (0.5, at_half_scale))
    ]
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})
    last = at_last_step(RunningTrial(plan, {}, 0.0, verdicts=rung))
    for stop in (why_stop(spec, rung, 4.0, behind=False), last):
        assert stop is not None and stop.rule == "guardrail:heldout_wer:point"
        assert stop.reason == f"guardrail heldout_wer: +0.55 points at step 50 ({said})"


def stopped_by_ratio(
    errors: tuple[int, ...], behind: bool = False, **changes: object
) -> tuple[str | None, str] | None:
    """Which rule ends a trial with these domain errors, one number for each adapter scale, and why;
    the baseline has 400.
    """
    spec = make_spec(
        early_stop=EarlyStop(method="ratio", ratio=1.25),
        guardrails={"heldout_wer": Limit(max_regression=0.5)},
        **changes,
    )
    before = {name: score(400) for name in ("domain", "domain_cer", "heldout")}
    rung = [
        judge_scores(
            spec,
            Scores("f", before | {spec.objective: score(count)}, step=50, adapter_scale=scale),
            Scores("f", before),
            resamples=100,
        )
        for count, scale in zip(errors, (0.5, 1.0), strict=False)
    ]
    stop = why_stop(spec, rung, 4.0, behind)
    return None if stop is None else (stop.rule, stop.reason)


def test_the_ratio_stops_what_exceeds_it_at_every_scale() -> None:
    said = "domain WER 5.01 % at step 50 is above 1.25 times the baseline (5.00 %)"
    assert stopped_by_ratio((501,)) == ("ratio", said)
    assert stopped_by_ratio((500,)) is None, "it must exceed the ratio"
    assert stopped_by_ratio((499, 900)) is stopped_by_ratio((900, 499)) is None
    assert stopped_by_ratio((900, 501)) == ("ratio", said), "the lowest is named"
    of_characters = stopped_by_ratio((501,), metric=Metric(name="domain_cer"))
    assert of_characters == ("ratio", said.replace("WER", "CER"))


def test_a_trial_behind_the_others_is_ended_by_the_rule_of_the_sweep() -> None:
    before = Scores("f", {name: score(400) for name in ("domain", "heldout")})
    for method in ("median", "asha"):
        spec = make_spec(early_stop=EarlyStop(method=method))
        rung = [judge_scores(spec, replace(before, step=50), before, resamples=100)]
        assert why_stop(spec, rung, 4.0, behind=False) is None
        stop = why_stop(spec, rung, 4.0, behind=True)
        assert stop is not None and (stop.state, stop.rule) == (TrialState.PRUNED, method)
        assert stop.reason == f"behind the other trials at step 50 ({method} rule)"


def test_a_scale_that_keeps_the_guardrails_keeps_the_trial() -> None:
    spec = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.5, rule="point")})
    before = {name: score(400) for name in ("domain", "heldout")}
    rung = [
        judge_scores(
            spec,
            Scores("f", before | {"heldout": score(heldout)}, step=50, adapter_scale=scale),
            Scores("f", before),
            resamples=100,
        )
        for scale, heldout in ((0.5, 449), (1.0, 900))
    ]
    assert why_stop(spec, rung, 4.0, behind=False) is None
    assert why_stop(spec, rung[1:], 4.0, behind=False) is not None


def test_a_trial_at_its_end_is_complete_or_pruned_by_what_it_breaks_most() -> None:
    """Of the guardrails the one farthest beyond its limit, and of its limits again that one."""
    spec = make_spec(
        guardrails={
            "heldout_wer": Limit(max_regression=0.5, max_wer=4.0),
            "domain_wer": Limit(max_regression=0.5),
        }
    )
    before = {name: score(400) for name in ("domain", "heldout")}
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})

    def end(domain: int, heldout: int | None) -> tuple[TrialState, str | None, str]:
        after = {"domain": score(domain)}
        if heldout is not None:
            after["heldout"] = score(heldout)
        tuned = Scores("f", after, step=200, adapter_scale=0.5)
        verdict = judge_scores(spec, tuned, Scores("f", before), resamples=100)
        stop = at_last_step(RunningTrial(plan, {}, 0.0, verdicts=[verdict]))
        return stop.state, stop.rule, stop.reason

    assert end(300, 400) == (TrialState.COMPLETE, None, "best at step 200, adapter scale 0.5")
    assert end(470, 455) == (
        TrialState.PRUNED,
        "guardrail:heldout_wer:point",
        "guardrail heldout_wer: 4.55 % at step 200 (allowed is at most 4 %)",
    )
    assert end(520, 455)[1:] == (
        "guardrail:domain_wer:point",
        "guardrail domain_wer: +1.20 points at step 200 (allowed is less than +0.5)",
    )
    assert end(300, None)[1:] == (
        "guardrail:heldout_wer:point",
        "guardrail heldout_wer: not measured at step 200",
    )


def test_a_result_has_the_numbers_of_the_best_measurement_and_a_failure_has_none() -> None:
    spec = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.5)})
    before = Scores("f", {name: score(400) for name in ("domain", "heldout")})
    kept, broken = (
        judge_scores(
            spec,
            Scores("f", {"domain": score(300), "heldout": score(heldout)}, 0, step, 0.5),
            before,
            resamples=100,
        )
        for heldout, step in ((410, 100), (500, 200))
    )
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})
    params = {"rank": 4}

    def ended(stop: Stop, *verdicts: Verdict) -> TrialResult:
        trial = RunningTrial(plan, params, 0.0, step=200, verdicts=list(verdicts))
        return result_of(spec, trial, stop, 1.23456)

    complete = ended(Stop(TrialState.COMPLETE, "best"), kept, broken)
    assert complete == TrialResult(
        number=0, state=TrialState.COMPLETE, reason="best", params=params, feasible=True, step=100,
        adapter_scale=0.5, wer={"domain": 3.0, "heldout": 4.1}, seconds=1.235,
        delta={"domain": -1.0, "heldout": 0.1}, constraints=kept.constraints, steps_trained=200,
    )  # fmt: skip
    pruned = ended(Stop(TrialState.PRUNED, "broken", "guardrail:heldout_wer:point"), broken)
    assert (pruned.feasible, pruned.step, pruned.wer["heldout"]) == (False, 200, 5.0)
    assert (pruned.pruned_by, pruned.constraints) == (
        "guardrail:heldout_wer:point",
        broken.constraints,
    )
    for stop, verdicts in (
        (Stop(TrialState.FAIL, "loss is not finite"), (kept,)),
        (Stop(TrialState.PRUNED, "no time", "wall_clock"), ()),
    ):
        empty = ended(stop, *verdicts)
        assert (empty.feasible, empty.step, empty.adapter_scale) == (False, None, None)
        assert (empty.wer, empty.delta, empty.steps_trained) == ({}, {}, 200)
        assert empty.constraints == {"heldout_wer": UNMEASURED}


def test_scales_of_earlier_steps_say_nothing_of_the_last_one() -> None:
    """Both scales of the last step break the guardrail, at a limit of another one exactly; the
    smaller scale broke another one before.
    """
    limits = {"heldout_wer": Limit(max_regression=0.5), "domain_wer": Limit(max_wer=4.0)}
    spec = make_spec(guardrails=limits)
    before = {name: score(400) for name in ("domain", "heldout")}
    measured = (
        (100, 0.25, 480, 400),
        (200, 0.5, 400, 455),
        (200, 1.0, 400, 456),
    )
    verdicts = [
        judge_scores(
            spec,
            Scores(
                "f",
                {"domain": score(domain), "heldout": score(heldout)},
                step=step,
                adapter_scale=scale,
            ),
            Scores("f", before),
            resamples=100,
        )
        for step, scale, domain, heldout in measured
    ]
    plan = trial_plan(make_spec(), 0, {"learning_rate": 1e-3, "rank": 4, "max_steps": 200})
    stop = at_last_step(RunningTrial(plan, {}, 0.0, verdicts=verdicts))
    assert stop.reason == (
        "guardrail heldout_wer: +0.55 points at step 200 "
        "(at every adapter scale, allowed is less than +0.5)"
    )


def test_recall_is_shown_as_what_is_found_and_its_rise_is_positive() -> None:
    lost, plain = "confirm_domain_terms_recall", "domain"
    assert (shown_rate(lost, 30.0), shown_rate(plain, 30.0)) == (70.0, 30.0)
    assert (shown_change(lost, -2.0), shown_change(plain, -2.0)) == (2.0, -2.0)
    assert shown_bounds(lost, -3.0, 1.0) == (-1.0, 3.0)
    assert shown_bounds(plain, -3.0, 1.0) == (-3.0, 1.0)


@pytest.mark.parametrize(
    ("rate", "is_share", "said"),
    [
        ("xterms_recall", False, "xterms recall WER"),
        ("far_recall", False, "far recall WER"),
        ("far_terms_cer", False, "far terms CER"),
        ("domain_terms_recall", True, "domain terms recall"),
        ("confirm_domain_cer", False, "domain CER"),
    ],
)
def test_a_set_whose_name_is_like_a_rates_is_no_rate(rate: str, is_share: bool, said: str) -> None:
    assert is_share_found(rate) == is_share and rate_text(rate) == said


def verdict_of(**rates: tuple[SetScore, SetScore]) -> Verdict:
    before, after = ({name: pair[at] for name, pair in rates.items()} for at in (0, 1))
    return judge(
        Scores("f", after), Scores("f", before), guardrails=[], metric="domain_cer", resamples=50
    )


def test_the_objective_may_be_a_cer() -> None:
    assert (
        verdict_of(domain=(score(1), score(2)), domain_cer=(score(100), score(50))).objective == 0.5
    )
