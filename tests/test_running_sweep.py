"""The sweep loop on the fake worker: budget, duplicates, guardrails, failures, time, an orderly
stop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import pytest

from orchestrator.errors import FingerprintError, Interrupted, ModelError, StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Measured, Progress
from orchestrator.reporting.documents.caveats import caveats
from orchestrator.running import confirmation, sweep_loop
from orchestrator.running.completion import search_is_over
from orchestrator.running.observer import NullObserver
from orchestrator.running.reported_rates import reported_rates
from orchestrator.running.signals import GracefulShutdown
from orchestrator.running.sweep_run import SweepRun
from orchestrator.running.trial_stopping import Stop
from orchestrator.search.study import Study
from orchestrator.sweepfile.limits import Limit
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import Budget, EarlyStop, SweepSpec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.saved_adapters import final_adapter
from tests.crashes import Killed
from tests.fake_worker import FakeWorker
from tests.running_support import RESAMPLES, SPACE, history, make_spec, run


def folder_of(root: Path) -> StudyFolder:
    return StudyFolder(root, "s")


@pytest.mark.parametrize(("trials", "capacity"), [(1, 4), (5, 1), (5, 2), (5, 8)])
def test_the_budget_is_met_and_never_exceeded(trials: int, capacity: int, tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=trials))
    outcome = run(spec, tmp_path, FakeWorker(capacity=capacity))
    assert [result.number for result in outcome.results] == list(range(trials))
    assert len(history(spec, tmp_path)) == trials


def test_a_lowered_budget_asks_for_nothing_more(tmp_path: Path) -> None:
    run(make_spec(budget=Budget(trials=4)), tmp_path)
    worker = FakeWorker()
    outcome = run(make_spec(budget=Budget(trials=2)), tmp_path, worker)
    assert (worker.admitted, len(outcome.results)) == ([], 4)


def test_a_grid_ends_before_its_budget(tmp_path: Path) -> None:
    spec = make_spec(
        method="grid",
        searched=SPACE[:1],
        fixed={"rank": 8, "max_steps": 100},
        budget=Budget(trials=9),
    )
    outcome = run(spec, tmp_path)
    assert (len(outcome.results), outcome.exhausted) == (4, True)


def test_a_duplicate_copies_its_original_with_its_constraints(tmp_path: Path) -> None:
    spec = make_spec(
        method="random",
        searched=SPACE[:1],
        fixed={"rank": 8, "max_steps": 200},
        budget=Budget(trials=12),
    )
    worker = FakeWorker()
    results = {result.number: result for result in run(spec, tmp_path, worker).results}
    copies = [result for result in results.values() if result.duplicate_of is not None]
    assert len(copies) == 12 - len(worker.admitted) >= 8
    for copy in copies:
        original = results[copy.duplicate_of or 0]
        assert original.number < copy.number and original.duplicate_of is None
        kept = ("state", "feasible", "wer", "delta", "constraints", "params")
        assert [getattr(copy, name) for name in kept] == [getattr(original, name) for name in kept]
        assert copy.reason.startswith(
            f"same recipe as trial {original.number}, not trained again: "
        )
    study = Study.open(folder_of(tmp_path).database, spec)
    values = {trial.number: trial.value for trial in study.trials()}
    study.close()
    assert all(values[copy.number] == values[copy.duplicate_of or 0] for copy in copies)
    folder = StudyFolder(tmp_path, "s")
    said = list(caveats(spec, folder, conclude(spec, folder, RESAMPLES), done=True))
    measured = sum(r.duplicate_of is None and bool(r.wer) for r in results.values())
    assert any(f"the best of {measured} measured trials" in line for line in said)


def test_a_duplicate_of_a_running_trial_waits_for_it_without_a_slot(tmp_path: Path) -> None:
    spec = make_spec(searched=(Dimension(name="rank", choices=(8,)),), budget=Budget(trials=3),
                     fixed={"learning_rate": 5e-4, "max_steps": 200})  # fmt: skip
    worker = FakeWorker(capacity=3)
    results = run(spec, tmp_path, worker).results
    assert worker.admitted == [0]
    assert [result.duplicate_of for result in results] == [None, 0, 0]


def test_a_guardrail_prunes_only_when_broken_at_every_scale(tmp_path: Path) -> None:
    fixed = {"learning_rate": 3e-3, "rank": 8, "max_steps": 300}
    searched = (Dimension(name="seed", choices=(1, 2)),)
    both = make_spec(searched=searched, fixed=fixed, scales=(0.8, 1.0), budget=Budget(trials=1))
    [pruned] = run(both, tmp_path / "a").results
    assert (pruned.state, pruned.pruned_by, pruned.steps_trained) == (
        TrialState.PRUNED,
        "guardrail:heldout_wer:proven",
        100,
    )
    assert not pruned.feasible and pruned.constraints["heldout_wer"] > 0
    cured = make_spec(searched=searched, fixed=fixed, scales=(0.1, 1.0), budget=Budget(trials=1))
    [complete] = run(cured, tmp_path / "b").results
    assert (complete.state, complete.adapter_scale, complete.steps_trained) == (
        TrialState.COMPLETE,
        0.1,
        300,
    )


@pytest.mark.parametrize(
    ("rule", "pruned_by", "steps"),
    [("point", "guardrail:heldout_wer:point", 100), ("proven", None, 300)],
)
def test_the_point_rule_prunes_at_a_rung_what_is_not_proven(
    tmp_path: Path, rule: Literal["point", "proven"], pruned_by: str | None, steps: int
) -> None:
    """The trial's held-out change at its first rung is above the limit, and the set is too small to
    prove it.
    """
    fixed = {"learning_rate": 1e-3, "rank": 8, "max_steps": 300}
    free = make_spec(searched=(Dimension(name="seed", choices=(1,)),), fixed=fixed, scales=(1.0,), guardrails={},
                     budget=Budget(trials=1))  # fmt: skip
    run(free, tmp_path / "free")
    base = next(iter(json.loads((tmp_path / "free" / "s" / "baseline.json").read_text()).values()))
    first = folder_of(tmp_path / "free").read_measurements(0)[0]
    change = first.sets["heldout"].wer - Measurement.model_validate(base).sets["heldout"].wer
    limit = {"heldout_wer": Limit(max_regression=change - 0.01, rule=rule)}
    [result] = run(free.model_copy(update={"guardrails": limit}), tmp_path / "guarded").results
    assert result.steps_trained == steps
    if pruned_by:
        assert result.pruned_by == pruned_by
        assert result.reason == (
            f"guardrail heldout_wer: {change:+.2f} points at step 100 (allowed is less than +{change - 0.01:g})"
        )


def test_an_infeasible_trial_is_pruned_at_its_end_with_the_reason(tmp_path: Path) -> None:
    spec = make_spec(searched=(Dimension(name="seed", choices=(1,)),), budget=Budget(trials=1), scales=(1.0,),
                     fixed={"learning_rate": 1e-3, "rank": 8, "max_steps": 100},
                     guardrails={"heldout_wer": Limit(max_regression=0.01)})  # fmt: skip
    [result] = run(spec, tmp_path).results
    assert (result.state, result.feasible, result.steps_trained) == (TrialState.PRUNED, False, 100)
    assert result.reason.startswith("guardrail heldout_wer: +")
    assert "allowed is less than +0.01" in result.reason


def test_the_ratio_rule_stops_what_is_worse_than_the_baseline(tmp_path: Path) -> None:
    spec = make_spec(early_stop=EarlyStop(method="ratio", ratio=1.1), budget=Budget(trials=2), scales=(1.0,),
                     searched=(Dimension(name="seed", choices=(1, 2)),),
                     fixed={"learning_rate": 0.2, "rank": 8, "max_steps": 300},
                     guardrails={"heldout_wer": Limit(max_regression=99.0)})  # fmt: skip
    first = run(spec, tmp_path).results[0]
    assert (first.pruned_by, first.steps_trained) == ("ratio", 100)
    assert re.fullmatch(
        r"domain WER \S+ % at step 100 is above 1.1 times the baseline \(\S+ %\)", first.reason
    )


def test_a_failed_trial_keeps_its_reason_and_no_numbers(tmp_path: Path) -> None:
    spec = make_spec(fixed={"learning_rate": 0.6}, searched=SPACE[1:], budget=Budget(trials=2))
    results = run(spec, tmp_path).results
    assert {(r.state, r.reason, r.feasible) for r in results} == {
        (TrialState.FAIL, "loss is not finite at step 100", False)
    }
    assert all(result.wer == {} and result.step is None for result in results)


class Choosy(FakeWorker):
    """Has no modules for large ranks."""

    def admit(self, plan: TrialPlan) -> None:
        if plan.params.rank > 8:
            raise ModelError("rank does not fit")
        super().admit(plan)


def test_a_trial_that_does_not_fit_the_model_fails_alone(tmp_path: Path) -> None:
    results = run(make_spec(), tmp_path, Choosy()).results
    misfits = [
        result for result in results if result.params["rank"] > 8 and result.duplicate_of is None
    ]
    assert misfits and all(
        (r.state, r.reason) == (TrialState.FAIL, "rank does not fit") for r in misfits
    )
    assert len(results) == 8


def test_the_exported_adapter_is_that_of_the_result(tmp_path: Path) -> None:
    spec = make_spec()
    for result in run(spec, tmp_path).results:
        config = folder_of(tmp_path).adapter_folder(result.number) / "adapter_config.json"
        if result.duplicate_of is None:
            expected = f'{{"number": {result.number}, "step": {result.step}, "scale": {result.adapter_scale}}}'
            assert config.read_text() == expected


def test_the_adapter_of_the_last_rung_is_kept_where_it_is_not_the_best(tmp_path: Path) -> None:
    spec = make_spec()
    results = [result for result in run(spec, tmp_path).results if result.duplicate_of is None]
    others = 0
    for result in results:
        folder = folder_of(tmp_path)
        rows = folder.read_measurements(result.number)
        last = final_adapter(spec, folder, result)
        assert last.step == rows[-1].step == result.steps_trained
        measured = next(
            row for row in rows if (row.step, row.adapter_scale) == (last.step, last.adapter_scale)
        )
        assert last.wer == {name: each.wer for name, each in measured.sets.items()}
        expected = (
            f'{{"number": {result.number}, "step": {last.step}, "scale": {last.adapter_scale}}}'
        )
        assert (last.folder / "adapter_config.json").read_text() == expected
        assert last.folder.name == ("adapter" if last.gave_the_result else "final")
        assert folder.final_folder(result.number).exists() != last.gave_the_result
        others += not last.gave_the_result
    assert 0 < others < len(results)


def clock_of(step: float) -> Callable[[], float]:
    times: Iterator[float] = (step * n for n in range(1_000_000))
    return lambda: next(times)


def test_a_trial_that_the_wall_clock_ends_before_its_plan_was_written_has_its_plan(
    tmp_path: Path,
) -> None:
    spec = make_spec(budget=Budget(trials=1, wall_clock=1e-9))
    folder = StudyFolder(tmp_path, spec.name)
    with folder.lock():
        study = Study.open(folder.database, spec)
        study.ask()
        study.commit()  # and killed before the plan
        study.close()
    assert folder.read_plan(0) is None
    run(spec, tmp_path)
    assert folder.read_result(0) is not None and folder.read_plan(0) is not None


def test_when_the_wall_clock_is_spent_trials_end_at_their_best(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=50, wall_clock=60.0))
    outcome = run(spec, tmp_path, clock=clock_of(1.0))
    cut = [result for result in outcome.results if result.pruned_by == "wall_clock"]
    assert outcome.out_of_time and 0 < len(cut) <= 2 < len(outcome.results) < 50
    assert all((r.state, r.reason) == (TrialState.PRUNED, "wall clock spent") for r in cut)
    assert all(row[1] != TrialState.RUNNING for row in history(spec, tmp_path))
    worker = FakeWorker()
    run(spec, tmp_path, worker, clock=clock_of(0.0))
    assert worker.admitted == []
    more = make_spec(budget=Budget(trials=len(outcome.results) + 2, wall_clock=1e6))
    assert len(run(more, tmp_path, clock=clock_of(0.0)).results) == len(outcome.results) + 2


def test_it_is_said_that_the_wall_clock_ended_the_search(tmp_path: Path) -> None:
    """Also where no trial was cut, as when the baseline alone took all the time."""
    said = Mock(spec=NullObserver)
    spec = make_spec(budget=Budget(trials=8, wall_clock=1e-9))
    assert run(spec, tmp_path, observer=said).results == ()
    text = "budget.wall_clock is spent: the search ends with 0 of 8 trials"
    said.say.assert_called_with(text)
    assert StudyFolder(tmp_path, "s").has_note(text)


def test_a_grid_whose_last_cell_took_the_last_of_the_time_ended_by_itself(tmp_path: Path) -> None:
    one = (Dimension(name="learning_rate", choices=(5e-4,)),)
    fixed = {"rank": 8, "max_steps": 100}
    folder, budget = StudyFolder(tmp_path, "s"), Budget(trials=8, wall_clock=1.0)
    spec = make_spec(method="grid", searched=one, fixed=fixed, budget=budget)
    outcome = run(spec, tmp_path, clock=lambda: float(len(folder.results())))
    assert outcome.out_of_time and len(outcome.results) == 1
    assert "wall_clock" not in folder.noted()


def test_a_kill_while_the_spent_clock_ends_trials_leaves_none_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(budget=Budget(trials=8, wall_clock=1.0))
    folder = StudyFolder(tmp_path, spec.name)

    def killed(sweep: SweepRun, stop: Stop) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(SweepRun, "end_all", killed)
        run(spec, tmp_path, clock=clock_of(0.05), save_every=1e9)
    begun = [n for n in folder.planned() if folder.read_result(n) is None]
    assert begun and not search_is_over(spec, folder)
    run(spec, tmp_path, clock=clock_of(0.05))
    assert search_is_over(spec, folder)
    ended = [folder.read_result(number) for number in begun]
    assert [result and result.pruned_by for result in ended] == ["wall_clock"] * len(begun)
    assert all(row[1] != TrialState.RUNNING for row in history(spec, tmp_path))


def test_a_trial_that_ended_before_a_kill_has_all_its_reports_when_the_clock_ends_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(budget=Budget(trials=3), fixed={"learning_rate": 3e-3}, searched=SPACE[1:])
    folder, write = StudyFolder(tmp_path, spec.name), StudyFolder.write_result

    def killing(folder: StudyFolder, result: TrialResult) -> None:
        write(folder, result)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(StudyFolder, "write_result", killing)
        run(spec, tmp_path, save_every=1e9)
    (ended,) = folder.results()
    assert ended.state == TrialState.PRUNED and ended.wer
    late = spec.model_copy(update={"budget": Budget(trials=3, wall_clock=1e-9)})
    assert run(late, tmp_path).out_of_time
    study = Study.open(folder.database, spec)
    told = study.trials()[ended.number]
    study.close()
    assert told.value == reported_rates(spec, folder, ended.number, ended)[ended.steps_trained]


def one_trial(wall_clock: float | None = None) -> SweepSpec:
    fixed = {"learning_rate": 5e-4, "max_steps": 400}
    budget = Budget(trials=1, wall_clock=wall_clock)
    return make_spec(searched=SPACE[1:2], fixed=fixed, budget=budget)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("deed", ["export", "advance"])
def test_after_a_kill_the_clock_ends_a_trial_with_the_adapter_of_its_result(
    deed: str, saved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the second measurement, before its adapter is on file or after that, with a
    checkpoint or none.
    """
    original, save = getattr(FakeWorker, deed), SweepRun.checkpoint

    def killing(worker: FakeWorker, *arguments: Any) -> Any:
        if worker.slots[0].step == 200:
            raise Killed
        return original(worker, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FakeWorker, deed, killing)
        patch.setattr(SweepRun, "checkpoint", save if saved else Mock())
        run(one_trial(), tmp_path, FakeWorker(1))
    folder = folder_of(tmp_path)
    assert folder.read_measurements(0)[-1].step == 200
    outcome = run(one_trial(1e-9), tmp_path, FakeWorker(1))
    assert outcome.out_of_time
    (result,) = outcome.results
    assert result.pruned_by == "wall_clock" and result.step == result.steps_trained == 200
    written = folder.adapter_folder(0) / "adapter_config.json"
    assert json.loads(written.read_text())["step"] == 200


