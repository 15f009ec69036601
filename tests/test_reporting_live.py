"""What a terminal, a pipe and a program see of a sweep while it runs."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console, Group

from orchestrator.progress import Counter, listening
from orchestrator.records.results import Measurement, TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event, Measured, Progress
from orchestrator.reporting.documents import report_files
from orchestrator.reporting.progress import events
from orchestrator.reporting.progress.events import EVENTS
from orchestrator.reporting.progress.json_lines import JsonReporter
from orchestrator.reporting.progress.live import LiveReporter
from orchestrator.reporting.progress.live_table import (
    LEAST_PARAMETERS,
    Row,
    chosen_rows,
    columns_of,
    widths_that_fit,
)
from orchestrator.reporting.progress.sweep_standing import (
    Budgeted,
    InTraining,
    Standing,
    time_text,
    trials_text,
)
from orchestrator.reporting.rendering.terminal import width_taken
from orchestrator.sweepfile.search_space import Metric
from orchestrator.sweepfile.sweep import Budget
from tests.cli_project import ROOT, folder_of, make_project, orchestrate, process
from tests.fake_worker import FakeWorker
from tests.running_support import make_spec, run
from tests.scoring_support import set_with

NOON = datetime(2026, 11, 28, 12, 0)
SPEC = make_spec(budget=Budget(trials=4))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of four trials."""
    path = tmp_path_factory.mktemp("live")
    run(make_spec(budget=Budget(trials=2)), path)
    return path


BY_CHARACTERS = Measurement(
    trial=None,
    step=0,
    adapter_scale=1.0,
    fingerprint="f",
    sets={"domain": set_with(9, 10, 3, 40)},
)
"""The untuned model, with its characters counted."""


def reporter(out: io.StringIO, now: list[float], **console: Any) -> LiveReporter:
    """One whose clock shows the last of `now`."""
    return LiveReporter(
        Console(file=out, **console), ("rank",), Budgeted.of(SPEC), lambda: now[-1], lambda: NOON
    )


def test_the_baseline_of_a_sweep_by_the_cer_is_told_with_its_cer() -> None:
    spec, out = SPEC.model_copy(update={"metric": Metric(name="domain_cer")}), io.StringIO()
    with LiveReporter(Console(file=out, width=200), (), Budgeted.of(spec)) as show:
        show.baseline(BY_CHARACTERS)
    assert out.getvalue() == "baseline: domain 90.00 %, domain CER 7.50 %\n"


def test_the_baseline_event_of_a_sweep_by_the_cer_has_its_cer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    with JsonReporter(tmp_path / "s", Budgeted.of(SPEC)) as show:
        show.baseline(BY_CHARACTERS)
    event = json.loads(out.getvalue())
    assert (event["wer"], event["rates"]) == ({"domain": 90.0}, {"domain": 90.0, "domain_cer": 7.5})


def test_piped_progress_is_plain_lines(tmp_path: Path) -> None:
    out = io.StringIO()
    with reporter(out, [0.0], width=200) as show:
        run(make_spec(budget=Budget(trials=2)), tmp_path, observer=show)
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0] == "measuring the baseline" and lines[1].startswith("baseline: domain ")
    assert any(re.fullmatch(r"trial 0: rank=\d+", line) for line in lines)
    assert sum(bool(re.match(r"trial [01]: (COMPLETE|PRUNED), ", line)) for line in lines) == 2
    assert [line for line in lines if line.startswith("trials: 2 of 4 ended (")] == [lines[-1]]
    assert "; best so far: " in lines[-1] and "; time: " in lines[-1]


def test_a_terminal_gets_a_table_with_the_time_left_and_a_summary(root: Path) -> None:
    out, now = io.StringIO(), [0.0]
    plan = StudyFolder(root, "s").read_plan(0)
    assert plan is not None
    with reporter(out, now, width=160, height=40, force_terminal=True) as show:
        show.admitted(plan, 0)
        now.append(60.0)
        show.progress(Progress(0, 50, 1.25))
    left = round(60 / 50 * (plan.params.max_steps - 50))
    assert f"50/{plan.params.max_steps}" in out.getvalue() and "1.250" in out.getvalue()
    assert f"{left // 60} min {left % 60:02d} s" in out.getvalue()
    assert "0 of 4 ended, 1 in training" in out.getvalue()
    assert re.search(
        r"1 min 00 s of search spent, about \d+ min left, until 12:\d\d", out.getvalue()
    )


