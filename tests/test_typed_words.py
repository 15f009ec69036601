"""Commands that messages advise work when they are copied, whatever paths and studies are called."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from orchestrator.typed_words import install_command
from tests.cli_project import SWEEP, make_project, orchestrate, ran_project

ODD = ("-a b", "it's $HOME", "naïve `x`")


def test_an_extra_is_installed_with_the_python_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/opt/an env/bin/python")
    assert shlex.split(install_command("deploy")) == [
        *("/opt/an env/bin/python", "-m", "pip", "install", "orchestrator[deploy]")
    ]


def advised(text: str, pattern: str) -> list[str]:
    """The words of the first advised command, without `orchestrate` itself."""
    found = re.search(pattern, text)
    assert found, text
    program, *words = shlex.split(found[1])
    assert program == "orchestrate"
    return words


@pytest.mark.parametrize("name", ODD)
def test_the_commands_of_the_report_work_from_an_odd_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran_project(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    spec = f"./{name}/sweeps/demo.yaml"
    assert orchestrate(spec, "-q") == 0
    out = capsys.readouterr().out
    assert orchestrate(*advised(out, r"(orchestrate trial .+)"), "-q") == 0
    assert orchestrate(*advised(out, r"(orchestrate export .+)")) == 0
    assert Path("exported", "demo-0", "adapter_config.json").is_file()


@pytest.mark.parametrize("lacking", ["name: demo\n", "budget: {trials: 5}\n"])
def test_the_commands_of_the_report_work_where_the_file_alone_is_no_sweep(
    lacking: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = make_project(tmp_path / "a", SWEEP.replace(lacking, ""))
    monkeypatch.chdir(tmp_path)
    given = "name=demo" if lacking.startswith("name") else "budget.trials=2"
    assert orchestrate(spec, given, "-q") in (0, 4, 5)
    out = capsys.readouterr().out
    assert orchestrate(*advised(out, r"(orchestrate trial .+)"), "-q") == 0
    assert orchestrate(*advised(out, r"(orchestrate export .+)")) == 0


@pytest.mark.parametrize("name", ODD)
def test_what_checks_a_sweep_file_and_what_begins_a_study_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    typed = f"./{name}/sweeps/demo.yaml"
    spec.write_text(SWEEP.replace("method: tpe", "method: tpi"))
    assert orchestrate(typed) == 2
    check = advised(capsys.readouterr().err, r"check with: (orchestrate validate .+)")
    spec.write_text(SWEEP)
    assert orchestrate(*check) == 0
    capsys.readouterr()
    for command in ("status", "repair"):
        elsewhere = ("name=other", "--studies", f"./{name}/kept")
        assert orchestrate(command, typed, *elsewhere) == 3
        begin = advised(capsys.readouterr().err, r"`(orchestrate .+)` begins it")
    assert orchestrate(*begin, "-q", "budget.trials=1") in (0, 4, 5)
    assert (tmp_path / name / "kept" / "other" / "report.html").is_file()


@pytest.mark.parametrize("command", ["run", "validate", "plan", "diagnose", "repair", "status"])
def test_what_checks_a_mistake_names_the_sweep_as_it_was_named(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A study by its name, and the folder of studies: where a sweep takes parameters from another
    study, it is not valid without it.
    """
    kept = ran_project(tmp_path / "first").parents[1] / "studies"
    kept.rename(tmp_path / "kept it's")
    spec = make_project(tmp_path, f"{SWEEP}take: {{study: demo, parameters: [scheduler]}}\n")
    spec.write_text(spec.read_text().replace("name: demo", "name: next"))
    monkeypatch.chdir(tmp_path / "first")
    for word, wrong in ((str(spec), "budget.trials=some"), ("demo", "budget.trials=some")):
        name = "name=a/b" if command == "status" and word != "demo" else wrong
        assert orchestrate(command, word, name, "--studies", "../kept it's") == 2
        said = capsys.readouterr().err
        check = advised(said, r"check with: (orchestrate validate .+)")
        assert check == ["validate", word, "--studies", "../kept it's"]
        assert orchestrate(*check) == 0
        capsys.readouterr()


@pytest.mark.parametrize("words", [("trial", "9"), ("stop", "9"), ("export", "9", "--to", "x")])
def test_what_lists_the_trials_of_a_study_works_from_anywhere(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / ODD[0]
    spec = ran_project(root)
    monkeypatch.chdir(tmp_path)
    command, *others = words
    assert orchestrate(command, spec, *others) == 3
    assert orchestrate(*advised(capsys.readouterr().err, r"`(orchestrate status .+)` lists")) == 0
    monkeypatch.chdir(root)
    assert orchestrate(command, "demo", *others) == 3
    assert advised(capsys.readouterr().err, r"`(orchestrate status .+)` lists") == [
        "status",
        "demo",
    ]


def test_what_a_new_project_is_told_to_check_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert orchestrate("init", "--", "-a b") == 0
    words = advised(capsys.readouterr().out, r"then (orchestrate validate .+)")
    assert words == ["validate", "./-a b/sweeps/mine.yaml"] and Path(words[1]).is_file()


def test_a_path_that_begins_as_an_option_does_is_no_option_in_the_advice_on_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-set.jsonl").write_text('{"audio": "a.wav", "text": "one"}\n', encoding="utf-16")
    assert orchestrate("diagnose", "./-set.jsonl") == 2
    assert "iconv -f UTF-16 -t UTF-8 ./-set.jsonl > ./-set-utf8.jsonl" in capsys.readouterr().err
    Path("-rec").mkdir()
    assert orchestrate("diagnose", "./-rec") == 2
    assert "orchestrate manifest from-folder ./-rec ./-rec.jsonl" in capsys.readouterr().err