class Dying(FakeWorker):
    """A worker whose process is killed at the third tick."""

    ticks = 0

    def advance(self) -> tuple[Event, ...]:
        self.ticks += 1
        if self.ticks == 3:
            raise Killed
        return super().advance()


def test_trials_of_a_larger_budget_end_under_a_lowered_one_after_a_kill(tmp_path: Path) -> None:
    small, large = (make_spec(budget=Budget(trials=trials)) for trials in (2, 6))
    folder = StudyFolder(tmp_path, small.name)
    run(small, tmp_path)
    with pytest.raises(Killed):
        run(large, tmp_path, Dying(), save_every=1e9)
    begun = len(folder.planned())
    assert begun > len(folder.results()) and not search_is_over(small, folder)
    run(small, tmp_path)
    assert len(history(small, tmp_path)) == len(folder.results()) == begun
    assert search_is_over(small, folder)


class Stopping(NullObserver):
    """Asks for an orderly stop at the n-th measurement."""

    def __init__(self, drain: GracefulShutdown, after: int) -> None:
        self.drain, self.left = drain, after

    def measured(self, verdict: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.drain.requested = "SIGTERM"


def test_an_orderly_stop_continues_without_a_trace(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=5))
    run(spec, tmp_path / "straight")
    for after in (1, 4):
        root = tmp_path / f"stopped-{after}"
        drain = GracefulShutdown()
        with pytest.raises(
            Interrupted,
            match=r"Stopped by SIGTERM after (1 trial|[2-9] trials)\. The same command continues",
        ):
            run(spec, root, observer=Stopping(drain, after), drain=drain)
        run(spec, root)
        assert history(spec, root) == history(spec, tmp_path / "straight")


