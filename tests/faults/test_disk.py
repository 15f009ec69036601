"""A full disk, a broken one: one line that names the file and the space, and after room is made the
same end.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from orchestrator.corpus.cache import clip_cache
from orchestrator.errors import StudyError
from orchestrator.files import atomic
from orchestrator.files.atomic import new_file, new_folder
from orchestrator.records.writing import write_aside
from orchestrator.sweepfile.sweep import Budget
from orchestrator.tuning.adapters import peft_adapter as adapters
from orchestrator.tuning.training import checkpoint
from orchestrator.tuning.training.checkpoint import save_slots
from tests.cli_project import make_project, orchestrate
from tests.running_support import history, make_spec, run

TENSORS = "I/O error: No space left on device (os error 28)"


def full(*args: object, **options: object) -> NoReturn:
    raise SafetensorError(f"Error while serializing: {TENSORS}")


def no_room(*args: object, **options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_checkpoint_that_does_not_fit_is_one_line_with_the_file_and_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StudyError) as caught:
        save_slots([], tmp_path / "000007")
    first, advice = str(caught.value).split("\n")
    assert first.startswith(
        f"{tmp_path}/000007/slots.safetensors could not be written: No space left on device; it "
    )
    assert "it needs 0.0 kB," in first and "are free" in first
    assert "run the same command again" in advice
    assert caught.value.exit_code == 3
    assert list(tmp_path.rglob("*.*")) == []


def test_an_adapter_that_does_not_fit_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.tuning_models import params  # torch alone, no model

    weight = torch.nn.Linear(8, 8, bias=False)
    from orchestrator.sweepfile.sweep import ModelSpec
    from orchestrator.tuning.adapters.packed_linear import PackedLinear

    linears = {"decoder.layers.0.fc1": PackedLinear(weight)}
    adapter = adapters.initial_adapter(linears, tuple(linears), params(rank=2))
    with new_folder(tmp_path / "adapter") as aside:
        adapters.export(linears, adapter, 1.0, ModelSpec(id="a/b"), aside)
    before = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    monkeypatch.setattr(adapters, "save_file", full)
    with (
        pytest.raises(StudyError, match=r"adapter could not be written: .*; it needs 0\.1 kB"),
        new_folder(tmp_path / "adapter") as aside,
    ):
        adapters.export(linears, adapter, 0.5, ModelSpec(id="a/b"), aside)
    assert {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_cache_that_does_not_fit_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_sync_file", no_room)
    clip = clip_cache.Decoded.of(np.zeros(160, np.float32), 0.0, 0)
    with pytest.raises(OSError) as caught:
        clip_cache.write_clips([(bytes(16), clip)], tmp_path)
    place = Path(str(caught.value.filename))
    assert (caught.value.errno, place.parent, place.suffix) == (errno.ENOSPC, tmp_path, ".pcm")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_keep_their_own_file_and_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, new_folder(tmp_path / "a") as aside:
        shutil.copy("/nowhere", aside)
    assert caught.value.filename == "/nowhere"
    with pytest.raises(KeyError), new_file(tmp_path / "b"):
        raise KeyError("space")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_command_on_such_a_disk_ends_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    spec = make_project(tmp_path)

    def refused(path: Path) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "_sync_file", refused)
    assert orchestrate(spec, "--quiet") in (2, 3)
    said = capsys.readouterr().err
    assert os.strerror(number) in said and str(tmp_path) in said and "Traceback" not in said


@pytest.mark.parametrize("at", [3, 17, 24, 31])
def test_full_in_the_middle_and_continued_is_as_if_there_had_been_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    spec = make_spec(budget=Budget(trials=4), scales=(1.0,))
    run(spec, tmp_path / "straight")
    count, right = 0, atomic._sync_file

    def sync(path: Path) -> None:
        nonlocal count
        count += 1
        if count == at:
            no_room()
        right(path)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_sync_file", sync)
        with pytest.raises(
            StudyError, match=r"written: No space left on device; it needs .*B, .* are free"
        ):
            run(spec, tmp_path / "full")
    run(spec, tmp_path / "full")
    assert history(spec, tmp_path / "full") == history(spec, tmp_path / "straight")


def test_sizes_are_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = lambda path: type("Usage", (), {"free": 1_234_567})  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(atomic, "_sync_file", no_room)
    with pytest.raises(StudyError, match=r"it needs 2\.0 kB, 1\.2 MB are free"):
        write_aside(tmp_path / "new" / "file", b"x" * 2000)
