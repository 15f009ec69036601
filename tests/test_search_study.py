"""What the study promises around Optuna's traps: ends, constraints, order, counting, errors of the
database.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.trial import FrozenTrial

from orchestrator.errors import StudyError
from orchestrator.records.results import TrialState
from orchestrator.search import pruners, storage
from orchestrator.search.database_differences import ended_elsewhere, refuse_differing
from orchestrator.search.postgres import ServerDatabase, new_record
from orchestrator.search.study import Study
from orchestrator.search.trial_results import StudyTrial
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.search_space import Dimension
from orchestrator.sweepfile.sweep import EarlyStop
from tests.search_helpers import FINITE, WHEN_REPLAY, fast_folder, make_result, make_spec

RANK = (Dimension(name="rank", choices=(4, 8, 16, 32)),)


@pytest.fixture(name="database")
def _database() -> Iterator[Path]:
    with fast_folder() as parent:
        # What a URL would take apart: SQLAlchemy's query and Optuna's template.
        folder = parent / "a {x}?mode=ro %20 ü"
        folder.mkdir()
        yield folder / "study.db"


def native(path: Path, name: str = "small") -> optuna.Study:
    """The study as stock Optuna reads it."""
    engine = {"creator": lambda: sqlite3.connect(path)}
    return optuna.load_study(
        study_name=name, storage=optuna.storages.RDBStorage("sqlite://", engine)
    )


def test_the_database_lies_where_it_was_asked_for(database: Path) -> None:
    Study.open(database, make_spec()).close()
    assert [path.name for path in database.parent.iterdir()] == ["study.db"]
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    study = Study.open(database, make_spec())
    with study._rdb.engine.connect() as live:
        assert live.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    study.commit()
    study.close()


def test_start_with_comes_first_and_what_it_leaves_open_is_drawn(database: Path) -> None:
    points = (
        {"rank": 16},
        {"rank": 16},
        {"rank": 4, "replay_ratio": 0.5, "kl_weight": 0.3, "max_steps": 200},
    )
    study = Study.open(database, make_spec("tpe", FINITE, start_with=points))
    first, second, third = study.ask(), study.ask(), study.ask()
    assert first and second and third
    assert first.params["rank"] == 16 and {"replay_ratio", "max_steps"} <= set(first.params)
    assert second.params == points[2], "a repeated point is tried once"
    assert (first.number, second.number, third.number) == (0, 1, 2)
    study.commit()
    study.close()


def test_start_with_outside_the_space_is_refused(database: Path) -> None:
    with pytest.raises(StudyError) as caught:
        Study.open(database, make_spec("tpe", RANK, start_with=({"rank": 5},)))
    assert str(caught.value) == (
        "start_with: rank = 5 is not in the search space\n  Allowed: 4, 8, 16, 32. Change the point or the range."
    )


def test_inactive_parameters_are_absent(database: Path) -> None:
    study = Study.open(database, make_spec("random", FINITE))
    asked = [study.ask() for _ in range(12)]
    study.commit()
    study.close()
    states = {(a.params["replay_ratio"] > 0.3, "kl_weight" in a.params) for a in asked if a}
    assert states == {(True, True), (False, False)}


def test_grid_tries_every_cell_once_and_ends(database: Path) -> None:
    space = (
        Dimension(name="rank", choices=(2, 8)),
        Dimension(name="replay_ratio", low=0.0, high=0.5, step=0.25),
        Dimension(name="kl_weight", choices=(0.0, 0.1, 0.3), when=WHEN_REPLAY),
        Dimension(name="max_steps", low=100, high=200, step=100),
    )
    study = Study.open(
        database, make_spec("grid", space, start_with=({"rank": 8, "replay_ratio": 0.5},))
    )
    asked = []
    while (next_one := study.ask()) is not None:
        asked.append(next_one.params)
    assert study.ask() is None and len(study.trials()) == len(asked)
    study.commit()
    study.close()
    assert len(asked) == 2 * 2 * (1 + 1 + 3)
    assert len({tuple(sorted(params.items())) for params in asked}) == len(asked)
    assert asked[0] == {"rank": 8, "replay_ratio": 0.5, "kl_weight": 0.0, "max_steps": 100}
    assert asked[1] == {"rank": 2, "replay_ratio": 0.0, "max_steps": 100}


def test_grid_over_a_continuous_range_is_refused(database: Path) -> None:
    rate = Dimension(name="learning_rate", low=1e-5, high=1e-3)
    with pytest.raises(StudyError) as caught:
        Study.open(database, make_spec("grid", (rate,)))
    assert str(caught.value) == (
        "method grid: learning_rate is a range without steps, 1e-05 to 0.001\n"
        "  Write its values, give it a step, or choose method qmc, random or tpe."
    )


def test_an_infeasible_trial_is_pruned_and_so_never_best(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    for number, feasible in enumerate((True, False)):
        asked = study.ask()
        assert asked
        study.report(number, 100, 50.0 - number)
        result = make_result(
            number, asked.params, 50.0 - number, feasible=feasible,
            constraints={"heldout_wer": -0.1 if feasible else 0.4}, reason="heldout +0.60 points",
        )  # fmt: skip
        study.tell(number, result)
    study.commit()
    study.close()
    stock = native(database)
    assert [t.state.name for t in stock.trials] == ["COMPLETE", "PRUNED"]
    assert stock.best_trial.number == 0
    assert optuna.get_all_study_summaries(stock._storage)[0].best_trial.number == 0  # type: ignore[union-attr]
    assert stock.trials[1].constraints == {"heldout_wer": 0.4}
    assert stock.trials[1].user_attrs == {
        "wer_domain": 49.0, "wer_heldout": 5.0, "delta_domain": -11.0, "delta_heldout": -0.1, "feasible": False,
        "reason": "heldout +0.60 points", "best_step": 100, "steps_trained": 100, "seconds": 0.0, "adapter_scale": 1.0,
    }  # fmt: skip
    assert (
        optuna_dashboard.get_note(optuna.trial.Trial(stock, stock.trials[1]._trial_id))
        == "heldout +0.60 points"
    )


def test_for_gp_an_infeasible_trial_is_complete_with_its_constraint(database: Path) -> None:
    study = Study.open(database, make_spec("gp", RANK))
    asked = study.ask()
    assert asked
    study.tell(0, make_result(0, asked.params, feasible=False, constraints={"heldout_wer": 0.4}))
    [trial] = study.trials()
    assert trial.state == TrialState.COMPLETE and trial.user_attrs["feasible"] is False
    study.commit()
    study.close()


def test_constraints_stand_in_spec_order_and_only_once(database: Path) -> None:
    study = Study.open(database, make_spec("gp", RANK))
    study.ask()
    study.set_constraints(0, {"another": 1.0, "heldout_wer": -0.5})
    study.set_constraints(0, {"another": 1.0, "heldout_wer": -0.5})
    with pytest.raises(StudyError) as caught:
        study.set_constraints(0, {"another": 1.0, "heldout_wer": 0.5})
    study.commit()
    study.close()
    assert str(caught.value) == (
        f"{database}: trial 0 has constraint heldout_wer = -0.5, not 0.5\n"
        "  What its result.json says is sealed. Move study.db away, then run `orchestrate repair SPEC`: it makes it "
        "again from the files of the trials."
    )
    rows = sqlite3.connect(database).execute(
        "SELECT key FROM trial_system_attributes ORDER BY trial_system_attribute_id"
    )
    assert [key for (key,) in rows] == ["constraints:heldout_wer", "constraints:another"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_before_optuna_sees_it(database: Path, value: float) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    study.ask()
    for attempt in (
        lambda: study.report(0, 100, value),
        lambda: study.early_stop(0, 100, value),
        lambda: study.set_constraints(0, {"heldout_wer": value}),
        lambda: study.tell(0, make_result(0, {}, value)),
        lambda: study.tell(0, make_result(0, {}, constraints={"heldout_wer": value})),
    ):
        with pytest.raises(StudyError, match="which Optuna could rank as the best"):
            attempt()
    [trial] = study.trials()
    study.commit()
    study.close()
    assert trial == StudyTrial(0, TrialState.RUNNING, trial.params, None, {})


def test_a_feasible_trial_without_its_guardrail_measured_is_refused(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    study.ask()
    with pytest.raises(StudyError) as caught:
        study.tell(0, make_result(0, {}, constraints={}))
    assert str(caught.value) == (
        "trial 0 cannot be COMPLETE and feasible: heldout_wer and domain WER must all be measured\n"
        "  It counts as infeasible until they are."
    )
    assert study.trials()[0].state == TrialState.RUNNING
    study.commit()
    study.close()


def test_telling_the_same_twice_is_no_change_and_another_end_is_refused(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    study.ask()
    for _ in range(2):
        study.report(0, 100, 51.0)
        study.tell(0, make_result(0, {}, 51.0))
    study.report(0, 200, 1.0)
    with pytest.raises(
        StudyError,
        match=r"already ended COMPLETE with 51.0, now it is said to be COMPLETE with 52.0",
    ):
        study.tell(0, make_result(0, {}, 52.0))
    with pytest.raises(StudyError, match="now it is said to be FAIL"):
        study.tell(0, make_result(0, {}, state=TrialState.FAIL, feasible=False, constraints={}))
    study.commit()
    study.close()
    assert native(database).trials[0].intermediate_values == {100: 51.0}


def test_the_budget_counts_every_trial_once_whatever_became_of_it(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    for _ in range(4):
        study.ask()
    study.tell(0, make_result(0, {}))
    study.tell(1, make_result(1, {}, state=TrialState.FAIL, feasible=False, constraints={}))
    study.tell(2, make_result(2, {}, state=TrialState.PRUNED, reason="median"))
    ended = [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    assert [trial.state for trial in study.trials()] == [*ended, TrialState.RUNNING]
    study.commit()
    study.close()
    study = Study.open(database, make_spec("tpe", RANK))
    assert [trial.state for trial in study.trials()] == [*ended, TrialState.RUNNING]
    study.close()


def test_a_study_that_maximises_is_refused(database: Path) -> None:
    engine = {"creator": lambda: sqlite3.connect(database)}
    stock = optuna.storages.RDBStorage("sqlite://", engine)
    optuna.create_study(study_name="small", direction="maximize", storage=stock)
    with pytest.raises(StudyError) as caught:
        Study.open(database, make_spec())
    assert str(caught.value) == (
        f"{database} holds a study small that maximises; a sweep minimises\n"
        "  Move the file away, or give the sweep another name."
    )


def test_a_file_that_is_no_database_is_one_message(database: Path) -> None:
    database.write_bytes(b"not a database" * 100)
    with pytest.raises(StudyError) as caught:
        Study.open(database, make_spec())
    assert str(caught.value) == (
        f"could not use {database}: file is not a database\n"
        "  Nothing was changed. Restore it from a copy of the study, or run `orchestrate repair SPEC`."
    )


def test_a_locked_database_loses_no_result(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "BUSY_SECONDS", 0.05)
    study = Study.open(database, make_spec("tpe", RANK))
    study.ask()
    study.tell(0, make_result(0, {}))
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StudyError) as caught:
        study.commit()
    assert str(caught.value) == (
        f"could not use {database}: database is locked\n"
        "  Every finished trial is safe in its result.json. Make room or free the file, then run the "
        "same command again."
    )
    holder.execute("ROLLBACK")
    study.commit()
    study.close()
    assert native(database).trials[0].state.name == "COMPLETE"


def test_a_full_disk_at_a_commit_loses_no_result(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    study._rdb.engine.dispose()  # from here on there is one connection, whose limit counts
    assert study._left is not None
    study._left.note()  # the last connection folded the log in
    for failing in range(60):
        asked = study.ask()
        assert asked
        with study._rdb.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        reason = "x" * 200 * failing
        try:
            study.tell(asked.number, make_result(asked.number, asked.params, reason=reason))
            study.commit()
        except StudyError as error:
            assert "is full" in str(error) and "result.json" in str(error)
            break
    else:
        pytest.fail("the disk never was full")
    with study._rdb.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    study.commit()
    study.close()
    stock = native(database)
    assert [trial.state.name for trial in stock.trials] == ["COMPLETE"] * (asked.number + 1)
    told = optuna.trial.Trial(stock, stock.trials[asked.number]._trial_id)
    assert optuna_dashboard.get_note(told) == reason


def test_no_warning_reaches_the_terminal_and_the_filters_stay(
    database: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = Study.open(database, make_spec("tpe", FINITE))
        for number in range(10):
            asked = study.ask()
            assert asked
            study.report(number, 100, 50.0)
            study.tell(number, make_result(number, asked.params))
        study.commit()
        study.close()
    assert warnings.filters == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["median", "asha"])
def test_early_stop_is_optunas_rule(database: Path, method: Any) -> None:
    """Oracle: stock Optuna with its pruner on its own study, the same reports in the same order."""
    rule = EarlyStop(method=method, startup_trials=2, reduction_factor=2)
    spec = make_spec("random", RANK, early_stop=rule, evaluation=EvaluationSpec(every=10))
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=2)
        if method == "median"
        else optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=2)
    )
    stock = optuna.create_study(pruner=pruner)
    ours = Study.open(database, spec)
    answers = []
    for number in range(10):
        ours.ask()
        trial = stock.ask()
        ended = False
        for step in (10, 20, 30, 40, 45):
            value = 50 + (number * 7919 + step * 31) % 23 - step / 10
            trial.report(value, step)
            stop = ours.early_stop(number, step, value)
            assert ours.early_stop(number, step, value) == stop, "asked again, the same"
            assert stop == trial.should_prune()
            answers.append(stop)
            if stop:
                ended = True
                break
        state = TrialState.PRUNED if ended else TrialState.COMPLETE
        ours.tell(number, make_result(number, {}, 50 + number / 10, state=state))
        stock.tell(trial, None if ended else 50 + number / 10, optuna.trial.TrialState[state.name])
    ours.close()
    assert set(answers) == {True, False}


def test_early_stop_none_and_ratio_only_report(database: Path) -> None:
    study = Study.open(database, make_spec("random", RANK, early_stop=EarlyStop(method="ratio")))
    study.ask()
    assert study.early_stop(0, 100, 99.0) is False
    study.commit()
    study.close()
    assert native(database).trials[0].intermediate_values == {100: 99.0}


def test_a_sweep_without_guardrails_needs_no_constraints(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK, guardrails={}))
    study.ask()
    study.tell(0, make_result(0, {}, constraints={}))
    assert study.trials()[0].state == TrialState.COMPLETE
    study.commit()
    study.close()


def test_the_room_imports_no_torch() -> None:
    code = "import sys, orchestrator.search.study, orchestrator.search.dashboard; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_not_committed_was_not_done(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    study.ask()
    study.commit()
    study.tell(0, make_result(0, {}))
    study.ask()
    assert [trial.state.name for trial in native(database).trials] == ["RUNNING"]
    study.close()
    study = Study.open(database, make_spec("tpe", RANK))
    assert [trial.state for trial in study.trials()] == [TrialState.RUNNING]
    study.close()


@pytest.mark.parametrize("method", ["tpe", "gp"])
def test_stock_optuna_reads_from_the_database_what_is_held_in_memory(
    database: Path, method: str
) -> None:
    """Oracle: Optuna's own storage; every field of every trial, times and ids too."""
    study = Study.open(database, make_spec(method, early_stop=EarlyStop(method="median")))
    for number in range(6):
        asked = study.ask()
        assert asked
        for step in (100, 200):
            study.early_stop(number, step, 50.0 - number + step / 7)
        if number % 2:
            study.commit()
        kind = {"feasible": number != 3, "constraints": {"heldout_wer": 0.4 * (number == 3)}}
        state = TrialState.FAIL if number == 4 else TrialState.COMPLETE
        if number < 5:
            study.tell(number, make_result(number, asked.params, 1 / 3, state=state, **kind))
    study.commit()
    held = study._study.get_trials()
    stock = native(database)
    assert held == stock.trials and {t.state.name for t in held} >= {"RUNNING", "FAIL", "COMPLETE"}
    commits = {"orchestrator:commits": 4}  # this one is the database's own
    assert study._study.user_attrs | commits == stock.user_attrs
    attributes = study._storage.get_study_system_attrs(study._study._study_id)
    assert attributes == stock._storage.get_study_system_attrs(stock._study_id)
    study.close()
    again = Study.open(database, make_spec(method, early_stop=EarlyStop(method="median")))
    assert again._study.get_trials() == held
    again.close()


