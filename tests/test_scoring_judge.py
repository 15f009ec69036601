import itertools
import math
import random
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pytest

from orchestrator.errors import FingerprintError
from orchestrator.scoring.judge import (
    Decision,
    Scores,
    Verdict,
    best_feasible,
    decide,
    error_budget,
    judge,
    optimism,
    rate_name,
)
from orchestrator.scoring.limits import (
    UNMEASURED,
    Criterion,
    Evidence,
    LimitVerdict,
    Rule,
    constraint,
)
from orchestrator.scoring.rates import SetScore, delta, pool
from orchestrator.sweepfile.limits import Limit
from orchestrator.verdicts.judging import acceptance_of, criteria, guardrails_of
from tests.running_support import make_spec
from tests.scoring_support import N, score

GAIN = Criterion("domain_wer", "min_gain", 1.0, "proven")
REGRESSION = Criterion("heldout_wer", "max_regression", 0.2)
PRUNING = Criterion("heldout_wer", "max_regression", 0.2, "proven")


def scores(
    domain: int | None, heldout: int | None, fingerprint: str = "f", **kwargs: Any
) -> Scores:
    sets = {"domain": domain, "heldout": heldout}
    return Scores(
        fingerprint,
        {name: score(errors) for name, errors in sets.items() if errors is not None},
        **kwargs,
    )


BASELINE = scores(1200, 450)


def verdict(domain: int | None, heldout: int | None, **kwargs: Any) -> Verdict:
    return judge(
        scores(domain, heldout, number=kwargs.pop("number", 7), step=kwargs.pop("step", 300)),
        BASELINE,
        guardrails=[PRUNING],
        acceptance=[GAIN, REGRESSION],
        resamples=400,
        **kwargs,
    )


def test_a_good_trial_is_feasible_and_accepted() -> None:
    good = verdict(1000, 452)
    assert good.feasible
    assert good.decision is Decision.ACCEPT
    assert good.rates == {"domain": 10.0, "heldout": 4.52}
    assert good.delta == {"domain": -2.0, "heldout": 0.02}
    assert good.constraints == {"heldout_wer": pytest.approx(-0.18)}
    gain, regression = good.acceptance
    assert (gain.baseline, gain.tuned, gain.delta, gain.holds, gain.evidence) == (
        12.0,
        10.0,
        -2.0,
        True,
        "proven",
    )
    assert regression.evidence is Evidence.PROVEN
    assert gain.lower < -2.0 < gain.upper < -1.0
    assert gain.utterances_needed is None


def test_limits_are_compared_as_exact_decimals() -> None:
    """100 * 470/10000 - 100 * 450/10000 is 0.2000000000000002 in floats; 20 errors in 10,000 words
    are 0.2 points.
    """
    assert 100 * 470 / 10_000 - 100 * 450 / 10_000 != 0.2
    at_limit = verdict(1100, 470)
    gain, regression = at_limit.acceptance
    assert regression.delta == 0.2
    assert regression.holds is False, "max_regression is strict"
    assert gain.delta == -1.0
    assert gain.holds is True, "min_gain is not"
    assert not at_limit.feasible
    assert 0 < at_limit.constraints["heldout_wer"] < 1e-6, "Optuna would take 0 for feasible"
    assert verdict(1100, 469).feasible
    assert verdict(1101, 450).acceptance[0].holds is False


def test_evidence_depends_on_the_bounds_not_on_the_point() -> None:
    assert verdict(1000, 452).guardrails[0].evidence is Evidence.PROVEN
    assert verdict(1000, 466).guardrails[0].evidence is Evidence.UNDECIDED
    broken = verdict(1000, 600)
    assert broken.guardrails[0].evidence is Evidence.VIOLATED
    assert broken.violated == ("heldout_wer",)
    assert verdict(1000, 466).violated == ()


def test_undecided_limits_say_how_many_utterances_would_decide() -> None:
    undecided = verdict(1000, 466).guardrails[0]
    estimate = undecided.estimate
    assert estimate is not None and undecided.delta is not None
    expected = N * (2.49 * estimate.standard_error / (0.2 - undecided.delta)) ** 2
    assert undecided.utterances_needed == math.ceil(expected) > N
    assert verdict(1000, 470).guardrails[0].utterances_needed is None, (
        "at the limit no number decides"
    )


