"""What is printed: help as its author wrote it, and no traceback into a pipe that nobody reads."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from rich.markup import render

from orchestrator.cli import build_app
from tests.cli_project import ROOT, make_project, orchestrate


def helps(command: object, name: str) -> Iterator[tuple[str, str]]:
    """Every text of help under a command, with the name of what it helps with."""
    for each in (command, *getattr(command, "params", ())):
        if text := getattr(each, "help", None):
            yield f"{name} {getattr(each, 'name', '')}", text
    for below, sub in getattr(command, "commands", {}).items():
        yield from helps(sub, f"{name} {below}")


@pytest.mark.parametrize(
    ("name", "text"), list(helps(typer.main.get_command(build_app()), "orchestrate"))
)
def test_no_bracket_is_taken_for_markup(name: str, text: str) -> None:
    assert render(text).plain == text.replace("\\[", "["), name


def test_the_extra_of_from_dataset_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for words in (("manifest", "from-dataset", "--help"), ("manifest", "--help")):
        assert orchestrate(*words) == 0
        assert "pip install 'orchestrator[hub]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("validate", "--json-schema"), ("plan", "SPEC"), ("validate", "SPEC")]
)
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path, words: tuple[str, ...]) -> None:
    spec = str(make_project(tmp_path))
    command = [
        sys.executable,
        "-u",
        "-m",
        "orchestrator",
        *(spec if word == "SPEC" else word for word in words),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGPIPE  # 141 in a shell
