"""What decides a study beyond single numbers: finalists that failed or tie, questions with rules of
their own, confirm sets that nothing is measured on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.planning.sweep_plan import SetSize, sweep_plan
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Failed
from orchestrator.reporting.documents.caveats import caveats
from orchestrator.reporting.documents.headline import headline
from orchestrator.reporting.record.experiment_plan_row import study_row
from orchestrator.running.preflight import find_before_decoding
from orchestrator.scoring.judge import Decision, Scores, Verdict, judge
from orchestrator.scoring.limits import Criterion
from orchestrator.scoring.rates import SetScore
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.concluding import _best_trial, conclude
from orchestrator.verdicts.conclusion import Conclusion, Confirmed, SeedRun, n_competing
from orchestrator.verdicts.confirming import rank_feasible
from orchestrator.verdicts.headroom import HIGH, headroom, on_its_side
from orchestrator.verdicts.judging import acceptance_of, late_rates
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.fake_worker import FakeWorker, Slot
from tests.running_support import make_spec
from tests.scoring_support import set_with

TWO = SWEEP.replace("top: 1", "top: 2").replace("max_regression: 0.5", "max_regression: 5")


def concluded(root: Path, worker: type[FakeWorker]) -> Conclusion:
    """The conclusion of a small study with two finalists, of two seeds each."""
    spec = make_project(root, TWO.replace("min_gain: 1.0", "min_gain: 0.3, rule: point"))

    def make(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
        return worker(sets=spec.data.evaluated["domain"].path.stem)

    assert orchestrate(spec, "--quiet", worker=make) in (0, 4, 5)
    return conclude(load_spec(spec), folder_of(spec))


def failing(recipes: set[int]) -> type[FakeWorker]:
    """Workers whose confirmation runs of these ranks fail."""

    class Failing(FakeWorker):
        def _events(self, slot: Slot) -> list[Event]:
            params = slot.plan.params
            if params.seed in (101, 102) and params.rank in recipes:
                slot.ended = True
                return [Failed(slot.plan.number, slot.step, "loss is not finite")]
            return super()._events(slot)

    return Failing


@pytest.fixture(scope="module", name="ranks")
def _ranks(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """The ranks of both finalists when none fails, the best first."""
    root = tmp_path_factory.mktemp("whole")
    conclusion = concluded(root, FakeWorker)
    assert conclusion.decision is Decision.ACCEPT
    folder = folder_of(root / "sweeps" / "demo.yaml")
    plans = [folder.read_plan(finalist.trial) for finalist in conclusion.confirmed]
    ranks = [plan.params.rank for plan in plans if plan]
    assert len(set(ranks)) == 2
    return ranks


@pytest.mark.parametrize("failed", [0, 1])
def test_a_finalist_that_failed_with_every_seed_is_not_chosen(
    tmp_path: Path, ranks: list[int], failed: int
) -> None:
    conclusion = concluded(tmp_path, failing({ranks[failed]}))
    assert [bool(finalist.verdict) for finalist in conclusion.confirmed] == [
        failed == 1,
        failed == 0,
    ]
    other = conclusion.confirmed[1 - failed]
    assert conclusion.best is not None and conclusion.best.number == other.trial
    assert conclusion.decision is Decision.ACCEPT and conclusion.deciding is other.verdict


def test_where_every_seed_of_all_failed_nothing_is_decided(
    tmp_path: Path, ranks: list[int]
) -> None:
    assert concluded(tmp_path, failing(set(ranks))).decision is Decision.INCONCLUSIVE


def test_a_verdict_says_that_no_seed_was_measured(tmp_path: Path, ranks: list[int]) -> None:
    found = concluded(tmp_path, failing(set(ranks)))
    spec, folder = (
        load_spec(tmp_path / "sweeps" / "demo.yaml"),
        folder_of(tmp_path / "sweeps" / "demo.yaml"),
    )
    assert found.best is not None
    said = headline(spec, folder, found, done=True)
    assert said == (
        f"INCONCLUSIVE: trial {found.best.number}, not judged on the confirm sets, where none of its seeds was measured"
    )
    doubts = list(caveats(spec, folder, found, done=True))
    assert doubts[0].startswith("The winner is the best of ") and "data.confirm" not in doubts[0]
    assert not any("was taken on the confirm sets" in doubt for doubt in doubts)
    row = study_row(spec, folder, found, "orchestrate demo", tmp_path, "2026-11-28")
    assert row.cells[-3] == f"INCONCLUSIVE: trial {found.best.number}"
    without = replace(found, decision=None)
    assert (
        f"trial {found.best.number} is the best feasible one on the sets of the search;"
        in headline(spec, folder, without, done=True)
    )


def test_decodings_that_do_not_end_are_counted_on_the_sets_that_decide(tmp_path: Path) -> None:
    class Looping(FakeWorker):
        def _measurement(self, plan: TrialPlan, step: int, scale: float) -> Measurement:
            found: Measurement = super()._measurement(plan, step, scale)
            domain = found.sets["domain"].model_copy(update={"cap_hits": 3, "loops": 2})
            return found.model_copy(update={"sets": found.sets | {"domain": domain}})

    found = concluded(tmp_path, Looping)
    spec = tmp_path / "sweeps" / "demo.yaml"
    doubts = list(caveats(load_spec(spec), folder_of(spec), found, done=True))
    ends = "end in a repeated phrase; both count as errors in full."
    assert f"On domain, 3 decodings reached their token cap and 2 {ends}" in doubts
    assert (
        f"On confirm_domain, 6 decodings of 2 seeds reached their token cap and 4 {ends}" in doubts
    )


@pytest.mark.parametrize("failed", [0, 1])
def test_a_finalist_that_breaks_a_limit_is_judged_though_the_other_failed(
    tmp_path: Path, ranks: list[int], failed: int
) -> None:
    class Forgetting(failing({ranks[failed]})):  # type: ignore[misc]
        def _measurement(self, plan: TrialPlan, step: int, scale: float) -> Measurement:
            found: Measurement = super()._measurement(plan, step, scale)
            if plan.number >= 0:
                return found
            heldout = found.sets["heldout"]
            worse = tuple(count + 2 for count in heldout.substitutions)
            sets = found.sets | {"heldout": heldout.model_copy(update={"substitutions": worse})}
            return found.model_copy(update={"sets": sets})

    conclusion = concluded(tmp_path, Forgetting)
    assert conclusion.decision is Decision.REJECT
    assert conclusion.best and conclusion.best.number == conclusion.confirmed[1 - failed].trial


class Swapped(FakeWorker):
    """A worker whose trials of seed 2 are best at the smaller of two adapter scales."""

    def _measurement(self, plan: TrialPlan, step: int, scale: float) -> Measurement:
        other = 1.5 - scale if plan.params.seed == 2 else scale
        found = super()._measurement(plan, step, other)
        return found.model_copy(update={"adapter_scale": scale})


@pytest.mark.parametrize("worker", [FakeWorker, Swapped])
def test_trials_that_differ_in_their_seed_alone_are_one_finalist(
    worker: type[FakeWorker], tmp_path: Path
) -> None:
    """Also where one is best at another step or scale."""
    spec = make_project(
        tmp_path,
        TWO.replace("method: tpe", "method: grid")
        .replace("start_with:\n  - {learning_rate: 5.0e-4, rank: 32}\n", "")
        .replace(
            "  learning_rate: {values: [1.0e-4, 5.0e-4, 3.0e-3]}\n  rank: {min: 4, max: 32, log: true}\n",
            "  learning_rate: 5.0e-4\n  rank: {values: [8, 32]}\n  seed: {values: [1, 2, 3]}\n",
        )
        .replace("trials: 5", "trials: 6"),
    )

    def make(spec: SweepSpec, folder: StudyFolder) -> FakeWorker:
        return worker(sets=spec.data.evaluated["domain"].path.stem)

    assert orchestrate(spec, "--quiet", worker=make) in (0, 4, 5)
    conclusion, folder = conclude(load_spec(spec), folder_of(spec)), folder_of(spec)
    assert len(conclusion.results) == 6 and all(result.feasible for result in conclusion.results)
    plans = [folder.read_plan(finalist.trial) for finalist in conclusion.confirmed]
    assert sorted(plan.params.rank for plan in plans if plan) == [8, 32]
    runs = [seed.run.number for finalist in conclusion.confirmed for seed in finalist.seeds]
    assert sorted(runs) == [-4, -3, -2, -1] == sorted(folder.planned(confirm=True))


def test_a_tie_on_the_confirm_sets_goes_to_the_earlier_trial(tmp_path: Path) -> None:
    class Equal(FakeWorker):
        def _measurement(self, plan: TrialPlan, step: int, scale: float) -> Measurement:
            same = {"learning_rate": 1e-3, "rank": 8, "alpha": 8.0, "seed": 101}
            params = plan.params.model_copy(update=same)
            alike = plan.model_copy(update={"params": params})
            return super()._measurement(alike if plan.number < 0 else plan, step, scale)

    conclusion = concluded(tmp_path, Equal)
    verdicts = [finalist.verdict for finalist in conclusion.confirmed]
    assert all(verdicts) and len({each.objective for each in verdicts if each}) == 1
    trials = [finalist.trial for finalist in conclusion.confirmed]
    assert conclusion.best is not None and conclusion.best.number == min(trials)


def result(number: int, domain: float | None = 10.0, **changes: Any) -> TrialResult:
    """Of a feasible trial with this domain WER."""
    values: dict[str, Any] = {
        "state": TrialState.COMPLETE, "reason": "", "params": {}, "feasible": True, "step": 100,
        "adapter_scale": 1.0, "wer": {} if domain is None else {"domain": domain},
        "delta": {"heldout": 0.1}, "constraints": {}, "steps_trained": 100,
    }  # fmt: skip
    return TrialResult(number=number, **(values | changes))


def test_trials_are_ranked_by_what_the_search_minimises_and_then_by_what_they_cost() -> None:
    """In the order of the verdicts: held-out change, steps, number; without what cannot be best."""
    best = result(9, 9.0, delta={"heldout": 0.2}, step=300)
    keeps, early = result(8, delta={"heldout": -0.1}, step=300), result(7, step=50)
    first, later = result(5, adapter_scale=1.0), result(6, adapter_scale=0.5)
    unknown = result(1, delta={})
    order = [best, keeps, early, first, later, unknown]
    left_out = [
        result(0, 1.0, feasible=False),
        result(2, 1.0, duplicate_of=1),
        result(3, None, wer={"heldout": 1.0}),
    ]
    for results in ([*order, *left_out], [*left_out, *reversed(order)]):
        assert rank_feasible(results) == order
    by_characters = [
        result(0, 1.0, wer={"domain": 1.0, "domain_cer": 7.0}),
        result(1, 2.0, wer={"domain": 2.0, "domain_cer": 6.0}),
    ]
    assert [each.number for each in rank_feasible(by_characters, "domain_cer")] == [1, 0]
    assert rank_feasible(by_characters, "domain_cer", frozenset({"late"})) == by_characters[::-1]


def test_only_recipes_that_were_measured_compete() -> None:
    copy, failed = result(2, duplicate_of=0), result(3, None, feasible=False)
    infeasible = result(1, feasible=False)
    assert n_competing([result(0), infeasible, copy, failed]) == 2
    assert n_competing([]) == 0


def judged(domain: float, feasible: bool = True) -> Verdict:
    verdict = judge(
        Scores("f", {"confirm_domain": SetScore((1,), (10,))}),
        Scores("f", {"confirm_domain": SetScore((2,), (10,))}),
        guardrails=[],
        confirmed=True,
    )
    return replace(verdict, rates={"confirm_domain": domain}, feasible=feasible)


def finalist(trial: int, verdict: Verdict | None, *ended: bool) -> Confirmed:
    seeds = tuple(
        SeedRun(SimpleNamespace(number=-1), result(-1) if each else None, None)  # type: ignore[arg-type]
        for each in ended
    )
    return Confirmed(trial, seeds, verdict, None)


@pytest.mark.parametrize(
    ("confirmed", "best"),
    [
        ([], 4),
        ([finalist(4, judged(9.0), True), finalist(2, judged(8.0), True)], 2),
        ([finalist(4, judged(8.0), True), finalist(2, judged(9.0), True)], 4),
        ([finalist(4, judged(9.0), True), finalist(2, judged(8.0, feasible=False), True)], 4),
        ([finalist(4, judged(9.0, False), True), finalist(2, judged(8.0, False), True)], 4),
        ([finalist(4, judged(9.0), True), finalist(2, None, True, False)], 4),
        ([finalist(4, None, True, False), finalist(2, judged(8.0), True)], 4),
        ([finalist(4, None, True, True), finalist(2, judged(9.0), True)], 2),
        ([finalist(4, None, True), finalist(2, None, True)], 4),
    ],
    ids=[
        "none to confirm", "the second is better", "the first is", "the second breaks a guardrail",
        "both do", "the second has not ended", "the first has not", "the first failed", "both did",
    ],
)  # fmt: skip
def test_the_confirm_sets_choose_among_finalists_that_have_ended(
    confirmed: list[Confirmed], best: int
) -> None:
    chosen = _best_trial([result(4), result(2), result(1)], confirmed)
    assert chosen is not None and chosen.number == best
    assert _best_trial([], []) is None


def test_a_conclusion_says_what_is_open_and_how_the_command_ends() -> None:
    def concluded_with(decision: Decision | None, best: TrialResult | None) -> Conclusion:
        runs = (finalist(4, None, True, False, False), finalist(2, judged(9.0), True, False))
        results = (result(7, 9.0, feasible=False), result(4, 9.0), result(2), result(0, None))
        return Conclusion(results, None, None, best, judged(5.0), runs, decision)

    best = result(2)
    codes = {decision: concluded_with(decision, best).exit_code for decision in (*Decision, None)}
    assert codes == {
        Decision.ACCEPT: 0, Decision.REJECT: 4, Decision.INCONCLUSIVE: 5, None: 0
    }  # fmt: skip
    assert (
        concluded_with(None, None).exit_code == concluded_with(Decision.ACCEPT, None).exit_code == 5
    )
    whole = concluded_with(None, best)
    assert whole.unconfirmed == 3
    assert whole.lowest_domain is not None and whole.lowest_domain.number == 4
    assert whole.confirmation is whole.confirmed[1] and whole.deciding is whole.confirmed[1].verdict
    alone = replace(whole, best=result(1))
    assert alone.confirmation is None and alone.deciding is alone.verdict
    assert concluded_with(None, None).confirmation is None


def test_a_seed_reproduces_only_what_it_was_measured_on() -> None:
    """Every limit and guardrail, literally; without limits there is nothing to reproduce."""
    baseline = Scores("f", {name: SetScore((2,) * 9, (10,) * 9) for name in CONFIRM})

    def reproduces(heldout: int | None, guarded: bool = True, accepted: bool = True) -> bool | None:
        sets = {"confirm_domain": SetScore((1,) * 9, (10,) * 9)}
        if heldout is not None:
            sets["confirm_heldout"] = SetScore((heldout,) * 9, (10,) * 9)
        verdict = judge(
            Scores("f", sets),
            baseline,
            guardrails=[Criterion("heldout_wer", "not_worse")] if guarded else [],
            acceptance=[Criterion("domain_wer", "min_gain", 1.0)] if accepted else [],
            confirmed=True,
            resamples=50,
        )
        return SeedRun(SimpleNamespace(), None, verdict).reproduces  # type: ignore[arg-type]

    assert reproduces(2) and reproduces(2, accepted=False) and reproduces(3, guarded=False)
    assert not reproduces(3) and not reproduces(None)
    assert not reproduces(2, guarded=False, accepted=False)
    assert not SeedRun(SimpleNamespace(), None, None).reproduces  # type: ignore[arg-type]


CONFIRM = ("confirm_domain", "confirm_heldout")


def test_each_question_of_a_limit_has_its_own_rule(tmp_path: Path) -> None:
    def rules(limit: str) -> dict[str, str]:
        sweep = SWEEP.replace("domain_wer: {min_gain: 1.0}", f"domain_wer: {limit}")
        spec = load_spec(make_project(tmp_path, sweep))
        return {each.kind: each.rule for each in acceptance_of(spec) if "domain" in each.metric}

    assert rules("{min_gain: 1.0, max_wer: 12}") == {"min_gain": "proven", "max_rate": "point"}
    assert rules("{min_gain: 1.0}") == {"min_gain": "proven"}
    assert rules("{max_wer: 12, max_regression: 1}") == {
        "max_rate": "point",
        "max_regression": "point",
    }
    both = rules("{min_gain: 1.0, max_wer: 12, rule: proven}")
    assert both == {"min_gain": "proven", "max_rate": "proven"}


def test_a_gain_of_all_errors_can_be_measured_and_not_proven(tmp_path: Path) -> None:
    for rule, found in (("point", ["low-headroom"]), ("proven", ["no-headroom"])):
        sweep = SWEEP.replace("{min_gain: 1.0}", f"{{min_gain: 1.0, rule: {rule}}}")
        spec = load_spec(make_project(tmp_path, sweep))
        assert [each.name for each in headroom(spec, set_with(10, 1000))] == found
        assert [each.name for each in headroom(spec, set_with(9, 1000))] == ["no-headroom"]


def test_confirm_sets_without_a_confirmation_are_said_to_be_unused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = SWEEP.replace("confirm: {top: 1, seeds: [101, 102]}\n", "")
    spec = make_project(tmp_path, without)
    for command in ("validate", "plan", "diagnose"):
        orchestrate(command, spec)
        printed = capsys.readouterr()
        said = " ".join((printed.out + printed.err).split())
        assert "without confirm nothing is measured on them" in said, command
    findings = find_before_decoding(load_spec(spec), {}, tmp_path / "cache")
    assert [each.name for each in findings] == ["confirm-unused"]
    orchestrate("validate", spec, "confirm.top=1")
    printed = capsys.readouterr()
    assert "nothing is measured" not in printed.out + printed.err


def test_a_late_rate_is_asked_for_where_no_confirmation_decides(tmp_path: Path) -> None:
    sweep = SWEEP.replace(
        "  confirm: {domain",
        "  also: {noisy: {manifest: data/domain.jsonl, rungs: last}}\\n  confirm: {domain",
    ).replace("acceptance:\n", "acceptance:\n  noisy_wer: {max_regression: 1}\n")
    sweep = sweep.replace("\\n", "\n").replace(
        "confirm_heldout.jsonl}",
        "confirm_heldout.jsonl, also: {noisy: data/confirm_domain.jsonl}}",
    )
    confirmed = load_spec(make_project(tmp_path, sweep))
    assert late_rates(confirmed) == frozenset()
    without = sweep.replace("confirm: {top: 1, seeds: [101, 102]}\n", "")
    assert late_rates(load_spec(make_project(tmp_path, without))) == {"noisy"}


@pytest.mark.parametrize(
    ("asked", "possible"),
    [("trials: 4000", "trials: 6"), ("top: 500", "top: 6")],  # 3 learning rates and 2 ranks
)
def test_the_error_is_divided_among_trials_that_there_can_be(
    tmp_path: Path, asked: str, possible: str
) -> None:
    grid = SWEEP.replace("method: tpe", "method: grid")
    grid = grid.replace("{min: 4, max: 32, log: true}", "{values: [4, 32]}")
    grid = grid.replace("trials: 5", "trials: 6")
    if "trials" in asked:
        grid = grid.replace("confirm: {top: 1, seeds: [101, 102]}\n", "")
    name = "domain" if "trials" in asked else "confirm_domain"
    sizes = {name: SetSize(utterances=500, words=5000)}
    gains = []
    for words in (asked, possible, possible.replace("6", "1")):
        sweep = grid.replace("trials: 6" if "trials" in asked else "top: 1", words)
        [resolution] = sweep_plan(load_spec(make_project(tmp_path, sweep)), sizes).resolution
        gains.append(resolution.provable_gain)
    assert gains[0] == gains[1] and gains[0] != gains[2]


def test_a_rate_is_not_rounded_onto_what_it_is_compared_with() -> None:
    spec = make_spec(acceptance={"domain_wer": Limit(min_gain=1.0)})
    [refused], [warned] = (
        headroom(spec, set_with(399, 40_000)),
        headroom(spec, set_with(2499, 50_000)),
    )
    assert refused.message.startswith("the baseline's domain WER is 0.998 %, so a gain of 1 points")
    assert warned.message.startswith("the baseline's domain WER is 4.998 %, below 5 %:")
    assert [on_its_side(wer, HIGH, 0) for wer in (50.3, 50.6, 196.4)] == ["50.3", "51", "196"]
    assert on_its_side(50.04, HIGH, 1) == "50.04"