def test_a_confirmation_run_ends_at_the_best_step_of_its_finalist(root: Path) -> None:
    plan = StudyFolder(root, "s").read_plan(0)
    assert plan is not None and plan.params.max_steps == plan.last_rung > 100
    every = plan.evaluation.model_copy(update={"every": 100})
    run_of = plan.model_copy(update={"number": -1, "evaluation": every})
    out, now = io.StringIO(), [0.0]
    with reporter(out, now, width=200, height=40, force_terminal=True) as show:
        show.admitted(run_of, 0)
        now.append(60.0)
        show.progress(Progress(-1, 50, 1.25))
    assert "50/100" in out.getvalue() and "1 min 00 s" in out.getvalue()


def test_a_trial_that_is_trained_again_counts_once(root: Path) -> None:
    plan, result = StudyFolder(root, "s").read_plan(0), StudyFolder(root, "s").read_result(0)
    assert plan is not None and result is not None and result.steps_trained > 0
    out = io.StringIO()
    with reporter(out, [0.0], width=160, height=40, force_terminal=True) as show:
        show.resumed([result], 60.0)
        show.admitted(plan, 0)
        assert "0 of 4 ended, 1 in training" in out.getvalue()
        show.ended(result)
    assert "2 of 4 ended" not in out.getvalue()


def test_what_earlier_runs_ended_stays_in_the_table(root: Path) -> None:
    results = StudyFolder(root, "s").results()
    for console in ({"width": 160, "height": 40, "force_terminal": True}, {"width": 160}):
        out = io.StringIO()
        with reporter(out, [0.0], **console) as show:
            show.resumed(results, 120.0)
        assert "2 of 4 ended" in out.getvalue() and "2 min 00 s of search spent" in out.getvalue()
        assert ("* " in out.getvalue()) == ("height" in console)


def test_the_time_that_is_shown_is_that_of_the_search_alone(root: Path) -> None:
    result = StudyFolder(root, "s").results()[0]
    out, now = io.StringIO(), [0.0]
    with reporter(out, now, width=200) as show:
        now.append(50.0)  # the data are read, the model is loaded
        show.searched(60.0, goes_on=True)
        now.append(90.0)
        show.ended(result)
        assert "; time: 1 min 40 s of search spent" in out.getvalue().splitlines()[-1]
        show.searched(101.0, goes_on=False)
        now.append(900.0)  # of the confirmation
        show.ended(result.model_copy(update={"number": -1}))
    assert "; time: 1 min 41 s of search spent" in out.getvalue().splitlines()[-1]


def test_a_run_says_the_time_that_status_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_project(tmp_path)
    monkeypatch.setattr(StudyFolder, "seconds_spent", lambda _: 723.0)
    assert orchestrate(spec) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("trials: ")]
    assert orchestrate("status", spec) == 0
    assert "Time: 12 min 03 s of search spent" in capsys.readouterr().out
    assert re.search(r"time: 12 min \d\d s of search spent$", said[-1])


def test_status_has_the_time_of_a_sweep_that_has_no_checkpoint_of_a_trial_yet(
    tmp_path: Path,
) -> None:
    spec, said = make_project(tmp_path), []

    class Looking(FakeWorker):
        def measure_baseline(self) -> Measured:
            said.append(process("status", spec).communicate()[0])
            return super().measure_baseline()

        def advance(self) -> tuple[Event, ...]:
            said[1:] = said[1:] or [process("status", spec).communicate()[0]]
            return super().advance()

    assert orchestrate(spec, "--quiet", "execution.packs=1", worker=lambda *_: Looking()) in (0, 5)
    before, training = said
    assert "Time: 0 min 00 s of search spent\n" in before
    assert re.search(r"Time: \d+ min \d\d s of search spent, as of the last checkpoint\n", training)
    assert "\nIn training\n" in training
    assert "last checkpoint" not in process("status", spec).communicate()[0]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal_or_folded(root: Path, width: int) -> None:
    out = io.StringIO()
    with reporter(out, [0.0], width=width, height=20, force_terminal=True) as show:
        show.resumed(StudyFolder(root, "s").results(), 120.0)
        lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue()).splitlines()
    rows = [line for line in lines if re.match(r" ?[01]( \*)? ", line)]
    assert len(rows) >= 2 and max(map(len, lines)) <= width


