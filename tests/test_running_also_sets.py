"""Sweeps with further evaluation sets, in every form that a file may have them, through all that
reads their plans again: the confirmation, and the commands on a study.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records.results import TrialResult, TrialState
from orchestrator.scoring.judge import Decision, Scores, Verdict
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.data import AlsoSet, ConfirmData, DataSpec
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.sweep import ConfirmSpec, SweepSpec
from orchestrator.verdicts.confirming import rank_feasible
from orchestrator.verdicts.judging import acceptance_of, best_verdict, judge_scores
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.running_support import make_spec

Printed = pytest.CaptureFixture[str]

FORMS = {
    "a path": "data/confirm_heldout.jsonl",
    "a mapping": "{manifest: data/confirm_heldout.jsonl}",
    "a mapping with its rungs": "{manifest: data/confirm_heldout.jsonl, rungs: last}",
}


@pytest.fixture(params=list(FORMS.values()), ids=list(FORMS))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A sweep file whose sets are divided by speaker for the confirmation."""
    named = "confirm: {domain: data/confirm_domain.jsonl, heldout: data/confirm_heldout.jsonl}"
    assert named in SWEEP
    return make_project(
        tmp_path,
        SWEEP.replace(named, f"also: {{tower: {request.param}}}\n  confirm: {{split: 0.4}}"),
    )


def test_a_plan_with_further_sets_is_read_again(spec: Path, capsys: Printed) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    folder = folder_of(spec)
    confirmed = sorted((folder.path / "confirm").iterdir())
    assert len(confirmed) == 2, "the finalist, by two seeds"
    for words in (
        ("trial", spec, 0, "--quiet"),
        ("table", spec, "--of", "measurements"),
        ("table", spec, "--of", "utterances"),
        ("compare", f"{spec}:0", f"{spec}:1"),
        ("status", spec),
        ("repair", spec, "--check"),
    ):
        capsys.readouterr()
        assert orchestrate(*words) == 0, (words, capsys.readouterr().err)
    capsys.readouterr()
    assert orchestrate(spec) in (0, 4, 5)
    assert "tower" in capsys.readouterr().out


def rates(*errors: int) -> dict[str, SetScore]:
    """Of domain, heldout and, where there are three, tower: errors among 100 utterances of 20 words."""
    return {
        name: SetScore(tuple(int(at < count) for at in range(100)), (20,) * 100)
        for name, count in zip(("domain", "heldout", "tower"), errors, strict=False)
    }


@pytest.mark.parametrize("metric", ["tower_wer", "any_also_wer", "every_also_wer"])
def test_what_acceptance_asks_is_answered_by_the_step_that_was_measured(metric: str) -> None:
    """The set is heard at the last step: an earlier one that is better elsewhere would leave the
    limit open.
    """
    data = DataSpec(
        train=Path("/t"),
        domain=Path("/d"),
        heldout=Path("/h"),
        also={"tower": AlsoSet(manifest=Path("/w"), rungs="last")},
    )
    limits = {metric: Limit(max_regression=1.0)}
    baseline = Scores("f", rates(60, 30, 30))
    early, last = (
        Scores("f", rates(20, 30), 0, 50, 1.0),
        Scores("f", rates(40, 30, 30), 0, 100, 1.0),
    )

    def chosen(spec: SweepSpec) -> int:
        verdicts = [judge_scores(spec, tuned, baseline, resamples=100) for tuned in (early, last)]
        best = best_verdict(verdicts)
        assert best is not None and best.feasible
        return best.step

    assert chosen(make_spec(data=data, acceptance=limits)) == 100
    assert chosen(make_spec(data=data)) == 50, "nothing asks for it"
    confirm = ConfirmData(domain=Path("/c"), heldout=Path("/k"), also={"tower": Path("/x")})
    with_confirm = data.model_copy(update={"confirm": confirm})
    confirmed = make_spec(data=with_confirm, acceptance=limits, confirm=ConfirmSpec())
    assert chosen(confirmed) == 50, "the confirm sets answer"
    unused = make_spec(data=with_confirm, acceptance=limits, confirm=None)
    assert chosen(unused) == 100, "nothing is measured on the confirm sets"


def test_one_of_several_sets_means_those_that_are_confirmed() -> None:
    data = DataSpec(
        train=Path("/t"),
        domain=Path("/d"),
        also={name: AlsoSet(manifest=Path(f"/{name}")) for name in ("tower", "far")},
        confirm=ConfirmData(domain=Path("/c"), also={"tower": Path("/x")}),
    )
    limits = {"any_also_wer": Limit(asks="not_worse")}
    spec = make_spec(data=data, guardrails={}, acceptance=limits, confirm=ConfirmSpec())

    def judged(tower: int) -> Verdict:
        before, after = (
            {f"confirm_{name}": score for name, score in rates(*errors).items()}
            for errors in ((60, 30, 30), (20, 30, tower))
        )
        return judge_scores(
            spec, Scores("f", after, 0), Scores("f", before), confirmed=True, resamples=100
        )

    assert judged(90).decision is Decision.REJECT and judged(90).acceptance[0].holds is False
    kept = judged(20)
    assert kept.decision is Decision.ACCEPT
    [limit] = kept.acceptance
    assert limit.estimate and limit.upper == limit.estimate.upper(0.95), "of one, all of the 5 %"
    assert acceptance_of(spec)[0].among == ("tower_wer", "far_wer"), "the search measures both"


def test_of_trials_too() -> None:
    """One that was stopped before its last step is behind those that have all that is asked."""
    results = [
        TrialResult(
            number=number,
            state=TrialState.PRUNED,
            reason="",
            params={},
            feasible=True,
            step=50,
            adapter_scale=1.0,
            wer=wer,
            delta={"heldout": 0.0},
            constraints={},
            steps_trained=50,
        )
        for number, wer in enumerate(
            ({"domain": 2.0, "heldout": 5.0}, {"domain": 4.0, "heldout": 5.0, "tower": 3.0})
        )
    ]
    assert [each.number for each in rank_feasible(results)] == [0, 1]
    assert [each.number for each in rank_feasible(results, "domain", frozenset({"tower"}))] == [
        1,
        0,
    ]
