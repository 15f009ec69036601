"""What a person can act on is one message; a bug of ours keeps its traceback; --verbose and
--traceback say more.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.errors import StudyError
from orchestrator.files.atomic import system_error
from tests.cli_project import ROOT, SWEEP, make_project, orchestrate
from tests.run_fake import make_worker


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def broken(*_: Any, **__: Any) -> Any:
    """A bug of ours: the kind of error that user input raises, too."""
    raise KeyError("a name that we forgot")


@pytest.mark.parametrize(
    "place", ["loading.SpaceReader", "loading.build_spec", "yaml_reading._Reader.document"]
)
def test_a_bug_of_ours_is_no_fault_of_the_sweep_file(
    spec: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"orchestrator.sweepfile.{place}", broken)
    with pytest.raises(KeyError, match="a name that we forgot"):
        main(["validate", str(spec)])


def test_a_bug_in_the_middle_of_a_sweep_keeps_its_traceback(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.running.trial_stopping.RunningTrial.best", property(broken))
    with pytest.raises(KeyError, match="a name that we forgot"):
        main([str(spec), "--quiet"], make_worker)


def test_what_the_parser_trips_over_is_a_fault_of_the_file(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.sweepfile.yaml_reading.YAML.parse", broken)
    assert orchestrate("validate", spec) == 2
    assert f"{spec}:1:1: not valid YAML (KeyError: " in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False], ids=["first", "last"])
def test_a_traceback_of_a_user_error_comes_where_it_is_asked_for(
    tmp_path: Path, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("method: tpe", "method: tpi"))
    assert orchestrate(spec) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert orchestrate(*(["--traceback", spec] if before else [spec, "--traceback"])) == 2
    full = capsys.readouterr().err
    assert full.startswith("Traceback (most recent call last):\n") and full.endswith(f"\n{message}")
    assert "orchestrator.errors.SpecError" in full and "in load_spec" in full


def test_a_traceback_of_an_unreadable_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    (tmp_path / "studies").write_text("in the way")
    assert orchestrate("status", spec, "--traceback") in (2, 3)
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


def test_verbose_logs_to_stderr_what_is_done(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(spec, "--quiet", "--verbose") in (0, 4, 5)
    said = capsys.readouterr()
    for words in (
        " DEBUG orchestrator.running.preflight: set domain: 3 clips of ",
        " DEBUG orchestrator.running.session: worker for the model stage: SlowWorker, 2 slots",
        " DEBUG orchestrator.running.baseline: evaluation ",
        " DEBUG orchestrator.running.sweep_run: trial 0, recipe ",
        " DEBUG orchestrator.running.sweep_run: checkpoint 1 written",
        " DEBUG orchestrator.running.confirmation: 2 confirmation runs left, of seeds [101, 102]",
    ):
        assert words in said.err, words
    assert "DEBUG" not in said.out
    assert logging.getLogger("orchestrator").handlers == []


def test_without_verbose_nothing_is_logged(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    assert "DEBUG" not in capsys.readouterr().err


def test_a_log_line_never_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator.reporting.rendering.logs import debug_logging

    with debug_logging(True):
        logging.getLogger("orchestrator.running").debug("a name: %s", "\x1b[31mred")
    assert capsys.readouterr().err.endswith("orchestrator.running: a name:  [31mred\n")


def test_help_names_both_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("--help") == 0
    out = capsys.readouterr().out
    assert (
        "--verbose" in out and "--traceback" in out and "Fine-tune small speech recognisers" in out
    )


def test_an_assertion_of_ours_is_no_fault_of_the_database(tmp_path: Path) -> None:
    from orchestrator.search.storage import storage_errors

    with (
        pytest.raises(AssertionError, match="ours"),
        storage_errors(tmp_path / "study.db", "Nothing was changed."),
    ):
        raise AssertionError("ours")


def test_an_assertion_that_a_database_error_led_to_is(tmp_path: Path) -> None:
    from orchestrator.search.storage import storage_errors

    with (
        pytest.raises(StudyError, match="disk is full"),
        storage_errors(tmp_path / "study.db", "Nothing was changed."),
    ):
        try:
            raise sqlite3.OperationalError("disk is full")
        except sqlite3.OperationalError as error:
            raise AssertionError("Should not reach.") from error


def test_a_place_that_cannot_be_written_is_answered_with_another() -> None:
    said = str(system_error(OSError(errno.EROFS, "Read-only file system", "studies")))
    assert said.startswith("studies: Read-only file system\n  Write to another place")
    assert "--studies DIR" in said


def test_a_current_folder_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = FileNotFoundError(2, "No such file or directory")
    assert str(system_error(gone)).startswith("No such file")

    def getcwd() -> str:
        raise gone

    monkeypatch.setattr("os.getcwd", getcwd)
    assert str(system_error(gone)).startswith("the current folder was removed or renamed")
    other = FileNotFoundError(2, "No such file or directory", "a.txt")
    assert str(system_error(other)).startswith("a.txt: No such file")


def test_without_a_folder_for_temporary_files_a_command_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    spec = make_project(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    monkeypatch.setattr(
        "orchestrator.sweepfile.loading.check_inputs", lambda sweep: tempfile.gettempdir()
    )
    assert orchestrate("validate", spec) == 2
    assert capsys.readouterr().err == (
        "No usable temporary directory found in ['/tmp']\n"
        "  Name a folder that can be written: export TMPDIR=DIR\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no file that is always full")
@pytest.mark.parametrize(("words", "code"), [(["validate", "none.yaml"], 2), (["status", "x"], 2)])
def test_the_exit_code_is_right_where_the_message_cannot_be_written(
    words: list[str], code: int
) -> None:
    """stderr is often a log on the very disk that is full."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "orchestrator", *words]
        done = subprocess.run(command, stderr=full, stdout=full, cwd=ROOT, check=False)
    assert done.returncode == code
