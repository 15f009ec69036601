"""What is removed of studies, and what never is."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from orchestrator.corpus.cache import clip_cache
from orchestrator.corpus.cache.project_cache import ProjectCache
from orchestrator.records.store import StudyFolder
from orchestrator.running.checkpoints import Checkpoint, Checkpoints
from orchestrator.running.cleaning import usage_of
from tests.cli_project import folder_of, orchestrate, ran_project
from tests.fake_worker import FakeWorker


@pytest.fixture(name="spec")
def _spec(tmp_path: Path) -> Path:
    spec = ran_project(tmp_path)
    return spec


def test_a_finished_study_keeps_all_but_its_cache(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, studies = folder_of(spec), folder_of(spec).path.parent
    graph = made_form(folder) / "encoder.onnx"
    strangers = [folder.cache / "mine.txt", folder.cache / "shipped" / "onnx-mine" / "mine.txt"]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("of somebody")
    capsys.readouterr()
    assert orchestrate("clean", "--studies", studies) == 0
    assert "\n2.3 MB not needed\n" in capsys.readouterr().out and graph.exists(), "only shown"
    assert orchestrate("clean", "--yes", "--studies", studies) == 0
    assert sorted(path for path in folder.cache.rglob("*") if path.is_file()) == strangers
    assert len(list(folder.checkpoint.glob("*.json"))) == 1
    assert orchestrate("repair", spec, "--check") == 0
    capsys.readouterr()
    assert orchestrate(spec, "--quiet") == 0, "finished as before"
    assert "ACCEPT" in capsys.readouterr().out


@pytest.mark.parametrize("named", [False, True])
def test_the_printed_command_cleans_what_was_looked_at(
    spec: Path, named: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(spec)
    graph = made_form(folder) / "encoder.onnx"
    words = [str(spec)] if named else ["--studies", str(folder.path.parent)]
    capsys.readouterr()
    assert orchestrate("clean", *words) == 0
    [_, command, *_] = " ".join(capsys.readouterr().out.split()).split("`")
    assert graph.exists()
    assert orchestrate(*shlex.split(command)[1:]) == 0
    assert not graph.exists()


def test_a_study_that_is_a_link_has_its_size(spec: Path, tmp_path: Path) -> None:
    folder = folder_of(spec)
    before = usage_of(folder, tmp_path).rest
    folder.path.rename(tmp_path / "real")
    folder.path.symlink_to(tmp_path / "real")
    assert usage_of(folder, tmp_path).rest == before > 1000


def test_an_unfinished_study_and_what_links_point_to_are_left(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, elsewhere = folder_of(spec), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.bin").write_bytes(b"x")
    for path in sorted(folder.cache.rglob("*"), reverse=True) if folder.cache.exists() else ():
        path.rmdir() if path.is_dir() else path.unlink()
    outside = elsewhere / "shipped" / "onnx-stock-untuned"
    outside.mkdir(parents=True)
    for place, end in ((folder.cache, elsewhere), (folder.cache / "shipped", outside.parent)):
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(end)
        assert orchestrate("clean", spec, "--yes") == 0
        assert outside.exists() and place.is_symlink()
        place.unlink()
    graph = made_form(folder) / "encoder.onnx"
    unfinish(folder)
    capsys.readouterr()
    assert orchestrate("clean", spec, "--yes") == 0
    assert "not finished" in capsys.readouterr().out and graph.exists()


def made_form(folder: StudyFolder) -> Path:
    """An exported form in the study's cache."""
    made = folder.cache / "shipped" / "onnx-int8-stock-trial-3-150-0.5"
    made.mkdir(parents=True)
    (made / "encoder.onnx").write_bytes(bytes(2_000_000))
    return made


def unfinish(folder: StudyFolder) -> None:
    """Its last checkpoint says that the search goes on."""
    Checkpoints(folder.checkpoint).write(Checkpoint(tick=900_000, asked=1), FakeWorker())


def foreign(spec: Path) -> Path:
    """A segment that no study names, in the cache of all studies; its index."""
    cache = ProjectCache(folder_of(spec).project_cache)
    before = set(cache.clips.glob("*.index"))
    clip = clip_cache.Decoded.of(np.full(160, 0.5, np.float32), 0.5, 0)
    clip_cache.write_clips([(bytes(16), clip)], cache.clips)
    (added,) = set(cache.clips.glob("*.index")) - before
    return added


def test_the_shared_cache_goes_but_for_the_sound_of_unfinished_studies(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, studies = folder_of(spec), folder_of(spec).path.parent
    clips = ProjectCache(folder.project_cache).clips
    own, other = set(clips.glob("*.index")), foreign(spec)
    assert own
    with folder.lock():
        assert orchestrate("clean", "--yes", "--studies", studies) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "shared by all" in said and "in use by" in said and other.exists()
    unfinish(folder)
    assert orchestrate("clean", "--yes", "--studies", studies) == 0
    assert set(clips.glob("*.index")) == own
    shutil.rmtree(folder.checkpoint)
    assert orchestrate("clean", "--yes", "--studies", studies) == 0
    assert not list(clips.iterdir())


def test_sound_that_an_unreadable_study_may_need_is_left(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, studies = folder_of(spec), folder_of(spec).path.parent
    clips = set(ProjectCache(folder.project_cache).clips.glob("*.index"))
    assert orchestrate(spec, "--quiet", "budget.trials=2", "--fork", "other") in (0, 4, 5)
    unfinish(folder)
    text = folder.path / "sets.json"
    text.write_text(text.read_text() + " ")
    capsys.readouterr()
    assert orchestrate("clean", "--yes", "--studies", studies) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{folder.name} may need it and cannot be read: " in said
    assert clips <= set(ProjectCache(folder.project_cache).clips.glob("*.index"))


def test_a_study_brings_the_shared_cache_to_its_limit_and_keeps_what_it_needs(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = ProjectCache(folder_of(spec).project_cache).clips
    own, other = set(clips.glob("*.index")), foreign(spec)
    for index in (*own, other):
        os.utime(index, (1, 1))
    assert orchestrate(spec, "--fork", "other", "execution.cache_gb=1e-9") in (0, 4, 5)
    assert "execution.cache_gb" in capsys.readouterr().out
    assert set(clips.glob("*.index")) == own


def test_all_studies_in_one_table_and_a_damaged_one_hides_none(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert orchestrate(spec, "--quiet", "budget.trials=2", "--fork", "other") in (0, 4, 5)
    (folder_of(spec, "other").path / "journal.jsonl").unlink()
    capsys.readouterr()
    monkeypatch.chdir(spec.parents[1])
    assert orchestrate("status") == 0
    out = capsys.readouterr().out
    assert "2 studies, 0 running" in out and "finished" in out and "5 of 5" in out
    assert "damaged" in out
    assert "journal.jsonl is lost" in " ".join(out.split())
    assert orchestrate("status", "--studies", spec.parent) == 3
    assert "there are no studies in" in capsys.readouterr().err
