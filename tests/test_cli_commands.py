"""The commands, their exit codes and messages, on a small project with the fake worker."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.commands import run
from orchestrator.errors import DataError
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import ROOT, SWEEP, folder_of, make_project, orchestrate
from tests.run_fake import make_worker


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose sweep has run to its end."""
    spec = make_project(tmp_path_factory.mktemp("project"))
    assert orchestrate(spec, "--quiet") == 0
    return spec


def test_a_run_leaves_reports_results_and_confirmations(finished: Path) -> None:
    folder = folder_of(finished)
    assert len(folder.results()) == 5
    assert [result.params["seed"] for result in folder.confirmations()] == [101, 102]
    assert "ACCEPT" in folder.report_markdown.read_text()
    assert "Content-Security-Policy" in folder.report_html.read_text()
    assert "run with python" in folder.notes.read_text()


def test_a_finished_sweep_is_reported_without_torch_or_optuna(finished: Path) -> None:
    code = (
        "import sys; from orchestrator.cli import main\n"
        f"try: main([{str(finished)!r}])\n"
        "except SystemExit as end: print('code', end.code)\n"
        "print(sorted({'torch', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["code 0", "[]"], done.stderr
    assert "\x1b" not in done.stdout


def imported_after(commands: Sequence[Sequence[str]], modules: set[str]) -> list[str]:
    """Which of `modules` stand in a new process after each of the commands, run in turn; none of them
    fails.
    """
    code = (
        "import sys; from orchestrator.cli import main\n"
        f"for command in {commands!r}:\n"
        "    try: main(command)\n"
        "    except SystemExit as end: print('code', end.code)\n"
        f"    print('after', *sorted({modules!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if line.startswith("after")]
    codes = [line for line in done.stdout.splitlines() if line.startswith("code ")]
    assert codes == ["code 0"] * len(commands), done.stdout + done.stderr
    return [line.removeprefix("after").strip() for line in said]


def test_reading_commands_import_neither_torch_nor_optuna(finished: Path) -> None:
    commands = [(name, str(finished)) for name in ("validate", "plan", "status", "report")]
    heavy = {"torch", "optuna", "transformers", "peft"}
    assert imported_after(commands, heavy) == [""] * len(commands)


def test_sets_that_were_read_before_are_checked_without_numpy(finished: Path) -> None:
    commands = [(name, str(finished)) for name in ("validate", "plan")]
    assert imported_after(commands, {"numpy", "soundfile"}) == ["", ""]


def test_help_waits_for_no_sweep_file() -> None:
    commands = (("--version",), ("--help",), ("plan", "--help"))
    heavy = {"orchestrator.sweepfile", "ruamel", "numpy", "psutil", "soundfile", "tokenizers"}
    assert imported_after(commands, heavy) == ["", "", ""]


def test_a_command_imports_no_other_command() -> None:
    code = (
        "import sys; from orchestrator.cli import build_app; build_app(['plan'])\n"
        "print(sorted(name for name in sys.modules if name.startswith('orchestrator.commands.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    expected = ["orchestrator.commands.plan", "orchestrator.commands.study_arguments"]
    assert done.stdout.strip() == str(expected), done.stderr


def test_validate_says_what_it_saw(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("validate", finished) == 0
    valid, unchecked, found = capsys.readouterr().out.splitlines()
    assert valid == f"{finished} is valid: sweep demo, tpe over learning_rate, rank, 5 trials"
    assert "`fake/model` is not in the cache" in unchecked
    assert found.startswith("warn (too-few): 3 training utterances are few")


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_what_the_start_would_refuse_is_known_before(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    shutil.copy(tmp_path / "data" / "domain.jsonl", tmp_path / "data" / "confirm_domain.jsonl")
    code = orchestrate(command, spec)
    said = capsys.readouterr()
    assert code == (2 if command == "validate" else 0)
    line = f"3 of 3 utterances of confirm_domain (100.0 %) are in domain too, e.g. {tmp_path}/data/"
    assert line in (said.out if command == "plan" else said.err)
    assert "refuse (audio-overlap)" in said.out or "(audio-overlap)" in said.err
    assert (command == "plan") == (" findings in manifests, headers" in said.out)


def test_the_json_schema_needs_no_sweep_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("validate", "--json-schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Sweep"


def test_a_broken_sweep_file_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("method: tpe", "method: tpi"))
    assert orchestrate(spec) == 2
    captured = capsys.readouterr()
    assert "method" in captured.err and "Traceback" not in captured.err and captured.out == ""


def test_a_damaged_manifest_stops_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    (tmp_path / "data" / "domain.jsonl").write_text("{broken\n")
    assert orchestrate(spec) == 2
    assert "domain.jsonl" in capsys.readouterr().err


def test_overlapping_sets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = make_project(tmp_path)
    (tmp_path / "data" / "heldout.jsonl").write_bytes(
        (tmp_path / "data" / "train.jsonl").read_bytes()
    )
    assert orchestrate(spec) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "The data cannot answer the sweep's question:\n  - 3 of 3 utterances of heldout"
    )


def test_plan_shows_what_would_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("plan", finished) == 0
    out = capsys.readouterr().out
    assert "Plan: nothing has been run" in out
    assert "0.5 points cannot be told from 0 with the 3 utterances of heldout." in out


def test_diagnose_status_and_watch(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("diagnose", finished) == 0
    assert "Headroom" in capsys.readouterr().out
    for command in ("status", "watch"):
        assert orchestrate(command, finished) == 0
        assert "ACCEPT: trial" in capsys.readouterr().out


def test_a_trial_reruns_alone_to_the_same_counts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("trial", finished, "1", "--quiet") == 0
    assert "Reproduced exactly at step" in capsys.readouterr().out


def test_export_writes_adapter_and_card_once(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "out" / "adapter"
    to.parent.mkdir()
    assert orchestrate("export", finished, "--to", to) == 0
    assert (to / "adapter_config.json").exists()
    card = (to / "README.md").read_text()
    assert "base_model: fake/model" in card and "ACCEPT" in card
    capsys.readouterr()
    assert orchestrate("export", finished, "--to", to) == 3
    assert (
        capsys.readouterr().err
        == f"{to} exists\n  Name a folder that does not; nothing is overwritten.\n"
    )


def test_a_changed_sweep_file_is_refused_with_a_table(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(finished, "parameters.max_steps=300") == 3
    assert capsys.readouterr().err == (
        "Study demo was begun with another sweep file:\n"
        "  field                 study  sweep file\n"
        "  parameters.max_steps  200    300\n"
        "Two ways on: put the sweep file back as the study has it, or begin a new study with --fork NAME.\n"
    )
    assert orchestrate(
        finished, "parameters.max_steps=300", "budget.trials=2", "--fork", "other", "-q"
    ) in (0, 4, 5)
    assert len(folder_of(finished, "other").results()) == 2


def test_a_study_that_its_model_refused_takes_the_corrected_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strict(spec: SweepSpec, folder: StudyFolder) -> Worker:
        if spec.evaluation.max_tokens_per_second < 14:
            raise DataError("the cap is too low\n  Raise it.")
        return make_worker(spec, folder)

    spec, codes = make_project(tmp_path), []
    for override in ("evaluation.max_tokens_per_second=6.5", "evaluation.max_tokens_per_second=14"):
        with pytest.raises(SystemExit) as ended:
            main([str(spec), override, "budget.trials=1", "-q"], strict)
        codes.append(ended.value.code)
    assert "the cap is too low" in capsys.readouterr().err
    assert codes[0] == 2 and codes[1] in (0, 4, 5)
    assert len(folder_of(spec).results()) == 1


def test_a_second_run_beside_the_first_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from orchestrator.records.store import StudyFolder\n"
        f"with StudyFolder(Path({str(finished.parents[1] / 'studies')!r}), 'demo').lock():\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        assert orchestrate(finished) == 3
        assert f"in use by process {holder.pid}" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize(
    ("limits", "code"),
    [("domain_wer: {min_gain: 20}", 4), ("domain_wer: {min_gain: 0.1}", 0)],
)
def test_exit_codes_follow_the_verdict(tmp_path: Path, limits: str, code: int) -> None:
    text = SWEEP.replace("  domain_wer: {min_gain: 1.0}", f"  {limits}")
    assert orchestrate(make_project(tmp_path, text), "-q", "budget.trials=3") == code


def test_no_feasible_trial_is_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SWEEP.replace("max_regression: 0.5", "max_regression: 0.0")
    assert orchestrate(make_project(tmp_path, text), "-q", "budget.trials=2") == 5
    assert "INCONCLUSIVE: no feasible trial; 2 of 2 trials ended" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "report", "export", "trial", "dashboard"])
def test_commands_on_a_study_that_is_not_there(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    more = {"export": ("--to", "x"), "trial": ("0",)}.get(command, ())
    assert orchestrate(command, spec, *more) == 3
    expected = (
        f"there is no study demo in {tmp_path / 'studies'}\n  `orchestrate {spec}` begins it.\n"
    )
    assert capsys.readouterr().err == expected


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(finished: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = (
            "import sys; from orchestrator.cli import main\n"
            "for command in ('dashboard', 'listen'):\n"
            f"    try: main([command, {str(finished)!r}, '--port', '{port}'])\n"
            "    except SystemExit as end: print(command, end.code)\n"
            "    print(sorted({'torch', 'optuna', 'optuna_dashboard'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
        )
    assert done.stdout.splitlines() == ["dashboard 3", "[]", "listen 3", "[]"]
    expected = (
        f"port {port} cannot be used: Address already in use\n  Choose another with --port.\n"
    )
    assert done.stderr.endswith(expected)  # before it perhaps which studies were forked from it
    assert done.stderr.count(expected) == 2


def test_markup_and_escapes_in_names_are_printed_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SWEEP.replace("name: demo", 'name: demo\ndescription: "[/red] \\e[31m"')
    spec = make_project(
        tmp_path, text.replace("attention", '{values: ["[/foo]"], presets: {"[/foo]": [q_proj]}}')
    )
    code = orchestrate(spec, "-q", "budget.trials=2")
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert code in (0, 2, 4, 5)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator.commands import COMMANDS

    assert orchestrate("--help") == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_ctrl_c_while_the_report_is_written_is_one_sentence_and_75(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run, "_write_report", interrupted)
        assert orchestrate(spec, "--quiet") == 75
    said = capsys.readouterr().err
    assert "What was measured is kept" in said and "Traceback" not in said
    assert not folder_of(spec).report_markdown.exists()
    assert orchestrate(spec, "--quiet") == 0
    assert "ACCEPT" in folder_of(spec).report_markdown.read_text()
