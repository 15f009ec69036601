"""Limits on the training loss."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from orchestrator.scoring.judge import Scores, judge
from orchestrator.scoring.limits import (
    Criterion,
    Evidence,
    risk,
)
from orchestrator.scoring.rates import SetScore
from orchestrator.scoring.trend import judge_trend


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