def test_looking_often_makes_violation_harder_to_claim_and_nothing_else() -> None:
    """30 more errors are violated at one look with this seed, not when the error is shared among
    50.
    """
    once, often = (verdict(1000, 482, looks=looks) for looks in (1, 50))
    assert once.guardrails[0].evidence is Evidence.VIOLATED
    assert often.guardrails[0].evidence is Evidence.UNDECIDED
    assert (
        replace(often.guardrails[0], evidence=Evidence.VIOLATED, utterances_needed=None)
        == once.guardrails[0]
    )
    assert often.constraints == once.constraints
    at_the_edge = verdict(1000, 479, looks=50)
    assert at_the_edge.guardrails[0].evidence is Evidence.UNDECIDED
    assert at_the_edge.acceptance[1].evidence is Evidence.VIOLATED, "acceptance looks once"
    assert error_budget(0.95, 10) == pytest.approx(0.995)
    assert error_budget(0.95, 1) == error_budget(0.95, 0) == pytest.approx(0.95)


@pytest.mark.parametrize("looks", [1, 5, 20])
def test_repeated_looks_prune_a_trial_at_the_limit_at_most_as_often_as_promised(looks: int) -> None:
    """A normal delta exactly at its limit, looked at independently: the worst case of
    Bonferroni.
    """
    generator = random.Random(looks)
    reach = NormalDist().inv_cdf(error_budget(0.95, looks))
    pruned = (
        sum(any(generator.gauss(0, 1) > reach for _ in range(looks)) for _ in range(4_000)) / 4_000
    )
    assert 0.035 <= pruned <= 0.06


def test_what_was_not_measured_fails_closed() -> None:
    for domain, heldout in ((1000, None), (None, 452), (None, None)):
        missing = verdict(domain, heldout)
        assert missing.feasible is (heldout is not None)
        assert missing.decision is Decision.INCONCLUSIVE
        assert "heldout" in missing.rates or missing.constraints == {"heldout_wer": UNMEASURED}
        assert all(limit.holds is None for limit in missing.acceptance if limit.delta is None)
    assert verdict(1150, None).decision is Decision.REJECT, (
        "a criterion that fails fails, whatever else is missing"
    )


def test_a_baseline_without_the_set_fails_closed() -> None:
    alone = judge(scores(1000, 452), scores(1200, None), guardrails=[REGRESSION])
    assert not alone.feasible
    assert alone.delta == {"domain": -2.0}
    assert alone.decision is None


BAD = (math.nan, math.inf, -math.inf, -1)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("side", ["tuned", "baseline"])
@pytest.mark.parametrize("field", ["errors", "units"])
def test_impossible_counts_are_not_measurements(bad: float, side: str, field: str) -> None:
    healthy = score(450)
    damaged: dict[str, Any] = {field: (bad, *getattr(healthy, field)[1:])}
    broken = replace(healthy, **damaged)
    tuned, baseline = (broken, healthy) if side == "tuned" else (healthy, broken)
    judged = judge(
        Scores("f", {"heldout": tuned}), Scores("f", {"heldout": baseline}), guardrails=[REGRESSION]
    )
    assert judged.guardrails[0].holds is None
    assert not judged.feasible
    assert judged.constraints == {"heldout_wer": UNMEASURED}


def test_a_set_without_words_is_not_a_measurement() -> None:
    silence = SetScore((0, 0), (0, 0))
    assert silence.rate is None
    assert SetScore((), ()).rate is None
    assert delta(silence, silence) is None


def _random_score(generator: random.Random, words: tuple[int, ...]) -> SetScore | None:
    if generator.random() < 0.15:
        return None
    errors: list[Any] = [generator.randrange(0, 6) for _ in words]
    if errors and generator.random() < 0.2:
        errors[generator.randrange(len(errors))] = generator.choice(BAD)
    return SetScore(tuple(errors), words)


