"""What makes a study the same study: contents and settings, never where they lie or how a message
is worded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.cli import main
from orchestrator.planning.trial_plan import trial_plan
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import folder_of, make_project, orchestrate, ran_project
from tests.run_fake import make_worker
from tests.running_support import make_spec

ENDED = (0, 4, 5)
TIMED = {
    "clock.json",
    "journal.jsonl",
    "notes.md",
    "report.md",
    "report.html",
    "study.db",
    "study.lock",
}
"""Files of a study that hold times or places; the journal, because the seconds of a result enter
its digest.
"""


def contents(study: Path) -> dict[str, bytes]:
    """Every file of a study that no clock enters, results without their seconds."""
    found = {}
    for path in sorted(study.rglob("*")):
        name = str(path.relative_to(study))
        if (
            path.is_file()
            and path.name not in TIMED
            and not name.startswith(("cache/", "checkpoint/"))
        ):
            data = path.read_bytes()
            if path.name == "result.json":
                data = json.dumps(json.loads(data) | {"seconds": 0}).encode()
            found[name] = data
    return found


def edit(path: Path, line: int, **changes: str) -> None:
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    rows[line - 1] |= changes
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_golden_identities() -> None:
    """A change here makes every study on every disk a stranger: raise FORMAT with it."""
    plan = trial_plan(
        make_spec(),
        3,
        {"learning_rate": 1e-3, "rank": 8, "max_steps": 200},
        {"train": "a", "model": "b"},
    )
    assert plan.recipe == "1bf36a0a0bf3e84e7226c4b8716e7e59ee2f71cf08f4db44a3eb48b2e844dc46"
    assert (
        digest({"format": "3", "rms": "0.075"})
        == "fd3b93879e9539cee31b1a4d82b08c822805eef20a52cf79089dad0ca95a328d"
    )


def test_a_recipe_counts_contents_and_not_names() -> None:
    point = {"learning_rate": 1e-3, "rank": 8, "max_steps": 200}
    spec = make_spec()
    renamed = spec.model_copy(
        update={"data": spec.data.model_copy(update={"train": Path("/elsewhere")})}
    )
    known = dict.fromkeys(("train", "domain", "heldout", "model"), "1")
    assert trial_plan(spec, 0, point).recipe != trial_plan(renamed, 0, point).recipe
    assert trial_plan(spec, 0, point, known).recipe == trial_plan(renamed, 0, point, known).recipe
    for name in known:
        other = known | {name: "2"}
        assert trial_plan(spec, 0, point, known).recipe != trial_plan(spec, 0, point, other).recipe


def test_a_moved_project_ends_byte_for_byte_like_one_that_stayed(tmp_path: Path) -> None:
    stayed = ran_project(tmp_path / "stayed", "budget.trials=3")
    ran_project(tmp_path / "before", "budget.trials=3")
    shutil.move(tmp_path / "before", tmp_path / "deeper" / "after")
    moved = tmp_path / "deeper" / "after" / "sweeps" / "demo.yaml"
    for spec in (stayed, moved):
        assert orchestrate(spec, "--quiet") in ENDED
    there = contents(folder_of(moved).path)
    assert there == contents(folder_of(stayed).path) and len(there) > 20
    assert not [name for name, data in there.items() if str(tmp_path).encode() in data]


def test_a_finished_study_is_reported_where_it_was_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path / "before")
    code = orchestrate(spec, "--quiet")
    capsys.readouterr()
    assert orchestrate(spec) == code
    before = capsys.readouterr().out.replace(str(tmp_path / "before"), "")
    shutil.move(tmp_path / "before", tmp_path / "after")
    moved = tmp_path / "after" / "sweeps" / "demo.yaml"
    assert orchestrate(moved) == code
    assert capsys.readouterr().out.replace(str(tmp_path / "after"), "") == before
    assert orchestrate("report", moved) == 0 and orchestrate("status", moved) == 0


def test_a_study_copied_beside_another_goes_on_alone(tmp_path: Path) -> None:
    spec = ran_project(tmp_path, "budget.trials=3")
    own, copy = folder_of(spec), folder_of(spec, "copy")
    shutil.copytree(own.path, copy.path)
    before = contents(own.path)
    assert orchestrate(spec, "--quiet", "name=copy") in ENDED
    assert len(copy.results()) == 5 and contents(own.path) == before
    assert orchestrate(spec, "--quiet") in ENDED
    assert [r.params for r in own.results()] == [r.params for r in copy.results()]


def test_a_renamed_manifest_is_the_same_and_another_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    (tmp_path / "data" / "train.jsonl").rename(tmp_path / "data" / "training.jsonl")
    spec.write_text(spec.read_text().replace("data/train.jsonl", "data/training.jsonl"))
    assert orchestrate(spec, "--quiet", "budget.trials=3") in ENDED
    assert (
        "data.train from data/train.jsonl to data/training.jsonl"
        in folder_of(spec).notes.read_text()
    )
    capsys.readouterr()
    assert orchestrate(spec, "data.heldout=data/domain.jsonl") == 3
    assert "data.heldout  data/heldout.jsonl  data/domain.jsonl" in capsys.readouterr().err


def test_a_manifest_written_otherwise_is_the_same(tmp_path: Path) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    (tmp_path / "clips").mkdir()
    for name in ("train", "domain"):
        path = tmp_path / "data" / f"{name}.jsonl"
        rows = [json.loads(row) for row in path.read_text().splitlines()]
        for row in rows:
            audio = (tmp_path / "data" / row["audio_filepath"]).rename(
                tmp_path / "clips" / row["audio_filepath"]
            )
            row["audio_filepath"] = str(audio)
        path.write_text(
            "\n" + "\n".join(json.dumps(dict(reversed(row.items()))) for row in rows) + "\n\n"
        )
    assert orchestrate(spec, "--quiet") in ENDED
    assert len(folder_of(spec).results()) == 5


@pytest.mark.parametrize("name", ["train", "domain"])
@pytest.mark.parametrize("what", ["text", "audio", "fewer"])
def test_changed_data_are_refused_by_name(
    name: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    path = tmp_path / "data" / f"{name}.jsonl"
    if what == "text":
        edit(path, 2, text="something else was said")
        said = "the text or speaker of 1 utterances, first in line 2"
    elif what == "audio":
        noise = np.random.default_rng(99).normal(0, 0.1, 8000)
        soundfile.write(tmp_path / "data" / f"{name}-2.wav", noise, 16000)
        said = "the audio of 1 utterances, first in line 3"
    else:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
        said = "3 utterances then, 2 now"
    before = contents(folder_of(spec).path)
    capsys.readouterr()
    for arguments in ((spec,), ("trial", spec, "0")):
        assert orchestrate(*arguments) == 3
        assert capsys.readouterr().err == (
            "data of study demo have changed since its trials were trained and measured:\n"
            f"  data/{name}.jsonl ({name}): {said}\n"
            "  Put the data back, or begin a new study with --fork NAME.\n"
        )
    after = contents(folder_of(spec).path)
    assert {k: v for k, v in after.items() if k != "spec.yaml"} == {
        k: v for k, v in before.items() if k != "spec.yaml"
    }


def test_a_study_of_another_format_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    mark = folder_of(spec).path / "study.json"
    folder_of(spec).journal.path.unlink()  # those formats had none
    for written, version in (
        (None, "orchestrator 0.1"),
        (b'{"format": 2}', "another version (format 2)"),
    ):
        mark.unlink() if written is None else mark.write_bytes(written)
        for command in (
            (spec,),
            ("report", spec),
            ("status", spec),
            ("export", spec, "--to", tmp_path / "out"),
            ("plan", spec),
            ("diagnose", spec),
        ):
            capsys.readouterr()
            assert orchestrate(*command) == 3
            assert capsys.readouterr().err.startswith(
                f"study demo was written by {version}, which this version (format 3) does not read\n"
            )


def test_a_study_s_own_spec_is_a_sweep_file_of_its_project(tmp_path: Path) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    stored = load_spec(folder_of(spec).path / "spec.yaml")
    assert stored.data == load_spec(spec).data


def test_the_pack_of_a_study_is_decided_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    study = folder_of(spec).path
    # the worker of these tests has 2 slots
    assert orchestrate(spec, "--quiet", "budget.trials=2") in ENDED
    assert json.loads((study / "pack.json").read_bytes()) == {
        "slots": 2,
        "why": "execution.pack: auto",
        "device": "unknown",
    }
    shutil.rmtree(folder_of(spec).project_cache)
    capsys.readouterr()
    assert orchestrate(spec, "execution.pack=4") == 3
    assert capsys.readouterr().err == (
        "study demo trains 2 adapters at once, the sweep file says execution.pack: 4\n"
        "  Write 2 or auto there, or begin a new study with --fork NAME.\n"
    )
    assert (
        "pack: auto" in (study / "spec.yaml").read_text()
        and "execution" not in (study / "notes.md").read_text()
    )
    assert orchestrate("trial", spec, "0", "--quiet") == 0
    capsys.readouterr()
    assert orchestrate("plan", spec) == 0
    assert "pack of 2 adapters at once, kept since the study began" in " ".join(
        capsys.readouterr().out.split()
    )
    seen: list[object] = []

    def recording(sweep: SweepSpec, folder: StudyFolder) -> Worker:
        seen.append(sweep.execution.pack)
        return make_worker(sweep, folder)

    with pytest.raises(SystemExit):
        main([str(spec), "--quiet"], recording)
    assert seen and set(seen) == {2}


def test_a_lost_pack_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ran_project(tmp_path, "budget.trials=2")
    (folder_of(spec).path / "pack.json").unlink()
    capsys.readouterr()
    assert orchestrate(spec) == 3
    assert "\n  pack.json is lost\n" in capsys.readouterr().err
    assert len(folder_of(spec).results()) == 2