def test_a_narrow_terminal_cuts_off_no_number(root: Path) -> None:
    out = io.StringIO()
    with reporter(out, [0.0], width=40, height=20, force_terminal=True) as show:
        show.resumed(StudyFolder(root, "s").results(), 120.0)
    table = out.getvalue().partition("best so far")[0]
    for result in StudyFolder(root, "s").results():
        assert f"{result.wer['domain']:.2f} ({result.delta['domain']:+.2f})" in table
        assert str(result.state) in table


def test_a_summary_of_many_lines_is_shown_to_its_end(root: Path) -> None:
    rates = ("domain", "heldout", "domain_cer", "heldout_cer", "noisy", "noisy_cer", "phone")
    budget = replace(Budgeted.of(SPEC), rates=rates)
    [first, *_] = StudyFolder(root, "s").results()
    first = first.model_copy(update={"wer": dict.fromkeys(rates, 20.0), "feasible": True})
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    with LiveReporter(console, ["rank"], budget, lambda: 0.0, lambda: NOON) as show:
        for number in range(20):
            show.ended(first.model_copy(update={"number": number}))
        lines = console.render_lines(Group(*show.visible_parts()))
    text = ["".join(segment.text for segment in line) for line in lines]
    assert len(text) <= 24 and any(line.startswith("last learnt") for line in text)
    assert sum(line.strip().startswith(tuple("0123456789")) for line in text) >= 3


CELL = st.text(alphabet="abc 0123語", max_size=12)


@given(st.lists(st.lists(CELL, min_size=9, max_size=9), max_size=3), st.integers(20, 200))
def test_columns_are_left_out_until_they_fit(rows: list[list[str]], width: int) -> None:
    columns = columns_of(("domain", "heldout", "noisy"))
    shown = widths_that_fit(columns, rows, width)
    assert list(shown) == sorted(shown) and {0, 4, len(columns) - 2} <= set(shown)
    assert len(shown) == 3 or width_taken(shown.values()) <= width
    for place, own in shown.items():
        longest = max((cell_len(row[place]) for row in rows), default=0)
        assert own >= (min(longest, LEAST_PARAMETERS) if place == 1 else longest)


@pytest.mark.parametrize("width", [72, 80])
def test_the_loss_gives_way_to_the_value_of_the_first_parameter(width: int) -> None:
    rows = [("0", "learning_rate=0.00276148, rank=8", "0/20", "-", "-", "-", "RUNNING", "")]
    columns = columns_of(("domain", "heldout"))
    shown = widths_that_fit(columns, rows, width)
    assert shown[1] >= len("learning_rate=0.002") and 3 not in shown and 2 in shown
    assert 3 in widths_that_fit(columns, rows, 90)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(3, 30), st.data())
def test_the_best_and_those_in_training_are_always_in_the_table(
    training: list[bool], count: int, data: st.DataObject
) -> None:
    rows = [
        Row(number, "", 9, 0, 0.0, state="RUNNING" if runs else "COMPLETE")
        for number, runs in enumerate(training)
    ]
    best = data.draw(st.integers(0, len(rows) - 1))
    shown = [row.number for row in chosen_rows(rows, best, count)]
    assert shown == sorted(shown) and len(shown) == min(count, len(rows))
    in_training = [row.number for row in rows if row.training]
    assert set(in_training) <= set(shown) or len(in_training) > count
    assert best in shown or len(in_training) >= count


def ended(number: int, steps: int, feasible: bool = True, **changes: Any) -> TrialResult:
    """A trial of at most 100 steps."""
    state = TrialState.COMPLETE if feasible else TrialState.PRUNED
    return TrialResult(
        number=number, state=state, reason="", params={"max_steps": 100}, feasible=feasible,
        step=steps, adapter_scale=1.0, wer={"domain": 20.0 - number}, delta={"domain": -1.0},
        constraints={}, steps_trained=steps, **changes,
    )  # fmt: skip


def standing(**changes: Any) -> Standing:
    """Two of ten trials ended, one of them at half its steps; one in training."""
    budget = Budgeted(
        10, 10, 4, 100, changes.pop("wall_clock", None), "domain", ("domain",), frozenset()
    )
    values: dict[str, Any] = {
        "budget": budget,
        "ended": (ended(0, 100), ended(1, 50, feasible=False)),
        "training": (InTraining(2, 50, 100),),
        "steps": 200,
        "seconds": 400.0,
        "searched": 400.0,
    }
    return Standing(**(values | changes))