def _random_side(generator: random.Random, words: dict[str, tuple[int, ...]]) -> Scores:
    found = {name: _random_score(generator, count) for name, count in words.items()}
    return Scores("f", {name: one for name, one in found.items() if one is not None})


@pytest.mark.parametrize("seed", range(300))
def test_judging_is_total_and_fails_closed(seed: int) -> None:
    generator = random.Random(seed)
    words = {
        name: tuple(generator.choice((0, 3, 8)) for _ in range(generator.randrange(0, 12)))
        for name in ("domain", "heldout")
    }
    limit = generator.choice((0.0, 0.2, 1.0, 40.0, math.inf, math.nan))
    guardrails = [
        REGRESSION,
        Criterion("domain_wer", "max_regression", limit),
        Criterion("domain_wer", "min_gain", 0.0),
    ]
    tuned, baseline = (_random_side(generator, words) for _ in range(2))
    judged = judge(
        tuned, baseline, guardrails=guardrails, acceptance=[GAIN, REGRESSION], resamples=50, looks=3
    )
    for one in (*judged.guardrails, *judged.acceptance):
        assert (one.holds is None) == (one.delta is None)
        assert one.delta is None or math.isfinite(one.delta)
        assert one.lower <= one.upper
        assert one.evidence is not Evidence.VIOLATED or one.holds is False
        assert one.evidence is not Evidence.PROVEN or one.holds is True
    assert judged.feasible == all(one.holds is True for one in judged.guardrails)
    assert set(judged.constraints) == {"heldout_wer", "domain_wer"}
    assert all(math.isfinite(value) for value in judged.constraints.values())
    assert judged.feasible == all(value <= 0 for value in judged.constraints.values())
    assert all(math.isfinite(value) for value in judged.rates.values())
    assert judged.decision is not Decision.ACCEPT or judged.feasible


def _limit(
    criterion: Criterion, holds: bool | None, evidence: Evidence, upper: float
) -> LimitVerdict:
    return LimitVerdict(criterion, 12.0, 11.0, -1.0, holds, evidence, -9.0, upper, None, None)


P, V, U = Evidence.PROVEN, Evidence.VIOLATED, Evidence.UNDECIDED


@pytest.mark.parametrize(
    ("gain", "guard", "point", "default", "proven"),
    [
        ((False, V, -0.5), (True, P, 0.1), "REJECT", "REJECT", "REJECT"),
        ((False, U, -0.5), (True, P, 0.1), "REJECT", "REJECT", "REJECT"),
        ((True, P, -1.1), (False, U, 0.4), "REJECT", "REJECT", "REJECT"),
        ((False, U, -0.5), (None, U, math.inf), "REJECT", "REJECT", "REJECT"),
        ((True, P, -1.1), (None, U, math.inf), "INCONCLUSIVE", "INCONCLUSIVE", "INCONCLUSIVE"),
        ((True, U, 0.1), (True, P, 0.1), "INCONCLUSIVE", "INCONCLUSIVE", "INCONCLUSIVE"),
        ((True, U, 0.0), (True, P, 0.1), "INCONCLUSIVE", "INCONCLUSIVE", "INCONCLUSIVE"),
        ((True, U, -0.1), (True, P, 0.1), "ACCEPT", "INCONCLUSIVE", "INCONCLUSIVE"),
        ((True, P, -1.1), (True, U, 0.3), "ACCEPT", "ACCEPT", "INCONCLUSIVE"),
        ((True, P, -1.1), (True, P, 0.1), "ACCEPT", "ACCEPT", "ACCEPT"),
    ],
)
def test_the_decision_table(gain: Any, guard: Any, point: str, default: str, proven: str) -> None:
    def decision(gain_rule: Rule, guard_rule: Rule) -> Decision:
        asked = (
            _limit(replace(GAIN, rule=gain_rule), *gain),
            _limit(replace(REGRESSION, rule=guard_rule), *guard),
        )
        # The rule of a guardrail is about pruning and changes no verdict.
        assert decide(asked, [_limit(replace(REGRESSION, rule="proven"), *guard)]) == decide(
            asked, []
        )
        return decide(asked, [])

    assert (decision("point", "point"), decision("proven", "point"), decision("proven", "proven")) == (
        point, default, proven,
    )  # fmt: skip


