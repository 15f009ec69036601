"""What a report says of limits that nothing decides, and of shares of the training set: each in words
that are true of it.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import train_shares
from orchestrator.reporting.documents.caveats import (
    _chosen_sentences,
    _decoding_sentences,
    _risk_sentence,
    _shared_error,
    undecided_sentence,
)
from orchestrator.reporting.documents.headline import headline
from orchestrator.reporting.rendering.report_blocks import Paragraph, Table
from orchestrator.reporting.wording import (
    beside_answer,
    bounds,
    change_bounds,
    ended_text,
    limit_row,
    plotted_limits,
    proof,
    utterances_text,
)
from orchestrator.scoring.limit_text import allowed_text, value_text
from orchestrator.scoring.limits import Criterion, Kind, Risk, estimate_of, judge_limit
from orchestrator.scoring.rates import SetScore
from orchestrator.scoring.trend import judge_trend
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.verdicts.conclusion import Conclusion, Confirmed, SeedRun
from tests.running_support import make_spec
from tests.scoring_support import set_with

HELDOUT = Criterion("heldout_wer", "max_regression", 0.2)


def proof_of(before: SetScore, after: SetScore, criterion: Criterion = HELDOUT) -> str:
    paired = estimate_of(criterion, before, after, resamples=200, seed=0)
    return proof(
        judge_limit(criterion, before, after, paired, confidence=0.95, violation_confidence=0.95)
    )


def spread(errors: int, utterances: int = 500) -> SetScore:
    """Errors on the first of utterances of 20 words."""
    counts = tuple(int(at < errors) for at in range(utterances))
    return SetScore(counts, (20,) * utterances)


def test_an_undecided_limit_says_why() -> None:
    one = SetScore((3,), (20,))
    assert proof_of(one, SetScore((3,), (20,))) == "undecided: a set like this has no bounds"
    half = replace(HELDOUT, limit=50.0, unit="percent")
    assert proof_of(one, one, half) == "undecided: a set like this has no bounds"
    assert proof_of(spread(40), spread(60)) == "undecided, at the limit"
    before, after = spread(40), spread(45)
    elsewhere = replace(after, errors=after.errors[::-1])
    assert "utterances would decide" in proof_of(before, elsewhere)
    few = SetScore((0, 0), (20, 20))  # by the normal distribution one would do
    said = proof_of(few, few, replace(HELDOUT, limit=20.0))
    assert said == "undecided; about 3 utterances would decide"


@pytest.mark.parametrize(
    ("criterion", "errors", "shown"),
    [
        (Criterion("domain_wer", "min_gain", 1.0), 440, ("10.97", "-0.998", "no")),
        (Criterion("domain_wer", "min_gain", 1.0), 439, ("10.95", "-1.02", "yes")),
        (Criterion("domain_wer", "max_regression", 0.2), 488, ("12.17", "+0.1995", "yes")),
        (Criterion("domain_wer", "max_rate", 10.97), 440, ("10.973", "-1.00", "no")),
        (
            Criterion("domain_wer", "min_gain", 8.8, unit="percent"),
            438,
            ("10.92", "-8.75 %", "no"),
        ),
    ],
)
def test_a_number_is_never_rounded_onto_the_other_side_of_its_limit(
    criterion: Criterion, errors: int, shown: tuple[str, ...]
) -> None:
    def score(wrong: int) -> SetScore:
        return SetScore(
            tuple(int(row < wrong % 401) + wrong // 401 for row in range(401)), (10,) * 401, ()
        )

    before, after = score(480), score(errors)
    found = judge_limit(criterion, before, after, None, confidence=0.95, violation_confidence=0.95)
    assert limit_row(found)[2:5] == shown
    number = shown[0] if criterion.kind == "max_rate" else shown[1].removesuffix(" %")
    assert value_text(found).startswith(f"{number} ")


def test_a_multiple_of_the_baseline_stands_beside_its_limit() -> None:
    """4.40 % is shown of 4.404 %, and 1.10 times as much; the limit is broken all the same."""
    limit = Criterion("domain_wer", "max_rate", 1.1, unit="times")
    for errors, shown in ((1100, "+0.40, 1.10 times"), (1101, "+0.40, 1.101 times")):
        found = judge_limit(
            limit, spread(1000, 1250), spread(errors, 1250), None,
            confidence=0.95, violation_confidence=0.95,
        )  # fmt: skip
        assert limit_row(found)[1:5] == ("4.00", "4.40", shown, "no" if errors > 1100 else "yes")


def test_a_change_whose_share_has_no_value_is_in_points() -> None:
    """A baseline without errors has no shares; the change has the decimals of all changes in points."""
    limit = replace(HELDOUT, limit=5.0, unit="percent")
    found = judge_limit(
        limit, spread(0), spread(5), None, confidence=0.95, violation_confidence=0.95
    )
    assert limit_row(found)[1:5] == ("0.00", "0.05", "+0.05", "not measured")


@pytest.mark.parametrize(
    ("kind", "losses", "shown"),
    [
        ("falls_monotonically", (3.0, 2.0, 2.05, 1.5), "3.000 to 1.500 nats, rising by 0.050 in between"),
        ("falls_monotonically", (3.0, 2.0, 2.0001, 1.5), "3.000 to 1.500 nats, rising by 0.0001 in between"),
        ("falls_monotonically", (2.0, 2.0, 1.5), "2.000 to 1.500 nats, rising by 0.000 in between"),
        ("falls_monotonically", (2.0, 2.5), "2.000 to 2.500 nats"),
        ("falls_monotonically", (2.0, 1.5), "2.000 to 1.500 nats"),
        ("falls", (2.5, 1.0, 2.0, 2.2, 2.4), "2.500 to 2.400 nats, Kendall's tau +0.20"),
        ("falls", (2.0, 2.5), "2.000 to 2.500 nats"),
        ("falls", (2.5, 2.6, 2.0), "2.500 to 2.000 nats"),
    ],
)  # fmt: skip
def test_the_course_of_a_loss_that_breaks_its_limit_is_not_shown_as_a_fall(
    kind: Kind, losses: tuple[float, ...], shown: str
) -> None:
    found = judge_trend(Criterion("train_loss", kind), losses, 0.95)
    assert value_text(found) == shown


@pytest.mark.parametrize(
    ("criterion", "rate", "numbers", "shown"),
    [
        (HELDOUT, "heldout", (5.0, 0.1996), ("5.00", "+0.1996")),
        (HELDOUT, "heldout", (5.0, 0.2004), ("5.00", "+0.20")),
        (HELDOUT, "domain", (5.0, 0.1996), ("5.00", "+0.20")),
        (HELDOUT, "heldout", (None, None), ("-", "-")),
        (Criterion("domain_wer", "min_gain", 1.0), "domain", (9.0, -0.998), ("9.00", "-0.998")),
        (Criterion("domain_wer", "max_rate", 9.0), "domain", (9.004, 1.0), ("9.004", "+1.00")),
        (
            Criterion("terms_recall", "max_regression", 2.0),
            "domain_terms_recall",
            (20.0, 1.998),
            ("80.00", "-1.998"),
        ),
        (
            Criterion("any_also_wer", "not_worse", among=("far_wer", "near_wer")),
            "near",
            (9.0, 0.004),
            ("9.00", "+0.004"),
        ),
    ],
)
def test_numbers_of_tables_agree_with_the_answer_beside_them(
    criterion: Criterion,
    rate: str,
    numbers: tuple[float | None, float | None],
    shown: tuple[str, str],
) -> None:
    assert beside_answer([criterion], rate, *numbers) == shown


def test_a_limit_of_zero_has_no_negative_sign() -> None:
    found = Criterion("domain_wer", "min_gain", 0.0), Criterion("terms_recall", "max_regression")
    assert [allowed_text(each) for each in found] == [
        "asked for is +0 or lower",
        "allowed is more than +0",
    ]


@pytest.mark.parametrize(
    ("chance", "said"),
    [
        (0.004, "a chance of 0.4 %."),
        (0.0, "a chance of 0 %."),
        (0.0499, "a chance of 4.99 %."),
        (0.0503, "a chance of 5 %; about 900 utterances like these would bring that below 5 %."),
        (0.371, "a chance of 37 %; about 900 utterances like these would bring that below 5 %."),
    ],
)
def test_a_chance_is_rounded_neither_to_nothing_nor_to_the_other_side_of_5_percent(
    chance: float, said: str
) -> None:
    """Among many rivals a chance below 1 % leaves a limit unproven."""
    found = judge_limit(
        HELDOUT, spread(40), spread(45), None, confidence=0.95, violation_confidence=0.95
    )
    assert _risk_sentence(found, Risk(chance, 900)).endswith(said)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([(1, 0)], "1 decoding reached its token cap and 0 end in"),
        ([(0, 1)], "0 decodings reached their token cap and 1 ends in"),
        ([(1, 2), (0, 1)], "1 decoding of 2 seeds reached its token cap and 3 end in"),
    ],
)
def test_one_decoding_is_counted_in_the_singular(counts: list[tuple[int, int]], said: str) -> None:
    measured = [
        Measurement(
            trial=0, step=1, adapter_scale=1.0, fingerprint="f",
            sets={"domain": set_with(1, 9).model_copy(update={"cap_hits": caps, "loops": loops})},
        )
        for caps, loops in counts
    ]  # fmt: skip
    [sentence] = _decoding_sentences(measured)
    assert sentence == f"On domain, {said} a repeated phrase; both count as errors in full."


@pytest.mark.parametrize(
    ("trials", "each"), [(2, "97.5"), (6, "99.17"), (1000, "99.995"), (2000, "99.997")]
)
def test_no_bound_of_many_trials_is_said_to_be_certain(trials: int, each: str) -> None:
    assert _shared_error(trials).endswith(f"for all {trials} at once (each {each} %)")


@pytest.mark.parametrize(
    ("criterion", "lower", "upper", "shown"),
    [
        (Criterion("domain_wer", "min_gain", 1.0), -3.0, -0.998, "-3.000 to -0.998"),
        (Criterion("domain_wer", "min_gain", 1.0), -3.0, -0.0004, "-3.0000 to -0.0004"),
        (Criterion("domain_wer", "min_gain", 1.0), -1.0, 0.0, "-1.00 to +0.00"),
        (HELDOUT, -0.1, 0.1996, "-0.1000 to +0.1996"),
        (HELDOUT, 0.204, 0.9, "+0.204 to +0.900"),
        (HELDOUT, -0.1, 0.206, "-0.10 to +0.21"),
        (Criterion("terms_recall", "min_gain", 1.0), -3.0, -0.998, "+0.998 to +3.000"),
        (Criterion("domain_wer", "max_rate", 40.0), -0.001, 39.0, "0.00 to 39.00 %"),
        (Criterion("domain_wer", "max_rate", 1.1, unit="times"), 0.9, 1.1, "0.90 to 1.10 times"),
    ],
)
def test_bounds_are_never_rounded_onto_the_other_side_of_what_is_said_of_them(
    criterion: Criterion, lower: float, upper: float, shown: str
) -> None:
    one = judge_limit(criterion, None, None, None, confidence=0.95, violation_confidence=0.95)
    assert bounds(replace(one, lower=lower, upper=upper)) == shown


@pytest.mark.parametrize(
    ("criterion", "after", "said"),
    [
        (HELDOUT, 46, "a change of +0.10 points from the limit (allowed is less than +0.2)"),
        (Criterion("domain_wer", "min_gain", 0.4), 1, "a change of -0.65 points from the limit "
         "(asked for is -0.4 or lower)"),
        (Criterion("domain_wer", "min_gain", 0.67), 0, "a change of -0.667 points from the limit "
         "(asked for is -0.67 or lower)"),
        (Criterion("terms_recall", "max_regression", 1.0), 46, "a change of -0.10 points from the "
         "limit (allowed is more than -1)"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_from_a_limit_has_the_sign_of_the_limit(
    criterion: Criterion, after: int, said: str
) -> None:
    scores = spread(40, 300), spread(after, 300)
    paired = estimate_of(criterion, *scores, resamples=200, seed=0)
    limit = judge_limit(criterion, *scores, paired, confidence=0.95, violation_confidence=0.95)
    assert undecided_sentence(limit, 300).endswith(f" utterances cannot tell {said}.")


def test_a_budget_that_was_lowered_is_named_beside_what_ended() -> None:
    assert ended_text(2, 3, "trials ended") == "2 of 3 trials ended"
    assert ended_text(3, 2, "trials ended") == "3 trials ended, where budget.trials is 2 by now"


def test_a_change_without_bounds_has_a_dash() -> None:
    assert change_bounds(-1.25, 0.0) == "-1.25 to +0.00"
    assert change_bounds(-inf, inf) == "-"


def test_of_one_measured_trial_no_best_was_chosen() -> None:
    assert "only measured trial, and its rung" in _chosen_sentences(1)
    assert _chosen_sentences(2).startswith("The winner is the best of 2 measured trials on the")


@pytest.mark.parametrize(
    ("runs", "said"), [(0, ""), (1, ", 1 confirmation run left"), (2, ", 2 confirmation runs left")]
)
def test_one_confirmation_run_is_no_plural(runs: int, said: str, tmp_path: Path) -> None:
    run: Any = SimpleNamespace(number=-1)
    finalist = Confirmed(0, (SeedRun(run, None, None),) * runs, None, None)
    going = Conclusion((), None, None, None, None, (finalist,), None)
    text = headline(make_spec(), StudyFolder(tmp_path, "s"), going, done=False)
    assert text == f"Not finished: 0 of 8 trials ended{said}"


def test_one_utterance_is_no_plural() -> None:
    assert utterances_text(1, "heldout") == "1 heldout utterance"
    assert utterances_text(1) == "1 utterance"
    assert utterances_text(500, "heldout") == "500 heldout utterances"


def test_an_undecided_trend_is_no_matter_of_the_limit() -> None:
    falling = Criterion("train_loss", "falls", 0.0)
    assert proof(judge_trend(falling, (2.0, 1.0), 0.95)) == "undecided: the rungs prove no trend"


def result(number: int, share: float, wer: float, feasible: bool = True) -> TrialResult:
    return TrialResult(
        number=number,
        state=TrialState.COMPLETE,
        reason="",
        params={"train_share": share},
        feasible=feasible,
        step=100,
        adapter_scale=1.0,
        wer={"domain": wer},
        delta={"domain": wer - 12.0},
        constraints={},
        steps_trained=100,
    )


SHARES = make_spec(searched=(Dimension(name="train_share", choices=(0.25, 0.5, 0.75, 1.0)),))


def said(*results: TrialResult) -> str:
    found = list(train_shares.blocks(SHARES, Conclusion(results, None, None, None, None, (), None)))
    assert isinstance(found[-1], Table)
    [answer] = [block.text for block in found if isinstance(block, Paragraph)]
    return answer


def test_whether_more_recordings_help_is_said_by_what_keeps_the_limits() -> None:
    good = result(0, 0.5, 10.0), result(1, 1.0, 9.0)
    assert "From 50 % to 100 %" in said(*good) and "It still falls" in said(*good)
    absurd = result(2, 0.25, 580.0, feasible=False)
    assert said(absurd, *good) == said(*good)
    assert said(absurd, good[1]) == (
        "No trial on 25 % of the training utterances keeps the limits, so that there are no two shares to compare."
    )
    late = result(3, 0.75, 5.0, feasible=False)
    assert said(late, *good) == said(*good), "a broken share between two is passed over"
    assert said(result(4, 0.5, 11.0, feasible=False), *good) == said(*good)


@pytest.mark.parametrize("shares", [(1.0,), ()])
def test_one_share_is_no_question(shares: tuple[float, ...]) -> None:
    results = tuple(result(number, share, 9.0) for number, share in enumerate(shares))
    conclusion = Conclusion(results, None, None, None, None, (), None)
    assert list(train_shares.blocks(SHARES, conclusion)) == []


def test_a_range_of_shares_answers_nothing() -> None:
    """Each of its shares has one trial, whose other parameters decide how good it is."""
    results = (result(0, 0.947, 10.0), result(1, 0.966, 15.0))
    conclusion = Conclusion(results, None, None, None, None, (), None)
    steps = Dimension(name="train_share", low=0.1, high=1.0, step=0.1)
    for dimension, shown in ((steps, True), (steps.model_copy(update={"step": None}), False)):
        spec = make_spec(searched=(dimension,))
        assert bool(list(train_shares.blocks(spec, conclusion))) is shown


def test_a_trial_whose_share_is_not_searched_has_the_whole_set() -> None:
    """Where `when` leaves the parameter inactive, the trial is trained on every utterance."""
    whole = result(1, 1.0, 9.0).model_copy(update={"params": {"rank": 8}})
    assert "From 50 % to 100 %" in said(result(0, 0.5, 10.0), whole)


def test_plots_have_the_limits_of_either_section() -> None:
    gain, rise = {"domain_wer": Limit(min_gain=1.0)}, {"heldout_wer": Limit(max_regression=0.2)}
    for guardrails, acceptance in ((rise, gain), ({}, gain | rise), (gain | rise, {})):
        spec = make_spec(guardrails=guardrails, acceptance=acceptance)
        assert plotted_limits(spec) == (1.0, 0.2)
    both = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.5)}, acceptance=rise)
    assert plotted_limits(both) == (None, 0.5)
    share = make_spec(guardrails={"heldout_wer": Limit(max_regression="5%")}, acceptance=rise)
    assert plotted_limits(share) == (None, 0.2)
