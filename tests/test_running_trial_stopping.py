"""When a trial ends before its last step, and what its result is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.planning.trial_plan import trial_plan
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.running.trial_stopping import (
    RunningTrial,
    Stop,
    at_last_step,
    result_of,
    why_stop,
)
from orchestrator.scoring.judge import Scores, Verdict
from orchestrator.scoring.limits import (
    UNMEASURED,
)
from orchestrator.sweepfile.data import AlsoSet
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Metric
from orchestrator.sweepfile.sweep import EarlyStop
from orchestrator.verdicts.judging import judge_scores
from tests.running_support import make_spec
from tests.scoring_support import score


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
    errors: tuple[int, ...], behind: bool = False, ratio: float = 1.25, **changes: object
) -> tuple[str | None, str] | None:
    """Which rule ends a trial with these domain errors, one number for each adapter scale, and why;
    the baseline has 400.
    """
    spec = make_spec(
        early_stop=EarlyStop(method="ratio", ratio=ratio),
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


@pytest.mark.parametrize(("ratio", "shown"), [(1.2524, "5.0096"), (1.252499, "5.009996")])
def test_what_exceeds_the_ratio_is_not_shown_as_equal_to_it(ratio: float, shown: str) -> None:
    stopped = stopped_by_ratio((501,), ratio=ratio)
    assert stopped is not None
    assert stopped[1].startswith("domain WER 5.01 % at step 50 is above ")
    assert stopped[1].endswith(f" times the baseline ({shown} %)")


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
