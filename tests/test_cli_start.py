"""What a newcomer meets first: the version, completion, a project to start from, and a clean
checkout after it.
"""

from __future__ import annotations

import inspect
import os
import pty
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from orchestrator.sweepfile.loading import changed_fields, load_spec
from tests.cli_project import ROOT, SWEEP, make_project, orchestrate, ran_project

SWEEPS = [*(ROOT / "sweeps").rglob("*.yaml"), ROOT / "orchestrator" / "commands" / "start.yaml"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("--version") == 0
    assert capsys.readouterr().out == f"orchestrate {version('orchestrator')}\n"


def test_a_shell_can_complete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    # the variable is read where a command is made of its annotations, which the tests do once
    monkeypatch.setattr(typer.main, "get_command", inspect.unwrap(typer.main.get_command))
    assert orchestrate("--show-completion", "bash") == 0
    assert "_COMPLETE=complete_bash" in capsys.readouterr().out
    assert orchestrate("--help") == 0
    assert "--install-completion" in capsys.readouterr().out


def test_init_writes_a_project_that_plans_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "mine"
    assert orchestrate("init", place) == 0
    said = capsys.readouterr().out
    spec = place / "sweeps" / "mine.yaml"
    assert f"Next: put them there, then orchestrate validate {spec}" in said
    assert {path.name for path in place.iterdir()} == {"sweeps", "data", "studies", ".gitignore"}
    assert "studies" in (place / ".gitignore").read_text()
    assert load_spec(spec).name == "mine"
    assert orchestrate("plan", spec) == 0
    unread = re.findall(
        r"^- Not read: data\.(\w+): there is", capsys.readouterr().out, re.MULTILINE
    )
    assert unread == ["train", "domain", "heldout"], "a line for each"
    assert orchestrate("init", place) == 2
    assert (
        capsys.readouterr().err
        == f"{spec} exists\n  Name another folder; nothing is overwritten.\n"
    )


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_what_a_sweep_file_shows_in_comments_can_be_copied(path: Path) -> None:
    """Commands, and keys that may be taken in: what explains them is a comment of its own."""
    text = path.read_text()
    for command in re.findall(r"^#   ((?:orchestrate|make) .+)", text, re.MULTILINE):
        for word in shlex.split(command, comments=True)[1:]:
            assert re.fullmatch(r"[a-z]+|--[a-z]+|\S+\.(yaml|jsonl)|[A-Za-z.]+=\S+", word), command
        assert len([word for word in shlex.split(command, comments=True) if word.isalpha()]) <= 2
    for key in re.findall(r"^ *# ((?:replay|confirm|replay_ratio): .+)", text, re.MULTILINE):
        (value,) = YAML(typ="safe").load(key).values()
        assert " " not in str(value) or not isinstance(value, str)


def test_the_quickstart_alone_leaves_no_row_in_the_record() -> None:
    without = [
        path.name for path in (ROOT / "sweeps").rglob("*.yaml") if not load_spec(path).record
    ]
    assert without == ["quickstart.yaml"]


def test_record_false_keeps_the_record_as_it_is(tmp_path: Path) -> None:
    spec = make_project(tmp_path, SWEEP + "record: false\n")
    plan = tmp_path / "docs" / "experiment_plan.md"
    plan.parent.mkdir()
    plan.write_text("mine\n")
    assert orchestrate(spec, "-q") in (0, 4, 5)
    assert plan.read_text() == "mine\n"
    assert orchestrate(spec, "-q", "--record", tmp_path / "other.md") in (0, 4, 5)
    assert "demo" in (tmp_path / "other.md").read_text(), "asked for by name"
    assert orchestrate(spec, "-q", "record=true") in (0, 4, 5), "it may change between runs"
    assert "| demo |" in plan.read_text()
    changed = changed_fields(load_spec(spec), load_spec(spec, ["record=true"]))
    assert [(each.path, each.allowed) for each in changed] == [("record", True)]


def test_validate_does_not_wait_for_what_it_does_not_use(tmp_path: Path) -> None:
    """The shipped sets have words and no traces of programs, so no text need be normalised; and the
    headers of their audio, which numpy is loaded for, are known from the first run.
    """
    heavy = ("torch", "optuna", "transformers", "peft", "numpy", "rapidfuzz", "regex", "psutil")
    code = (
        "import sys\nfrom orchestrator.cli import main\n"
        f"try: main(['validate', 'sweeps/quickstart.yaml', '--studies', {str(tmp_path)!r}])\n"
        f"finally: print([name for name in {heavy} if name in sys.modules])"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
    said = done.stdout.splitlines()
    assert said[0].startswith("sweeps/quickstart.yaml is valid"), done.stderr
    assert said[-1] == "[]"


@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_a_closed_stream_is_the_number_of_no_file_of_a_study(
    closed: list[int], tmp_path: Path
) -> None:
    """What a library prints there would be written into that file, such as the study's database."""
    spec = make_project(tmp_path)
    code = (
        "import os\n"
        f"for number in {closed}: os.close(number)\n"
        "import sys, tests.run_fake as fake\n"
        f"if 1 in {closed}: sys.stdout = None\n"
        f"if 2 in {closed}: sys.stderr = None\n"
        "class Printing(fake.SlowWorker):\n"
        "    def advance(self):\n"
        "        for number in (1, 2): os.write(number, b'as a library')\n"
        "        assert all(map(os.get_inheritable, range(3)))\n"
        "        return super().advance()\n"
        "fake.SlowWorker = Printing\n"
        f"sys.argv[1:] = [{str(spec)!r}, 'budget.trials=1']\n"
        "fake.main(make_worker=fake.make_worker)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 4, 5), done.stderr
    assert "Traceback" not in done.stderr
    files = [path for path in (tmp_path / "studies").rglob("*") if path.is_file()]
    assert [path.name for path in files if b"as a library" in path.read_bytes()] == []
    assert orchestrate("repair", spec, "--check") == 0


@pytest.mark.parametrize("words", [("table",), ("status",), ("report", "--format", "json")])
def test_a_closed_output_is_no_fault_of_a_command(words: tuple[str, ...], tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    command = shlex.join([sys.executable, "-m", "orchestrator", words[0], str(spec), *words[1:]])
    done = subprocess.run(f"{command} >&-", shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_of_no_width_is_one_whose_width_is_asked_for(tmp_path: Path) -> None:
    """Rich prints nothing where COLUMNS is 0."""
    spec = ran_project(tmp_path)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "orchestrator", "status", str(spec)]
    none = os.environ | {"COLUMNS": "0", "LINES": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=none, stdout=theirs) as running:
        os.close(theirs)
        shown = os.read(ours, 100)
        with suppress(OSError):  # the end of a terminal's output
            while more := os.read(ours, 1000):
                shown += more
    os.close(ours)
    assert running.returncode == 0 and b"Sweep demo" in shown and b"ACCEPT" in shown