def test_a_stop_while_the_model_is_loaded_waits_for_no_baseline(tmp_path: Path) -> None:
    drain, worker = GracefulShutdown(), FakeWorker()
    drain.requested = "SIGTERM"
    with pytest.raises(Interrupted, match="Stopped by SIGTERM after 0 trials"):
        run(make_spec(budget=Budget(trials=1)), tmp_path, worker, drain=drain)
    assert worker.baselines == 0 and worker.admitted == []


@pytest.mark.parametrize(("ended", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_a_stop_counts_what_has_ended_and_what_is_left(ended: int, said: str) -> None:
    drain, folder = GracefulShutdown(), Mock(results=lambda: range(ended))
    drain.requested = "SIGINT"
    text = str(sweep_loop._stopped(drain, folder))
    assert text == f"Stopped by SIGINT after {said}. The same command continues the sweep."
    with pytest.raises(Interrupted) as caught:
        confirmation._check_stop(drain, ended)
    left = said.replace("trial", "confirmation run")
    assert str(caught.value) == f"Stopped by SIGINT, {left} left. The same command continues."


def test_the_baseline_is_measured_once(tmp_path: Path) -> None:
    first, second = FakeWorker(), FakeWorker()
    run(make_spec(budget=Budget(trials=1)), tmp_path, first)
    run(make_spec(budget=Budget(trials=3)), tmp_path, second)
    assert (first.baselines, second.baselines) == (1, 0)


def test_another_evaluation_is_refused_once_trials_were_measured(tmp_path: Path) -> None:
    run(make_spec(budget=Budget(trials=1)), tmp_path)
    with pytest.raises(FingerprintError) as caught:
        run(make_spec(budget=Budget(trials=2)), tmp_path, FakeWorker(version="2"))
    assert str(caught.value) == (
        "The trials of study s were evaluated differently from what this machine would do now, so their numbers cannot "
        "be compared. What differs:\n  version: 1 in the study, 2 now\n"
        "Put back what changed (data, model, device, library versions), or start a new study with --fork NAME."
    )


class Weighted(FakeWorker):
    """A worker whose model has these weights."""

    weights = "a"

    @property
    def evaluation(self) -> dict[str, str]:
        return super().evaluation | {"weights": self.weights}


class Replaced(Weighted):
    """A worker of the same model with other weights."""

    weights = "b"


class StoppingEarly(Stopping):
    """Asks for an orderly stop at the n-th progress, before anything is measured."""

    def progress(self, event: Progress) -> None:
        self.measured(event)


def test_trials_do_not_go_on_upon_another_model(tmp_path: Path) -> None:
    spec, drain = make_spec(budget=Budget(trials=2)), GracefulShutdown()
    with pytest.raises(Interrupted):
        run(spec, tmp_path, Weighted(), StoppingEarly(drain, 1), drain=drain)
    folder = folder_of(tmp_path)
    assert folder.planned() and not folder.read_measurements(0)
    with pytest.raises(FingerprintError) as caught:
        run(spec, tmp_path, Replaced())
    assert str(caught.value) == (
        "The trials of study s were begun on another model than the sweep file's is now, so they cannot go on. What "
        "differs:\n  weights: a in the study, b now\n"
        "Put the model back, or start a new study with --fork NAME."
    )
    assert len(folder.baselines()) == 1, "nothing was measured with the other model"
    run(spec, tmp_path, Weighted())
    assert len(folder.results()) == 2 and folder.measured_weights() == "a"


def test_a_model_that_was_put_right_before_the_first_trial_is_that_of_the_study(
    tmp_path: Path,
) -> None:
    spec = make_spec(budget=Budget(trials=2))
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Weighted, "admit", Mock(side_effect=Killed))
        run(spec, tmp_path, Weighted())
    run(spec, tmp_path, Replaced())
    folder = folder_of(tmp_path)
    assert len(folder.baselines()) == 2 and folder.measured_weights() == "b"


def test_a_trial_that_was_measured_and_has_not_ended_holds_to_its_evaluation(
    tmp_path: Path,
) -> None:
    spec, drain = make_spec(budget=Budget(trials=2)), GracefulShutdown()
    with pytest.raises(Interrupted):
        run(spec, tmp_path, observer=Stopping(drain, 1), drain=drain)
    folder = folder_of(tmp_path)
    assert folder.read_measurements(0)
    with pytest.raises(FingerprintError, match="version: 1 in the study, 2 now"):
        run(spec, tmp_path, FakeWorker(version="2"))
    assert len(folder.baselines()) == 1


def test_trials_do_not_go_on_under_an_evaluation_of_which_only_the_baseline_is_on_file(
    tmp_path: Path,
) -> None:
    spec, drain = make_spec(budget=Budget(trials=4)), GracefulShutdown()
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeWorker, "admit", Mock(side_effect=Killed))
        run(spec, tmp_path)
    run(spec.model_copy(update={"budget": Budget(trials=2)}), tmp_path, FakeWorker(version="2"))
    with pytest.raises(FingerprintError, match="version: 2 in the study, 1 now"):
        run(spec, tmp_path)
    with pytest.raises(Interrupted):
        run(spec, tmp_path, FakeWorker(version="2"), Stopping(drain, 1), drain=drain)