def test_the_expected_end_follows_from_the_steps_that_are_left() -> None:
    found = standing()
    assert found.best is not None and found.best.number == 0
    search, confirm = 2.0 * (50 + 7 * 100), 2.0 * 4 * 100  # 2 s a step
    assert found.left == (0.75 * search + confirm, search + confirm)
    assert standing(wall_clock=500.0).left == (100.0 + confirm, 100.0 + confirm)
    assert standing(steps=0).left is None
    confirming = standing(training=(InTraining(-1, 60, 100),))
    assert confirming.left == (2.0 * (40 + 3 * 100), 2.0 * (40 + 3 * 100))
    assert (
        trials_text(found)
        == "2 of 10 ended (1 COMPLETE, 1 PRUNED), 1 in training; confirmation 0 of 4"
    )
    few = standing(budget=Budgeted(1, 1, 0, 100, None, "domain", ("domain",), frozenset()))
    assert trials_text(few).startswith("2 ended, where budget.trials is 1 by now (1 COMPLETE, ")
    assert time_text(found, datetime(2026, 11, 28, 23, 30)) == (
        "6 min 40 s of search spent, about 30 to 40 min left, until Sun 00:02 to Sun 00:08"
    )


def test_a_trial_without_a_late_rate_is_not_the_best_so_far() -> None:
    late = Budgeted(10, 10, 4, 100, None, "domain", ("domain",), frozenset({"noisy"}))
    whole = ended(0, 100).model_copy(update={"wer": {"domain": 20.0, "noisy": 30.0}})
    found = standing(budget=late, ended=(whole, ended(1, 50)))
    assert found.best is not None and found.best.number == 0
    assert standing(ended=(whole, ended(1, 50))).best == ended(1, 50)


def test_a_copied_result_counts_as_a_trial_and_takes_no_steps() -> None:
    copied = ended(1, 0, duplicate_of=0)
    found = standing(ended=(ended(0, 100), copied), training=())
    assert found.left == (2.0 * 8 * 100 + 800, 2.0 * 8 * 100 + 800)


def test_long_work_has_a_bar_and_in_a_pipe_a_line_now_and_then() -> None:
    out, now = io.StringIO(), [0.0]
    with reporter(out, now, width=120):
        counter = Counter("hearing domain", 10)
        counter.add(4)
        now.append(40.0)
        counter.add()
        now.append(41.0)
        counter.add(5)
    assert out.getvalue() == "hearing domain: 5 of 10, about 0 min 40 s left\n"
    out, now = io.StringIO(), [0.0]
    with reporter(out, now, width=120, height=30, force_terminal=True):
        counter = Counter("hearing domain", 10)
        now.append(1.0)
        counter.add(4)
        assert " 4/10" in out.getvalue()
        counter.add(6)
        assert " 10/10" not in out.getvalue()