def test_a_guardrail_that_is_open_keeps_an_accepted_gain_from_acceptance() -> None:
    """It need not be asked of the acceptance criteria as well."""
    proven = _limit(GAIN, True, P, -1.1)
    for guard, decision in (
        (_limit(PRUNING, True, U, 0.3), Decision.ACCEPT),
        (_limit(PRUNING, None, U, math.inf), Decision.INCONCLUSIVE),
        (_limit(replace(GAIN, rule="point"), True, U, -0.1), Decision.ACCEPT),
        (_limit(replace(GAIN, rule="point"), True, U, 0.0), Decision.INCONCLUSIVE),
        (_limit(PRUNING, False, U, 0.3), Decision.REJECT),
    ):
        assert decide([proven], [guard]) is decision


def test_the_rules_a_sweep_file_has_by_default() -> None:
    limit = Limit(max_regression=0.2)
    spec = make_spec(
        guardrails={"heldout_wer": limit},
        acceptance={"domain_wer": Limit(min_gain=1.0), "heldout_wer": limit},
    )
    assert [criterion.rule for criterion in guardrails_of(spec)] == ["proven"]
    assert [criterion.rule for criterion in acceptance_of(spec)] == ["proven", "point"]
    chosen = make_spec(
        guardrails={"heldout_wer": Limit(max_regression=0.2, rule="point")},
        acceptance={"domain_wer": Limit(min_gain=1.0, rule="point")},
    )
    assert [criterion.rule for criterion in (*guardrails_of(chosen), *acceptance_of(chosen))] == [
        "point",
        "point",
    ]


def test_rivals_on_the_same_data_make_a_proof_harder_and_change_no_number() -> None:
    alone, one_of_many = (
        verdict(1075, 452, n_comparisons=n_comparisons) for n_comparisons in (1, 30)
    )
    assert alone.decision is Decision.ACCEPT
    assert one_of_many.decision is Decision.INCONCLUSIVE
    gain, shared = alone.acceptance[0], one_of_many.acceptance[0]
    assert gain.lower > shared.lower and gain.upper < shared.upper
    assert shared.estimate is not None and shared.upper == shared.estimate.upper(1 - 0.05 / 30)
    assert shared.utterances_needed is not None
    assert (alone.delta, alone.constraints) == (one_of_many.delta, one_of_many.constraints)


def test_what_is_violated_is_so_by_the_bounds_that_are_shown() -> None:
    """One finalist of 30 whose gain is too small: at 95 % that would be proven."""
    for gained in range(960, 1060, 5):
        judged = verdict(1200 - (gained - 960), 452, n_comparisons=30)
        for limit in (*judged.acceptance, *judged.guardrails):
            violated = limit.evidence is Evidence.VIOLATED
            assert violated == (limit.lower > limit.criterion.threshold)


def test_a_guardrail_under_the_point_rule_is_broken_by_the_measured_number() -> None:
    def broken(heldout: int | None, rule: Rule) -> tuple[str, ...]:
        guardrails = [replace(REGRESSION, rule=rule)]
        return judge(scores(1000, heldout), BASELINE, guardrails=guardrails, resamples=400).violated

    assert broken(471, "point") == ("heldout_wer",)
    assert broken(471, "proven") == ()
    assert broken(600, "point") == broken(600, "proven") == ("heldout_wer",)
    assert broken(452, "point") == broken(None, "point") == ()


def test_nothing_to_decide_is_not_an_acceptance() -> None:
    assert decide([], []) is Decision.INCONCLUSIVE
    assert (
        judge(scores(1000, 450), BASELINE, guardrails=[REGRESSION], resamples=50).decision is None
    )


def test_the_decision_is_monotonic_in_what_was_measured() -> None:
    rank = {Decision.REJECT: 0, Decision.INCONCLUSIVE: 1, Decision.ACCEPT: 2}
    decisions = [verdict(errors, 452).decision for errors in range(1300, 900, -20)]
    assert all(d is not None for d in decisions)
    ranks = [rank[d] for d in decisions if d is not None]
    assert ranks == sorted(ranks)
    assert {0, 2} <= set(ranks)


