"""Files and folders are written completely and synced to the disk before they get their name."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.errors import StudyError
from orchestrator.files import atomic
from orchestrator.files.atomic import new_file, new_files, new_folder
from orchestrator.files.names_aside import aside_of, clear_leftovers
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters import peft_adapter as adapters
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.adapters.packed_linear import PackedLinear
from orchestrator.tuning.adapters.peft_adapter import initial_adapter
from orchestrator.tuning.model.base_model import wrap_model
from tests.tuning_models import params, small_model, tokenizer


@pytest.fixture(scope="module")
def linears() -> Mapping[str, PackedLinear]:
    return wrap_model(
        ModelSpec(id="base"), small_model("v1"), tokenizer(), torch.device("cpu")
    ).linears


def adapter_of(linears: Mapping[str, PackedLinear], seed: int) -> Adapter:
    targets = tuple(
        name for name in linears if name.startswith("decoder.") and name.endswith("q_proj")
    )
    return initial_adapter(linears, targets, params(seed=seed))


def write(linears: Mapping[str, PackedLinear], folder: Path, seed: int) -> None:
    with new_folder(folder) as aside:
        adapters.export(linears, adapter_of(linears, seed), 1.0, ModelSpec(id="base"), aside)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_file_and_folder_of_an_adapter_is_synced(
    linears: Mapping[str, PackedLinear], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    for seed in (0, 1):  # first written, then replaced
        synced.clear()
        write(linears, tmp_path / "adapter", seed)
        assert synced >= {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))}


def test_a_failure_midway_keeps_the_old_adapter_and_leaves_nothing(
    linears: Mapping[str, PackedLinear], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "adapter"
    write(linears, folder, 0)
    before = contents(folder)

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(adapters, "save_file", full)
    with pytest.raises(StudyError, match="No space left"):
        write(linears, folder, 1)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_folder_killed_while_it_is_replaced_is_the_old_or_the_new(
    tmp_path: Path, dies_at: int
) -> None:
    folder = tmp_path / "adapter"
    with new_folder(folder) as aside:
        (aside / "weights").write_text("old")
    code = (
        "import os, signal, shutil, sys\n"
        "from pathlib import Path\n"
        "from orchestrator.files.atomic import new_folder\n"
        "left, replace, rmtree = int(sys.argv[2]), os.replace, shutil.rmtree\n"
        "def step(action):\n"
        "    def stepped(*a, **k):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return action(*a, **k)\n"
        "    return stepped\n"
        "with new_folder(Path(sys.argv[1])) as aside:\n"
        "    (aside / 'weights').write_text('new')\n"
        "    os.replace = step(os.replace)\n"
        "    shutil.rmtree = lambda p, **k: step(rmtree)(p, **k) if not k else rmtree(p, **k)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(dies_at)], check=False)
    assert done.returncode == -signal.SIGKILL
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter", "weights"]
    assert (folder / "weights").read_text() == ("new" if dies_at == 3 else "old")


@pytest.mark.parametrize("name", ["a", "a\nb", ".a"])
def test_a_link_at_the_temporary_name_is_not_written_through(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / "other"
    other.write_text("other")
    aside_of(path).symlink_to(other)
    with new_file(path) as aside:
        aside.write_text("new")
    assert (path.read_text(), other.read_text()) == ("new", "other")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, "other"])


def test_the_replaced_adapter_is_the_new_one(
    linears: Mapping[str, PackedLinear], tmp_path: Path
) -> None:
    write(linears, tmp_path / "adapter", 0)
    write(linears, tmp_path / "adapter", 1)
    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    fresh = adapter_of(linears, 1).modules["decoder.layers.0.self_attn.q_proj"]["A"]
    assert stored["base_model.model.model.decoder.layers.0.self_attn.q_proj.lora_A.weight"].equal(
        fresh
    )


@pytest.mark.parametrize("refused", [True, False])
def test_where_no_thread_can_be_had_files_are_synced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Where memory is short a thread is refused, or dies before it takes its work."""

    class Starved(ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> Future[None]:  # type: ignore[override]
            if refused:
                raise RuntimeError("can't start new thread")
            return Future()

    synced: set[int] = set()
    monkeypatch.setattr(atomic, "_syncing_threads", lambda process: Starved(1))
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    paths = [tmp_path / "a", tmp_path / "b"]
    with new_files(*paths, meanwhile=lambda: None) as asides:
        for aside in asides:
            aside.write_text("whole")
    assert {path.stat().st_ino for path in (*paths, tmp_path)} <= synced


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_that_cannot_sync_folders_takes_files(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux answers EINVAL where a file system has no fsync of folders, as afs and vboxsf; some
    FUSE file systems, such as gocryptfs, answer EOPNOTSUPP.
    """

    def refused(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    if number == errno.EIO:
        with (
            pytest.raises(OSError, match="Input/output"),
            new_file(tmp_path / "new" / "a") as aside,
        ):
            aside.write_text("a")
        return
    with new_file(tmp_path / "new" / "a") as aside:
        aside.write_text("a")
    with new_folder(tmp_path / "b") as aside:
        (aside / "c").write_text("c")
    assert (tmp_path / "new" / "a").read_text() + (tmp_path / "b" / "c").read_text() == "ac"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_that_sets_no_modes_takes_files(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On vboxsf, or a CIFS share or NTFS disk that root has mounted, all files are root's, and
    chmod is refused to everybody else with EPERM, whoever made the file; gvfs has no chmod.
    """

    def refused(place: Path, mode: int, **_: object) -> None:
        raise OSError(number, os.strerror(number), str(place))

    monkeypatch.setattr(os, "chmod", refused)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output"), new_file(tmp_path / "a") as aside:
            aside.write_text("a")
        return
    with new_file(tmp_path / "a") as aside:
        aside.write_text("a")
    with new_folder(tmp_path / "b") as aside:
        (aside / "c").write_text("c")
    assert (tmp_path / "a").read_text() + (tmp_path / "b" / "c").read_text() == "ac"
