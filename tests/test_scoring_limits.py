"""Limits of every kind: what holds literally, what the data prove, and what stays open."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from orchestrator.records.results import Measurement, SetMeasurement
from orchestrator.reporting.documents.caveats import _evidence_sentences
from orchestrator.scoring.bootstrap import paired_delta
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
    Criterion,
    Evidence,
    LimitVerdict,
    Unit,
    estimate_of,
    one_of,
    risk,
    value_of,
)
from orchestrator.scoring.rates import SetScore, delta, estimate, relative_delta
from orchestrator.sweepfile.data import AlsoSet
from orchestrator.sweepfile.limits import Limit
from orchestrator.verdicts.judging import acceptance_of, guardrails_of, scores
from tests.running_support import make_spec
from tests.scoring_support import N, answer, score


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


def test_exactly_at_a_limit_no_number_of_utterances_decides() -> None:
    """Of 1.1 times the baseline and of precision the estimate differs from the measured value in
    its last digit, which asked for 1e31 utterances.
    """
    at_most = answer(Criterion("domain_wer", "max_rate", 1.1, unit="times"), score(400), score(440))
    heard = [(7,) * 49 + (last,) for last in (7, 9)]
    before, after = (
        SetScore((3,) * 10 + (0,) * 39 + (wrong,), units, of_hypotheses=True)
        for wrong, units in zip((0, 4), heard, strict=True)
    )
    change = delta(before, after)
    assert change is not None and change > 0
    precise = answer(Criterion("domain_wer", "max_regression", change), before, after)
    assert precise.estimate is not None and precise.estimate.point != precise.value
    for limit, at in ((at_most, 1.1), (precise, change)):
        assert (limit.value, limit.evidence) == (at, Evidence.UNDECIDED)
        assert limit.utterances_needed is None
    found = risk(at_most)
    assert found is not None and found.utterances is None
    assert found.chance == pytest.approx(0.5, abs=0.05)


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


@pytest.mark.parametrize("unit", ["points", "times"])
def test_no_bound_of_a_rate_is_below_0(unit: Unit) -> None:
    """Three utterances without an error say little about the next ones, but no rate is negative."""
    before, after = score(3, 3, 1), score(0, 3, 1)
    found = answer(Criterion("domain_wer", "max_rate", 1.0, unit=unit), before, after)
    assert found.estimate is not None and found.estimate.lower() < -100
    assert (found.value, found.lower) == (0.0, 0.0) and math.isfinite(found.upper)
    change = answer(Criterion("domain_wer", "not_worse"), before, after)
    assert change.lower < -100


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


def test_a_limit_next_to_nothing_is_one_that_no_number_of_utterances_decides() -> None:
    limit = Criterion("domain_wer", "max_regression", 5e-324)
    found = answer(limit, score(450), score(450))
    assert found.holds is True and found.utterances_needed is None


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
    assert broken.utterances_needed is None and open_.utterances_needed is not None
    assert both.utterances_needed == open_.utterances_needed, "it is not at the limit"
    verdict = judge(
        Scores("f", {"many": score(4400, 4000), "few": SetScore((11, *(1,) * 11), (20,) * 12)}),
        Scores("f", {"many": score(4000, 4000), "few": SetScore((8, *(1,) * 11), (20,) * 12)}),
        guardrails=[],
        acceptance=[asked],
        resamples=500,
    )
    assert verdict.acceptance[0].evidence is Evidence.UNDECIDED
    assert not any("cannot tell" in said for said in _evidence_sentences(verdict))


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
