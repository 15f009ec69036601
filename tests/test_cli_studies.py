"""Studies by their name, forks that are not mistaken for what they were forked from, and verdicts
by other limits.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

from orchestrator.commands.opening_study import FORKED, open_sweep
from orchestrator.errors import StudyError
from orchestrator.search.postgres import new_record
from orchestrator.sweepfile.storage import StorageSpec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, and one forked from its file."""
    spec = ran_project(tmp_path_factory.mktemp("project"))
    assert orchestrate(spec, "--quiet", "budget.trials=2", "--fork", "phone2") in (0, 4, 5)
    return spec


@pytest.fixture
def inside(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    monkeypatch.chdir(project.parents[1])
    capsys.readouterr()
    return Path("sweeps/demo.yaml")


def test_the_commands_that_a_fork_prints_mean_the_fork(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(inside, "--fork", "phone2", "budget.trials=2") in (0, 4, 5)
    out = capsys.readouterr().out
    assert out.startswith("Sweep phone2\n")
    printed = [line.strip() for line in out.splitlines() if line.startswith("  orchestrate ")]
    assert "  orchestrate trial sweeps/demo.yaml 0 name=phone2" in out.splitlines()
    for line in printed:
        words = [word.replace("exported/", f"{tmp_path}/") for word in shlex.split(line)[1:]]
        assert orchestrate(*words) == 0
    assert "of study phone2" in capsys.readouterr().out or len(printed) == 1


def test_a_fork_has_a_name_of_its_own(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate(inside, "--fork", "demo") == 2
    assert capsys.readouterr().err == (
        "--fork demo names the sweep file's own study, and begins no other\n  Give it another name.\n"
    )


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--fork", "a b", "--fork a b is no name of a study\n  Allowed: 1 to 64 letters, digits"),
        ("--fork", "", "--fork  is no name of a study"),
        (
            "--max-bad-fraction",
            "2",
            "--max-bad-fraction 2 is no share\n  Allowed: at least 0, below",
        ),
        ("--max-bad-fraction", "nan", "--max-bad-fraction nan is no share"),
    ],
)
def test_an_option_that_sets_a_field_is_refused_by_its_own_name(
    inside: Path, option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(inside, option, value) == 2
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("command", ["status", "watch", "report"])
def test_a_study_is_opened_by_its_name(
    inside: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(command, "phone2") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Sweep phone2\n") and captured.err == ""
    assert orchestrate(command, inside) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Sweep demo\n")
    assert (
        captured.err
        == "study demo; beside it were begun with --fork: phone2. Each opens by its name.\n"
    )
    assert orchestrate(command, inside, "name=phone2") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Sweep phone2\n") and captured.err == ""


def test_trial_and_export_take_a_name_and_say_the_study(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("trial", "phone2", 0, "--quiet") == 0
    assert orchestrate("export", "phone2", 0, "--to", tmp_path / "a") == 0
    assert "trial 0 of study phone2" in capsys.readouterr().out
    assert orchestrate("export", inside, 0, "--to", tmp_path / "b") == 0
    captured = capsys.readouterr()
    assert "trial 0 of study demo" in captured.out and "phone2" in captured.err


def test_a_name_that_means_nothing_is_refused(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("status", "phone3") == 2
    assert capsys.readouterr().err == (
        f"there is neither a study phone3 in {Path('studies').absolute()} nor a sweep file phone3\n"
        "  Name a sweep file or a study; there are demo, phone2.\n"
    )
    own = inside.with_name("phone3.yaml")
    own.write_bytes(inside.read_bytes())
    assert orchestrate("status", "phone3") == 2
    another = "sweeps/phone3.yaml is the sweep file of study demo: name one of these two; there are"
    assert another in capsys.readouterr().err
    own.write_text(inside.read_text().replace("name: demo", "name: phone3"))
    assert orchestrate("status", "phone3") == 2
    assert "`orchestrate sweeps/phone3.yaml` begins it" in capsys.readouterr().err
    assert orchestrate("phone3", "--studies", "other studies") == 2
    own.unlink()
    begins = "`orchestrate sweeps/phone3.yaml --studies 'other studies'` begins it"
    assert begins in capsys.readouterr().err
    assert orchestrate("status", "phase-3.1") == 2
    assert "there is neither a study phase-3.1 in " in capsys.readouterr().err
    assert orchestrate("status", "demo.yml") == 2
    assert "did you mean `sweeps/demo.yaml`?" in capsys.readouterr().err
    assert orchestrate("status", inside, "name=phone3") == 3
    error = capsys.readouterr().err
    assert "there is no study phone3" in error and "there are demo, phone2." in error
    assert orchestrate("status", "phone2", "--studies", os.devnull) == 2


def test_a_report_by_other_limits_says_so(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert orchestrate("report", inside) == 0
    assert "other limits" not in capsys.readouterr().out
    assert orchestrate("report", inside, "acceptance.domain_wer.min_gain=30") == 0
    headline = capsys.readouterr().out.splitlines()[1]
    assert headline.startswith("REJECT: trial") and headline.endswith(
        "; judged by other limits than the study's"
    )
    assert (
        orchestrate("report", inside, "acceptance.domain_wer.min_gain=30", "--format", "json") == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["decision"], found["other_limits"]) == ("REJECT", True)
    assert orchestrate("report", inside, "acceptance.domain_wer.min_gain=1.0") == 0
    assert "other limits" not in capsys.readouterr().out, "they are the study's"


@pytest.mark.parametrize(
    ("command", "override"),
    [
        ("report", "guardrails.heldout_wer.max_regression=5"),
        ("report", "budget.trials=2"),
        ("status", "acceptance.domain_wer.min_gain=30"),
        ("trial", "parameters.max_steps=300"),
        ("export", "seed=7"),
    ],
)
def test_what_cannot_be_judged_again_is_refused(
    inside: Path, tmp_path: Path, command: str, override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"trial": ["0"], "export": ["0", "--to", str(tmp_path / "x")]}.get(command, [])
    assert orchestrate(command, inside, *words, override) == 3
    error = capsys.readouterr().err
    assert f"study demo was not run with this: {override.partition('=')[0]}" in error
    allowed = "name and acceptance.METRIC" if command == "report" else "name"
    assert f"\n  It is shown as it was run; {allowed} alone may be given. Another" in error
    assert "--fork NAME" in error


def test_every_command_takes_the_name_of_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec.unlink()
    for command, said in {
        ("validate", "demo"): "demo is valid: sweep demo, tpe over learning_rate, rank, 5 trials",
        ("repair", "demo"): "study demo: all 62 sealed files are as they were written",
        ("plan", "demo"): "Sweep demo",
        ("diagnose", "demo"): "Headroom",
        ("clean", "demo"): "demo",
        ("status", "demo"): "ACCEPT",
        ("demo", "-q"): "  orchestrate trial demo 0\n",
        ("run", "demo", "budget.trials=6", "-q"): "3 COMPLETE, 3 PRUNED",
    }.items():
        assert orchestrate(*command) in (0, 4, 5), command
        assert said in capsys.readouterr().out, command
    assert len(folder_of(spec).results()) == 6


def test_a_study_is_forked_by_its_name_and_each_opens_by_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert orchestrate("demo", "--fork", "demo") == 2
    assert orchestrate("demo", "--fork", "third", "budget.trials=2", "-q") in (0, 4, 5)
    assert "  orchestrate trial third 0\n" in capsys.readouterr().out
    for words in (("third",), ("demo", "name=third")):
        assert orchestrate("status", *words) == 0
        assert "Sweep third" in capsys.readouterr().out


def test_a_refused_fork_leaves_the_study_of_that_name_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    before = folder_of(spec).noted()
    other = spec.with_name("other.yaml")
    other.write_text(SWEEP.replace("name: demo", "name: other"))
    assert orchestrate(other, "--fork", "demo", "parameters.max_steps=300") == 3
    assert "Study demo was begun with another sweep file" in capsys.readouterr().err
    assert folder_of(spec).noted() == before


def test_a_fork_of_a_study_is_none_of_one_whose_name_begins_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    fork = folder_of(spec, "third")
    shutil.copytree(folder_of(spec).path, fork.path)
    for name, told in (("demo.2", False), ("demo", True)):
        fork.note_once(FORKED.format(name))
        assert orchestrate("status", spec) == 0
        assert ("with --fork: third" in capsys.readouterr().err) is told


def test_a_study_that_lost_its_sweep_is_repaired_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder_of(spec).spec.unlink()
    assert orchestrate("repair", "demo") == 3
    said = capsys.readouterr().err
    assert "spec.yaml is lost" in said and "Name the sweep file in the place of the study" in said
    assert orchestrate("repair", spec) == 0


def test_a_word_that_is_no_study_is_said_to_be_none_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in ("run", "validate", "plan", "repair", "status", "report"):
        assert orchestrate(command, "other") == 2
        assert capsys.readouterr().err.startswith("there is neither a study other in "), command


def test_a_folder_that_is_no_study_is_told_to_be_no_sweep_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in ("run", "validate", "report"):
        assert orchestrate(command, "sweeps") == 2
        assert "`sweeps` is not a regular file; name a sweep file" in capsys.readouterr().err


def test_a_study_of_another_project_is_read_with_that_projects_data(
    inside: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    studies = Path("studies").absolute()
    monkeypatch.chdir(tmp_path)
    for command in ("validate", "plan", "diagnose", "status", "run"):
        assert orchestrate(command, "phone2", "--studies", studies) in (0, 4, 5), command
    assert str(tmp_path) not in capsys.readouterr().out
    renamed = studies.with_name("runs")
    renamed.symlink_to(studies)
    for command in ("validate", "diagnose", "run"):
        assert orchestrate(command, "phone2", "--studies", renamed) in (0, 4, 5), command
    assert str(tmp_path) not in capsys.readouterr().out
    renamed.unlink()
    assert orchestrate("report", "phone2", "--studies", studies) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if "  orchestrate " in line]
    assert printed
    for line in printed:
        assert orchestrate(*shlex.split(line)[1:]) == 0, line


def test_a_study_that_is_kept_outside_of_its_project_is_read_with_the_data_of_the_present_one(
    inside: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    studies = tmp_path / "scratch" / "studies"
    shutil.copytree("studies/phone2", studies / "phone2")
    assert orchestrate("validate", "phone2", "--studies", studies) == 0
    assert orchestrate("phone2", "--studies", studies) in (0, 4, 5)
    apart = tmp_path / "apart.jsonl"  # outside of the project, so that any project has it
    apart.write_text(
        json.dumps({"audio_filepath": f"{Path('data').absolute()}/train-0.wav", "text": "a"})
    )
    taken = ["--studies", tmp_path / "other" / "runs", f"data.train={apart}", "budget.trials=1"]
    assert orchestrate(inside, *taken, "--quiet") in (0, 4, 5)
    assert orchestrate("validate", "demo", *taken[:2]) == 0
    monkeypatch.chdir(tmp_path)
    assert orchestrate("validate", "phone2", "--studies", studies) == 2
    assert f"there is no file `{studies.parent}/data/train.jsonl`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["2026", "007", "1e3", "true", "null"])
def test_a_name_is_text_whatever_yaml_makes_of_it(
    inside: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(inside, "--fork", name, "budget.trials=2", "--quiet") in (0, 4, 5)
    for command in ("validate", "repair", "run"):
        assert orchestrate(command, name) in (0, 4, 5), capsys.readouterr().err
    assert orchestrate("status", inside, f"name={name}") == 0
    assert f"Sweep {name}\n" in capsys.readouterr().out
    shutil.rmtree(Path("studies") / name)


@pytest.mark.parametrize("command", ["status", "watch", "report", "diagnose"])
def test_a_copied_study_is_shown_under_its_own_name(
    inside: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("studies/phone2", "studies/copied")
    assert orchestrate(command, "copied") == 0
    out = capsys.readouterr().out
    assert "sweep copied\n" in out.replace("Sweep", "sweep") and "phone2" not in out
    shutil.rmtree("studies/copied")


def test_the_folder_of_a_study_is_no_sweep_file(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "run", "validate"):
        assert orchestrate(command, "studies/phone2/") == 2
        assert capsys.readouterr().err == (
            "studies/phone2 is the folder of a study\n  Name the study itself: phone2\n"
        )
    monkeypatch.chdir("studies")
    assert orchestrate("status", "phone2") == 2
    named = "phone2 --studies ."
    assert f"Name the study itself: {named}\n" in capsys.readouterr().err
    assert orchestrate("status", *named.split()) == 0


def test_a_study_on_a_server_that_is_named_has_its_database_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    monkeypatch.chdir(tmp_path)
    assert open_sweep(Path("demo"), (), None)[0].storage is None
    with folder.lock():
        folder.write_server(new_record("STORE", "demo"))
    assert open_sweep(Path("demo"), ("budget.trials=9",), None)[0].storage == StorageSpec(
        url_env="STORE"
    )
    moved = open_sweep(Path("demo"), ("storage.url_env=OTHER",), None)[0]
    assert moved.storage == StorageSpec(url_env="OTHER")
    assert open_sweep(Path("demo"), ("storage=null",), None)[0].storage is None
    # repair is asked for nothing, and moves nothing
    monkeypatch.delenv("STORE", raising=False)
    assert orchestrate("repair", "demo") == 3
    assert folder.server() is not None
    (folder.path / "storage.json").write_text("{")
    with pytest.raises(
        StudyError, match=r"(?s)storage\.json.*\n  Name the sweep file in the place"
    ):
        open_sweep(Path("demo"), (), None)


def test_a_study_that_is_called_as_a_command_is_run_by_the_commands_that_are_printed(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(inside, "--fork", "plan", "budget.trials=2", "--quiet") in (0, 4, 5)
    record = tmp_path / "runs.md"
    assert orchestrate("run", "plan", "--quiet", "--record", record) in (0, 4, 5)
    assert f"`orchestrate run plan --record {record}`" in record.read_text()
    capsys.readouterr()
    assert orchestrate("status", "plan", "name=other") == 3
    begins = capsys.readouterr().err.partition("`")[2].partition("`")[0]
    assert begins == "orchestrate run plan name=other"
    assert orchestrate(*shlex.split(begins)[1:], "--quiet") in (0, 4, 5)
    for name in ("plan", "other"):
        shutil.rmtree(Path("studies") / name)


@pytest.mark.parametrize("every", ["inf", "nan", "1e300", "86401"])
def test_two_looks_are_at_most_a_day_apart(
    every: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No system sleeps for longer than some hundreds of years: it was a traceback."""
    spec = make_project(tmp_path)
    assert orchestrate("watch", spec, "--every", every) == 2
    assert "--every" in capsys.readouterr().err


def test_a_study_by_its_name_is_recorded_in_its_project_wherever_that_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a project below a folder called sweeps, that was taken for the one of the sweep file."""
    root = tmp_path / "sweeps" / "project"
    root.mkdir(parents=True)
    ran_project(root)
    (root / "docs").mkdir()
    record = root / "docs" / "experiment_plan.md"
    record.write_text("# Runs\n")
    monkeypatch.chdir(root)
    assert orchestrate("demo", "--quiet") in (0, 4, 5)
    assert "| demo |" in record.read_text() and "`studies/demo`" in record.read_text()