def test_confirmation_reads_the_confirm_sets() -> None:
    both = {
        "domain": score(1000),
        "heldout": score(450),
        "confirm_domain": score(1190),
        "confirm_heldout": score(450),
    }
    base = {name: score(1200 if "domain" in name else 450) for name in both}
    search, confirmed = (
        judge(
            Scores("f", both),
            Scores("f", base),
            guardrails=[REGRESSION],
            acceptance=[GAIN],
            confirmed=confirmed,
            resamples=50,
        )
        for confirmed in (False, True)
    )
    assert (search.decision, search.confirmed, search.objective) == (Decision.ACCEPT, False, 10.0)
    assert (confirmed.decision, confirmed.confirmed, confirmed.objective) == (
        Decision.REJECT,
        True,
        11.9,
    )
    assert optimism(search.delta["domain"], confirmed.delta["confirm_domain"]) == pytest.approx(1.9)
    assert rate_name("heldout_wer", True) == "confirm_heldout"


def test_seeds_are_pooled_into_their_mean_without_adding_utterances() -> None:
    base = SetScore((2,) * 60, (20,) * 60)
    seeds = [SetScore(tuple((i + s) % 3 for i in range(60)), (20,) * 60) for s in range(3)]
    pooled = pool(seeds)
    assert pooled.decodings == 3
    assert pooled.rate == pytest.approx(sum(s.rate or 0 for s in seeds) / 3)
    assert delta(base, pooled) == pytest.approx(sum(delta(base, s) or 0 for s in seeds) / 3)
    same = judge(
        Scores("f", {"domain": pool([seeds[0]] * 3)}),
        Scores("f", {"domain": base}),
        guardrails=[],
        acceptance=[GAIN],
    )
    once = judge(
        Scores("f", {"domain": seeds[0]}),
        Scores("f", {"domain": base}),
        guardrails=[],
        acceptance=[GAIN],
    )
    assert same.acceptance[0].delta == once.acceptance[0].delta
    assert same.acceptance[0].lower == pytest.approx(once.acceptance[0].lower)
    assert pool([pool(seeds[:2]), pool(seeds[:2])]).decodings == 4


@pytest.mark.parametrize("of_hypotheses", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [(1, 1, True), (1, 2, True), (1, 3, True), (2, 4, True), (2, 3, False)],
)
def test_pooled_seeds_are_compared_with_a_baseline_of_the_same_utterances(
    before: int, after: int, alike: bool, of_hypotheses: bool
) -> None:
    """Each decoding of the baseline stands beside equally many of the tuned model."""
    one = replace(score(400), of_hypotheses=of_hypotheses)
    key = "domain_terms_precision" if of_hypotheses else "domain"
    tuned, baseline = (Scores("f", {key: pool([one] * times)}) for times in (after, before))
    if not alike:
        with pytest.raises(FingerprintError, match="different utterances in the domain"):
            judge(tuned, baseline, guardrails=[])
        return
    assert judge(tuned, baseline, guardrails=[]).delta == {key: 0.0}


def test_only_like_can_be_pooled() -> None:
    with pytest.raises(ValueError, match="nothing to pool"):
        pool([])
    with pytest.raises(FingerprintError) as refused:
        pool([score(100), score(100, words=21)])
    assert str(refused.value) == (
        "The seeds of a finalist were scored on different utterances; measure them again."
    )


@pytest.mark.parametrize("of_hypotheses", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"speakers": ("a", "c")},
        {"speakers": ()},
        {"decodings": 2},
        {"errors": (1,), "units": (5,), "speakers": ("a",)},
    ],
    ids=str,
)
def test_seeds_of_other_utterances_are_not_pooled(
    changes: dict[str, Any], of_hypotheses: bool
) -> None:
    one = SetScore((1, 2), (5, 5), ("a", "b"), of_hypotheses=of_hypotheses)
    assert pool([one, one]).speakers == ("a", "b")
    with pytest.raises(FingerprintError, match="different utterances"):
        pool([one, replace(one, **changes)])