def test_work_is_silent_where_nobody_listens_and_in_a_forked_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[str, int, int]] = []
    Counter("a", 2).add()
    with listening(lambda *heard: said.append(heard)):
        Counter("b", 0).add()
        Counter("c", 2).add(2)
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            Counter("d", 2).add()
    Counter("e", 2).add()
    assert said == [("c", 0, 2), ("c", 2, 2)]


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What stdout holds: nothing but events."""
    lines = capsys.readouterr().out.splitlines()
    for line in lines:
        EVENTS.validate_json(line)
    return [json.loads(line) for line in lines]


def test_every_event_is_a_json_object_on_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    code = orchestrate(spec, "--json", "budget.trials=2")
    said = lines_of(capsys)
    names = [each["event"] for each in said]
    first, last = next(each for each in said if each["event"] == "study"), said[-1]
    assert (first["trials"], first["ended"], first["study"]) == (2, 0, "demo")
    assert last["event"] == "finished" and last["exit_code"] == code
    assert Path(last["report"]).is_file() and last["headline"].startswith(str(last["decision"]))
    assert names.count("baseline") == 1 and {"measured", "progress", "note"} <= set(names)
    runs = [(each["kind"], each["number"]) for each in said if each["event"] == "trial_ended"]
    assert sorted(runs) == [("confirmation", 1), ("confirmation", 2), ("trial", 0), ("trial", 1)]
    began, ended = (
        {(each["kind"], each["number"]): each for each in said if each["event"] == f"trial_{what}"}
        for what in ("started", "ended")
    )
    confirmations = [run for run in runs if run[0] == "confirmation"]
    assert all(began[run]["max_steps"] == ended[run]["steps_trained"] for run in confirmations)
    kept = folder_of(spec).read_result(0)
    ends = [each for each in said if each["event"] == "trial_ended" and each["kind"] == "trial"]
    [trial] = [each for each in ends if each["number"] == 0]
    assert kept is not None and trial["rates"] == kept.wer and not trial["earlier"]
    assert orchestrate(spec, "--json", "budget.trials=2") == code
    assert [each["event"] for each in lines_of(capsys)] == ["finished"]
    orchestrate(spec, "--json", "budget.trials=3")
    ends = [each for each in lines_of(capsys) if each["event"] == "trial_ended"]
    searched, confirmed = (
        [each for each in ends if each["kind"] == kind] for kind in ("trial", "confirmation")
    )
    assert [each["number"] for each in searched if each["earlier"]] == [0, 1]
    assert [(each["number"], each["earlier"]) for each in confirmed] == [(1, True), (2, True)]


def test_confirmation_runs_on_file_are_counted_once_a_longer_search_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    orchestrate(spec, "budget.trials=2")
    capsys.readouterr()
    orchestrate(spec, "budget.trials=3")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("trials: ")]
    assert "; confirmation 0 of 2; " in said[0] and "; confirmation 2 of 2; " in said[-1]


def test_an_error_is_the_last_event_and_stands_on_stderr_as_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    (tmp_path / "data" / "domain-1.wav").write_bytes(b"no sound")
    assert orchestrate(spec, "--json") == 2
    captured = capsys.readouterr()
    last = json.loads(captured.out.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("stopped", 2)
    assert last["message"].strip() == captured.err.strip()
    assert orchestrate(spec, "--json", "--quiet") == 2
    assert capsys.readouterr().err == "--quiet and --json exclude each other\n  Give one of them.\n"


def test_a_disk_that_is_full_is_the_last_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "page.html")

    monkeypatch.setattr(report_files, "write", full)
    assert orchestrate(spec, "--json", "budget.trials=2") == 3
    captured = capsys.readouterr()
    last = json.loads(captured.out.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("stopped", 3)
    assert last["message"].startswith("page.html: No space left on device\n  What was written")
    assert captured.err.strip().endswith(last["message"].strip())


@pytest.mark.parametrize("options", [[], pytest.param(["--json"], marks=pytest.mark.slow)])
def test_a_reader_that_leaves_does_not_end_the_sweep(options: list[str], tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    running = process(spec, "budget.trials=2", *options)
    assert running.stdout is not None and running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    said = running.stderr.read()
    assert running.wait() in (0, 4, 5) and "Traceback" not in said and "BrokenPipe" not in said
    assert folder_of(spec).report_html.is_file()


def test_events_name_a_folder_whose_name_is_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes of another encoding, as on disks that were written under an older system."""
    make_project(tmp_path / "made")
    root = (tmp_path / "made").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert orchestrate(root / "sweeps" / "demo.yaml", "--json", "budget.trials=1") in (0, 4, 5)
    found = [EVENTS.validate_json(line) for line in capsys.readouterr().out.splitlines()]
    study = next(each for each in found if isinstance(each, events.StudyEvent))
    assert study.path == f"{tmp_path}/caf\\udce9/studies/demo"


class Interrupting(io.StringIO):
    """A pipe in whose write a signal arrives."""

    said = ""
    show: JsonReporter

    def write(self, text: str) -> int:
        if not self.said:
            self.said = "SIGINT"
            self.show.say(self.said)
        return super().write(text)


def test_a_signal_in_the_middle_of_a_line_says_its_own_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Interrupting()
    monkeypatch.setattr("sys.stdout", out)
    with JsonReporter(tmp_path / "s", Budgeted.of(SPEC)) as out.show:
        print("this is for people")
        out.show.progress(Progress(0, 1, float("nan")))
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["loss"], second["text"]) == ("progress", None, "SIGINT")


PAGE = (ROOT / "docs" / "terminal.md").read_text()
KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and "event" in kind.model_fields
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_is_documented(kind: type[BaseModel]) -> None:
    name = kind.model_fields["event"].default
    section = PAGE.partition(f"### `{name}`\n")[2].partition("\n#")[0]
    assert (kind.__doc__ or "").splitlines()[0].rstrip(".") in section
    common = PAGE.partition("## Events for programs")[2].partition("\n### ")[0]
    for field, value in kind.model_fields.items():
        assert f"| `{field}` | {value.description} |" in section + common or field == "event"


def test_the_schema_of_the_events_is_the_one_in_the_documentation() -> None:
    written = json.loads((ROOT / "docs" / "events.schema.json").read_text())
    assert written == json.loads(json.dumps(EVENTS.json_schema(mode="serialization")))
