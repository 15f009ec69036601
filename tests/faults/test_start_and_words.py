"""Ctrl+C at any moment of the start, and input that is absurdly long or deep: one short message
each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import StudyError
from orchestrator.records.store import StudyFolder
from tests.cli_project import folder_of, make_project, orchestrate, process

SLOW_IMPORT = "import time, sys; print('importing', flush=True); time.sleep(20)"


def _heed_interrupts() -> None:
    """A shell starts what it runs in the background with interrupts ignored, the tests too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_while_python_imports_is_one_line_and_130(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SLOW_IMPORT)
    paths = os.pathsep.join((str(tmp_path), *filter(None, sys.path)))
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        text=True,
        preexec_fn=_heed_interrupts,
    )
    assert child.stdout is not None and child.stdout.readline() == "importing\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=10)
    assert (child.returncode, said.count("\n")) == (130, 1)
    assert said.startswith("Interrupted while starting")


def test_the_command_itself_is_interrupted_without_a_traceback(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    running = process(spec, "--quiet", pause=0.2)
    while running.poll() is None and not folder_of(spec).planned():
        time.sleep(0.01)
    running.kill()  # a study that is finished is not watched
    running.communicate()
    command = [sys.executable, "-m", "orchestrator", "watch", str(spec), "--every", "30"]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        text=True,
        preexec_fn=_heed_interrupts,
    )
    assert child.stdout is not None and child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 130 and "Traceback" not in said


@pytest.mark.parametrize(
    "value", ["[" * 100_000, "{" * 100_000, "x" * 100_000, '"' + "[" * 100_000 + '"']
)
def test_absurd_values_are_refused_in_short_lines(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"version: 1\nname: {value}\n")
    assert orchestrate("validate", path) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and max(map(len, said.splitlines())) < 400 + len(str(path))


def test_an_absurd_name_on_the_command_line_is_shown_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(make_project(tmp_path), "--fork", "n" * 5000) in (2, 3)
    assert len(capsys.readouterr().err) < 1500


def test_brackets_in_the_files_of_a_study_are_damage(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    place = folder.trial_folder(0)
    place.mkdir(parents=True)
    (place / "result.json").write_text("[" * 100_000)
    with pytest.raises(StudyError, match="was not written by a run of this study") as caught:
        folder.read_result(0)
    assert len(str(caught.value)) < 600


def test_notes_in_another_encoding_stay_byte_for_byte(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    studies = tmp_path / "studies"
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    (notes,) = studies.glob("*/notes.md")
    mine = "# Anmerkungen: größer, schöner".encode("latin-1")
    notes.write_bytes(mine)
    assert orchestrate("report", spec) == 0
    folder = StudyFolder(studies, notes.parent.name)
    folder.note("a later line")
    assert notes.read_bytes().startswith(mine + b"\n- ")
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