def test_a_trial_that_was_deleted_from_the_database_is_said(database: Path) -> None:
    study = Study.open(database, make_spec("tpe", RANK))
    for _ in range(3):
        study.ask()
    study.commit()
    study.close()
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM trial_params WHERE trial_id = 2")
        connection.execute("DELETE FROM trials WHERE number = 1")
    with pytest.raises(StudyError, match="has no trial 1"):
        Study.open(database, make_spec("tpe", RANK))


@pytest.mark.parametrize("method", ["median", "asha"])
def test_what_an_ended_trial_reported_is_worked_out_once(
    database: Path, method: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(trial: FrozenTrial, *rest: Any, **named: Any) -> Any:
        seen.append(trial.number)
        return reports(trial, *rest, **named)

    reports = pruners._reports
    monkeypatch.setattr(pruners, "_reports", noted)
    spec = make_spec("random", RANK, early_stop=EarlyStop(method=method))
    study = Study.open(database, spec)
    for number in range(8):
        study.ask()
        for step in (100, 200):
            study.early_stop(number, step, 50.0 - number)
        study.tell(number, make_result(number, {}, 50.0 - number))
    study.close()
    # each at its own two rungs, and once more at the first rung after it has ended
    assert sorted(seen) == sorted([*range(8), *range(8), *range(7)])


def test_an_end_that_a_server_alone_knows_is_that_of_a_copy_of_the_study(tmp_path: Path) -> None:
    held = [optuna.trial.create_trial(value=0.1) for _ in range(2)]
    held.append(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING))
    for number, trial in enumerate(held):
        trial.number = number
    server = ServerDatabase(new_record("STORE", "demo"), "demo")
    results = [make_result(0, {}, 0.1), make_result(1, {}, 0.1)]
    assert ended_elsewhere(server, held, results) is None
    assert ended_elsewhere(server, held, results[:1]) == 1
    # a kill between the two writes, or a file that goes with its folder
    assert ended_elsewhere(server, held[:1], results) is None
    assert ended_elsewhere(tmp_path / "study.db", held, results[:1]) is None


def test_what_is_refused_of_a_copy_of_the_study_is_said_as_it_is(tmp_path: Path) -> None:
    ended = optuna.trial.create_trial(value=0.1)
    ended.number = 0
    spec, server = make_spec(), ServerDatabase(new_record("STORE", "demo"), "demo")
    with pytest.raises(StudyError, match="knows how trial 0 ended, and this folder does not"):
        refuse_differing(server, spec, [ended], [])
    refuse_differing(tmp_path / "study.db", spec, [ended], [])