def test_a_lost_database_is_said(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=2))
    run(spec, tmp_path)
    folder_of(tmp_path).database.unlink()
    with pytest.raises(StudyError, match="holds 0 trials, the checkpoint says 2"):
        run(spec, tmp_path)


def test_a_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    spec = make_spec(budget=Budget(trials=2))
    run(spec, tmp_path)
    for state in folder_of(tmp_path).checkpoint.glob("*.json"):
        state.write_text('{"tick": 1')
    with pytest.raises(StudyError, match="trials that had not ended start anew"):
        run(spec, tmp_path)


class Strict(FakeWorker):
    """Counts what is measured, to compare with what is on file."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[tuple[int, int]] = []

    def advance(self) -> tuple[Event, ...]:
        events = super().advance()
        self.measured += [
            (event.number, event.step) for event in events if isinstance(event, Measured)
        ]
        return events


def test_every_measurement_is_on_file_with_its_hypotheses(tmp_path: Path) -> None:
    worker = Strict()
    run(make_spec(), tmp_path, worker)
    folder = folder_of(tmp_path)
    for number, step in worker.measured:
        rows = [row for row in folder.read_measurements(number) if row.step == step]
        assert [row.adapter_scale for row in rows] == [0.5, 1.0]
        assert all(len(folder.read_hypotheses(number, row)["domain"]) == 200 for row in rows)


def test_a_checkpoint_leaves_the_one_before_it_and_no_older_one(tmp_path: Path) -> None:
    run(make_spec(), tmp_path)
    states = sorted(int(path.stem) for path in folder_of(tmp_path).checkpoint.glob("*.json"))
    assert len(states) == 2 and states[1] == states[0] + 1