def test_different_evaluations_are_never_compared() -> None:
    with pytest.raises(FingerprintError) as refused:
        judge(scores(1, 1, "a" * 64, number=7, step=300), scores(1, 1, "b" * 64), guardrails=[])
    assert str(refused.value) == (
        "Trial 7 at step 300 was evaluated as aaaaaaaaaaaa, the baseline as bbbbbbbbbbbb: their numbers cannot be "
        "compared. A manifest, the audio pipeline, the normaliser, decoding, the model or its dtype changed in "
        "between. Put it back as it was, or start a new study with --fork NAME."
    )


def test_different_utterances_under_one_fingerprint_are_never_compared() -> None:
    other = Scores("c" * 64, {"heldout": score(450, words=21)}, number=7, step=300)
    with pytest.raises(FingerprintError) as refused:
        judge(other, Scores("c" * 64, {"heldout": score(450)}), guardrails=[])
    assert str(refused.value) == (
        "Trial 7 at step 300 and the baseline have different utterances in the heldout set, though both were evaluated "
        "as cccccccccccc. One of the two records is damaged: measure it again."
    )


def test_the_best_is_the_lowest_domain_wer_among_the_feasible() -> None:
    trials = [
        verdict(900, 600, number=0),
        verdict(1010, 455, number=1),
        verdict(1000, 455, number=2),
        verdict(None, 450, number=3),
        verdict(1005, None, number=4),
    ]
    for order in itertools.permutations(trials):
        best = best_feasible(order)
        assert best is not None and best.number == 2
    assert best_feasible([trials[0], trials[3], trials[4]]) is None
    assert best_feasible([]) is None


def test_a_lower_domain_wer_is_better_than_a_smaller_regression() -> None:
    """As long as the guardrail is kept."""
    gains, keeps = verdict(1000, 465, number=2, step=300), verdict(1001, 440, number=1, step=100)
    assert best_feasible([keeps, gains]) == gains


def test_ties_go_to_less_regression_then_fewer_steps_then_the_earlier_trial() -> None:
    last = verdict(1000, 455, number=1, step=100)
    steps = verdict(1000, 452, number=2, step=200)
    number = verdict(1000, 452, number=4, step=100)
    first = verdict(1000, 452, number=3, step=100)
    number = replace(number, adapter_scale=0.25)
    scaled = replace(first, adapter_scale=0.5)
    ranking, left = [], [last, steps, number, first, scaled]
    while left:
        best = best_feasible(left)
        assert best is not None
        left.remove(best)
        ranking.append(best)
    assert ranking == [scaled, first, number, steps, last]


def test_criteria_come_from_the_limits_of_the_sweep_file_in_order() -> None:
    limits = {
        "heldout_wer": Limit(max_regression=0.2),
        "domain_wer": Limit(max_regression=0.5, min_gain=0.0),
    }
    assert criteria(make_spec(), limits) == (
        REGRESSION,
        Criterion("domain_wer", "max_regression", 0.5),
        Criterion("domain_wer", "min_gain", 0.0, "proven"),
    )
    assert criteria(make_spec(), {"heldout_wer": Limit(max_regression=0.2, rule="proven")}) == (
        PRUNING,
    )


def test_two_limits_on_one_metric_are_one_constraint() -> None:
    limits = [
        Criterion("domain_wer", "max_regression", 0.5),
        Criterion("domain_wer", "min_gain", 1.0),
    ]
    judged = judge(scores(1150, None), BASELINE, guardrails=limits, resamples=50)
    assert judged.constraints == {"domain_wer": pytest.approx(0.5)}
    assert constraint(judged.guardrails[:1]) == pytest.approx(-1.0)
    reached = judge(scores(1100, None), BASELINE, guardrails=limits[1:], resamples=50)
    assert reached.feasible and reached.constraints == {"domain_wer": 0.0}, "a gain may be exact"


@pytest.mark.parametrize(("errors", "speakers"), [((1, 2), ()), ((1,), ("a", "b"))])
def test_a_score_covers_the_same_utterances_throughout(
    errors: tuple[int, ...], speakers: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="same utterances"):
        SetScore(errors, (5,), speakers)
