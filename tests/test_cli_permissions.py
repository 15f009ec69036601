"""Studies that may not be written or read: what can be said of them is, and the permission is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.corpus.cache.project_cache import ProjectCache
from tests.cli_project import ROOT, SWEEP, folder_of, make_project, orchestrate, ran_project
from tests.permissions import bound, needs_permissions, read_only, with_mode

pytestmark = needs_permissions


def test_a_finished_study_that_is_read_only_is_reported_by_the_run_command(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    with read_only(folder.path):
        code, out, errors = bound(spec)
        assert (code, errors) == (0, "")
        assert out.startswith(f"{folder.path} cannot be written to: the study, which is finished,")
        assert "ACCEPT: trial 0, judged on the confirm sets" in out
        # nothing of a sweep file that is not the study's
        code, _, errors = bound(spec, "method=random")
        assert code == 3 and errors.startswith("Study demo was begun with another sweep file")
        # not finished
        code, _, errors = bound(spec, "budget.trials=8")
        assert code == 3 and errors == (
            f"{folder.lock_file} could not be written: Permission denied\n"
            "  What was written before is safe. Fix its permissions, or those of a folder above it, "
            "then run the same command again.\n"
        )
        code, out, errors = bound("repair", "--check", spec)
        assert (code, errors) == (0, "")
    assert orchestrate(spec, "-q") == 0


def test_what_cannot_be_written_is_called_by_its_own_name(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    with with_mode(0o555, closed):
        code, _, errors = bound("export", spec, "--to", closed / "adapter")
    assert code == 2 and errors.startswith(f"{closed / 'adapter'}: Permission denied\n")


def with_another(root: Path) -> tuple[Path, Path]:
    """The sweep file of a project with a second study, and the folder of that."""
    spec = ran_project(root)
    studies = root / "studies"
    shutil.copytree(studies / "demo", studies / "other")
    return spec, studies / "other"


def test_a_study_that_may_not_be_looked_into_is_named_and_hides_no_other(tmp_path: Path) -> None:
    _, other = with_another(tmp_path)
    with with_mode(0, other):
        code, out, errors = bound("status", at=tmp_path)
        assert (code, errors) == (0, "")
        assert "2 studies, 0 running" in out and "ACCEPT" in out
        assert "cannot be read" in out
        assert f"- other: {other / 'journal.jsonl'}: Permission denied" in out
        code, out, errors = bound("clean", at=tmp_path)
        assert code == 0 and f"{other / 'journal.jsonl'}: Permission denied" in out
        # none but that one
        shutil.rmtree(tmp_path / "studies" / "demo")
        code, out, _ = bound("status", at=tmp_path)
        assert code == 0 and "1 study, 0 running" in out


@pytest.mark.parametrize("name", ["journal.jsonl", "spec.yaml", "clock.json", "trials"])
def test_one_file_that_may_not_be_read_hides_no_other_study(name: str, tmp_path: Path) -> None:
    _, other = with_another(tmp_path)
    with with_mode(0, other / name):
        code, out, errors = bound("status", at=tmp_path)
    assert (code, errors) == (0, "")
    assert "2 studies, 0 running" in out and "Permission denied" in out


def test_a_study_that_lost_sweep_file_and_journal_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, other = with_another(tmp_path)
    for name in ("spec.yaml", "journal.jsonl"):
        (other / name).unlink()
    assert orchestrate("status", "--studies", tmp_path / "studies") == 0
    out = capsys.readouterr().out
    assert "2 studies" in out and f"other: {other / 'journal.jsonl'} is lost" in out


def test_a_neighbour_that_may_not_be_read_stops_no_run_and_is_said(tmp_path: Path) -> None:
    spec, other = with_another(tmp_path)
    with with_mode(0, other):
        code, out, errors = bound(spec, "name=third")
    assert code == 0, errors
    assert f"study other cannot be read ({other}" in out
    assert "nobody can tell whether its search measured utterances of the confirm sets" in out


def test_a_neighbour_that_is_damaged_stops_no_run_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, other = with_another(tmp_path)
    (other / "sets.json").write_text("{}")
    assert orchestrate(spec, "name=third") == 0
    out = capsys.readouterr().out
    assert "study other cannot be read (The files of study other are not as" in out
    assert "sets.json has been altered" in out


def test_files_of_a_model_that_may_not_be_read_are_not_called_damaged(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    with with_mode(0, model / "config.json", model / "model.safetensors"):
        code, _, errors = bound("validate", spec, f"model.id={model}", "name=other")
    assert code == 2 and errors.startswith(
        f"model.id: `{model}` has files that may not be read (config.json, model.safetensors); "
        "fix their permissions"
    )
    assert "copy it again" not in errors


def test_a_group_that_shares_the_studies_may_write_to_all_that_a_run_makes(tmp_path: Path) -> None:
    spec = make_project(tmp_path, SWEEP + "execution: {packs: 2, pack: 1, cores: 1, device: cpu}\n")
    words = [sys.executable, "-m", "tests.run_fake", "0", str(spec), "--quiet"]
    done = subprocess.run(words, cwd=ROOT, umask=0o002, stderr=subprocess.PIPE, text=True)
    assert done.returncode in (0, 4, 5), done.stderr
    made = [path for path in (tmp_path / "studies").rglob("*") if not path.is_symlink()]
    assert {"study.db", "study.lock", "journal.jsonl", "files.sqlite", "pack-0.log"} <= {
        path.name for path in made
    }
    assert [path for path in made if not path.stat().st_mode & 0o020] == []


ALLOW = "  Fix its permissions, or those of a folder above it, then run the same command again.\n"


def test_a_cache_that_may_not_be_written_is_named_as_a_disk_that_may_not(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    clips = ProjectCache(folder_of(spec).project_cache).clips
    for path in clips.iterdir():
        path.unlink()
    with with_mode(0o555, clips):
        code, _, errors = bound(spec, "budget.trials=8")
    assert (code, errors) == (3, f"{clips} could not be written: Permission denied\n{ALLOW}")


def test_what_clean_may_not_remove_is_named_as_a_disk_that_may_not_be_written(
    tmp_path: Path,
) -> None:
    spec = ran_project(tmp_path)
    clips = ProjectCache(folder_of(spec).project_cache).clips
    with with_mode(0o555, clips):
        code, _, errors = bound("clean", "--yes", at=tmp_path)
    assert code == 3 and errors.endswith(f" could not be removed: Permission denied\n{ALLOW}")
    assert errors.startswith(f"{clips}/") and list(clips.iterdir())


def test_a_cache_on_a_disk_that_is_not_mounted_is_named_with_the_disk(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    cache, disk = tmp_path / "studies" / ".cache", tmp_path / "disk"
    cache.parent.mkdir(exist_ok=True)
    cache.symlink_to(disk)
    code, _, errors = bound(spec)
    assert (code, errors) == (
        2,
        f"{cache}: a link to {disk}, which is not there\n"
        "  Mount or make that folder, then run the same command again.\n",
    )
    disk.mkdir()
    assert bound(spec, "--quiet")[0] in (0, 4, 5)
    assert list(disk.iterdir())
