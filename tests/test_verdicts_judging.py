"""What the sweep file and the measurements on file hand to the judgement, and which measurement of
a trial is taken where none keeps its guardrails.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import (
    Measurement,
    SetMeasurement,
    TermCounts,
    TrialResult,
    TrialState,
)
from orchestrator.records.store import StudyFolder
from orchestrator.scoring.bootstrap import paired_delta
from orchestrator.scoring.judge import Decision, Scores, Verdict
from orchestrator.scoring.limits import UNMEASURED
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.data import AlsoSet
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Dimension, Metric
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.judging import (
    best_verdict,
    judge_scores,
    late_rates,
    pool_scores,
    scores,
)
from orchestrator.verdicts.reproduction import Reproduction, Rerun
from tests import fake_worker
from tests.running_support import RESAMPLES, make_spec, run
from tests.scoring_support import score


def of(**errors: int) -> Scores:
    return Scores("f", {name: score(count) for name, count in errors.items()})


BEFORE = of(domain=1200, heldout=400, domain_cer=900, confirm_domain=1300, confirm_heldout=500)


def test_the_sweep_file_says_by_what_a_trial_is_judged() -> None:
    spec = make_spec(
        guardrails={"heldout_wer": Limit(max_regression=0.3)},
        acceptance={"domain_wer": Limit(min_gain=1.0)},
        metric=Metric(name="domain_cer"),
        seed=5,
    )
    after = of(domain=1000, heldout=425, domain_cer=800, confirm_domain=1250, confirm_heldout=480)
    search = judge_scores(spec, after, BEFORE, looks=4, n_comparisons=7, resamples=80)
    confirmed = judge_scores(spec, after, BEFORE, confirmed=True, resamples=80)
    assert (search.objective, search.confirmed) == (8.0, False)
    assert [limit.delta for limit in (*search.guardrails, *search.acceptance)] == [0.25, -2.0]
    assert confirmed.confirmed
    assert [limit.delta for limit in (*confirmed.guardrails, *confirmed.acceptance)] == [-0.2, -0.5]
    [gain] = search.acceptance
    one, other = BEFORE.sets["domain"], after.sets["domain"]
    expected = paired_delta(one.errors, other.errors, one.units, None, resamples=80, seed=5)
    assert gain.estimate is not None
    assert gain.estimate.pivots.tolist() == expected.pivots.tolist()
    assert gain.upper == expected.upper(1 - 0.05 / 7)


def test_a_guardrail_is_looked_at_as_often_as_the_trial_is_measured() -> None:
    """At one look it would be proven broken."""
    spec = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.2)})
    broken = [
        judge_scores(spec, of(heldout=432), of(heldout=400), looks=looks, resamples=400).violated
        for looks in (1, 50)
    ]
    assert broken == [("heldout_wer",), ()]


def measured(trial: int | None = None, **changes: Any) -> Measurement:
    found = SetMeasurement(
        manifest_sha256="m",
        utterance_ids=("a", "b"),
        speakers=("anna", ""),
        substitutions=(1, 0),
        deletions=(0, 2),
        insertions=(1, 0),
        reference_words=(4, 6),
        terms=TermCounts(said=(2, 3), heard=(4, 1), found=(2, 1)),
        **changes,
    )
    return Measurement(
        trial=trial, step=50, adapter_scale=0.5, fingerprint="f", sets={"domain": found}
    )


def test_the_rates_of_a_set_come_from_its_counts() -> None:
    """What was said and not found is missed, what was heard and not said is wrong."""
    found = scores(measured(3), (2.0, 1.0))
    assert (found.number, found.step, found.adapter_scale, found.losses) == (3, 50, 0.5, (2.0, 1.0))
    speakers = ("anna", "")
    assert found.sets == {
        "domain": SetScore((2, 2), (4, 6), speakers),
        "domain_terms_recall": SetScore((0, 2), (2, 3), speakers),
        "domain_terms_precision": SetScore((2, 0), (4, 1), speakers, of_hypotheses=True),
    }
    assert scores(measured(0)).number == 0, "the first trial is not the untuned model"
    assert scores(measured()).number == -1
    characters = scores(measured(character_errors=(3, 1), characters=(20, 30))).sets["domain_cer"]
    assert characters == SetScore((3, 1), (20, 30), speakers, units_a_word=5.0)


def test_seeds_are_pooled_in_every_rate() -> None:
    pooled = pool_scores([measured(-1), measured(-2), measured(-3)])
    assert (pooled.number, pooled.step, pooled.adapter_scale) == (-1, 50, 0.5)
    assert {name: score.errors for name, score in pooled.sets.items()} == {
        "domain": (6, 6),
        "domain_terms_recall": (0, 6),
        "domain_terms_precision": (6, 0),
    }
    assert {score.decodings for score in pooled.sets.values()} == {3}


def broken(step: int, **constraints: float) -> Verdict:
    """An infeasible measurement that is so far beyond its limits."""
    spec = make_spec(guardrails={"heldout_wer": Limit(max_regression=0.3)})
    found = judge_scores(spec, of(domain=1000, heldout=900), of(domain=1200, heldout=400))
    return replace(found, step=step, constraints=constraints)


def test_without_a_feasible_measurement_the_least_broken_one_is_taken() -> None:
    """By the guardrail that each breaks most, whatever the margin of the others."""
    less = broken(200, heldout_wer=0.4, noisy_wer=0.4)
    more = broken(100, heldout_wer=0.5, noisy_wer=-3.0)
    unmeasured = broken(50, heldout_wer=UNMEASURED, noisy_wer=-9.0)
    for order in ([less, more, unmeasured], [unmeasured, more, less]):
        assert best_verdict(order) is less
    earlier = replace(less, step=150)
    assert best_verdict([less, earlier]) is earlier, "ties are ranked like feasible ones"
    feasible = replace(more, feasible=True, constraints={"heldout_wer": 0.0})
    assert best_verdict([less, feasible]) is feasible
    better = replace(feasible, rates=feasible.rates | {"domain": 1.0}, constraints={"x": -0.1})
    deep = replace(feasible, constraints={"heldout_wer": -5.0})
    assert best_verdict([deep, better]) is better, "a feasible one is not ranked by its margin"
    assert best_verdict([]) is None
    heard = of(heldout=1)
    nothing = judge_scores(make_spec(guardrails={}), heard, heard, resamples=50)
    assert best_verdict([nothing]) is nothing, "without the objective nothing is feasible"


def test_only_what_is_asked_of_a_late_set_is_waited_for() -> None:
    also = {
        "early": AlsoSet(manifest=Path("/e")),
        "late": AlsoSet(manifest=Path("/l"), rungs="last"),
    }
    data = make_spec().data.model_copy(update={"also": also})

    def asked(*metrics: str) -> frozenset[str]:
        limits = {metric: Limit(max_regression=1.0) for metric in metrics}
        return late_rates(make_spec(data=data, acceptance=limits))

    assert asked("domain_wer", "heldout_wer", "early_wer") == frozenset()
    assert asked("domain_wer", "late_wer") == {"late"}
    assert asked("late_cer", "early_cer") == {"late_cer"}
    assert asked("any_also_wer") == asked("every_also_wer") == {"late"}
    spec = make_spec(data=data, acceptance={"late_wer": Limit(max_regression=1.0)})
    without, with_it = of(domain=1000), of(domain=1000, late=500)
    assert judge_scores(spec, without, BEFORE, resamples=50).unanswered == 1
    assert judge_scores(spec, with_it, BEFORE, resamples=50).unanswered == 0


def ended(state: TrialState) -> TrialResult:
    return TrialResult(
        number=3, state=state, reason="loss is not finite", params={}, feasible=False, step=None,
        adapter_scale=None, wer={}, delta={}, constraints={}, steps_trained=50,
    )  # fmt: skip


SAME, OTHER = Reproduction.SAME, Reproduction.OTHER


@pytest.mark.parametrize(
    ("state", "recorded", "again", "found"),
    [
        (TrialState.COMPLETE, {}, {}, SAME),
        (TrialState.PRUNED, {}, {"train_loss": 0.5}, SAME),
        (TrialState.COMPLETE, {}, {"step": 100}, OTHER),
        (TrialState.COMPLETE, {}, {"adapter_scale": 1.0}, OTHER),
        (TrialState.COMPLETE, {}, {"sets": {}}, OTHER),
        (TrialState.COMPLETE, {}, {"fingerprint": "g"}, Reproduction.NOT_COMPARABLE),
        (TrialState.COMPLETE, {}, {"fingerprint": "g", "step": 100}, Reproduction.NOT_COMPARABLE),
        (TrialState.COMPLETE, {}, None, OTHER),
        (TrialState.COMPLETE, None, {}, None),
        (TrialState.COMPLETE, None, None, None),
        (None, None, {}, None),
        (None, {}, {}, SAME),
        (TrialState.FAIL, None, None, SAME),
        (TrialState.FAIL, {}, None, SAME),
        (TrialState.FAIL, {}, {}, OTHER),
        (TrialState.FAIL, None, {}, OTHER),
    ],
)
def test_a_rerun_reproduces_what_was_recorded(
    state: TrialState | None,
    recorded: dict[str, Any] | None,
    again: dict[str, Any] | None,
    found: Reproduction | None,
) -> None:
    first, second = (
        None if changes is None else measured(3).model_copy(update=changes)
        for changes in (recorded, again)
    )
    result = None if state is None else ended(state)
    assert Rerun(second, first, None, result).reproduction is found


@pytest.mark.parametrize("section", ["guardrails", "acceptance"])
def test_shipped_is_no_limit_on_a_rate(section: str) -> None:
    limits = {"shipped": Limit(asks="kept"), "domain_wer": Limit(max_regression=1.0)}
    verdict = judge_scores(
        make_spec(**{"guardrails": {}, "acceptance": {}, section: limits}),
        of(domain=1000),
        BEFORE,
        resamples=50,
    )
    assert [limit.criterion.metric for limit in getattr(verdict, section)] == ["domain_wer"]


def loss_that_rises_at_last(plan: TrialPlan, step: int) -> float:
    """Return a training loss that falls up to step 200, and above a small rate rises then."""
    rises = step > 200 and plan.params.learning_rate > 5e-4
    return 2.5 if rises else 3.0 - step / 200


@pytest.mark.parametrize(
    ("section", "decision"),
    [("guardrails", Decision.ACCEPT), ("acceptance", Decision.REJECT)],
)
def test_a_guardrail_on_the_loss_is_kept_by_whom_it_did_not_prune(
    section: str, decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner was feasible at its best rung, so the verdict does not call its guardrail broken by
    a later rung. Acceptance looks at all of them.
    """
    monkeypatch.setattr(fake_worker, "loss_at", loss_that_rises_at_last)
    limits = {
        "guardrails": {"heldout_wer": Limit(max_regression=5.0)},
        "acceptance": {"domain_wer": Limit(min_gain=0.5)},
    }
    limits[section]["train_loss"] = Limit(asks="falls_monotonically")
    searched = (Dimension(name="learning_rate", choices=(5e-4, 3e-3)),)
    fixed = {"max_steps": 400, "rank": 8}
    spec = make_spec(searched=searched, fixed=fixed, method="grid", **limits)
    run(spec, tmp_path)
    found = conclude(spec, StudyFolder(tmp_path, "s"), RESAMPLES)
    assert found.best is not None and found.best.params == {"learning_rate": 3e-3}
    assert found.verdict is not None
    assert all(limit.holds for limit in found.verdict.guardrails)
    assert found.decision is decision
