"""What systems put beside the files of a study by themselves, such as macOS in a folder that somebody
looks at, on an exFAT disk and in an archive, is no part of the study and harms none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.files.system_files import without_system_files
from orchestrator.fleet.hosts import InlineHosts
from orchestrator.records.store import StudyFolder
from orchestrator.running.checkpoints import Checkpoints
from orchestrator.sweepfile.sweep import Budget
from tests.cli_project import folder_of, orchestrate, ran_project
from tests.crashes import Fuse, Killed, effects
from tests.fake_worker import FakeWorker
from tests.fleet_support import run_fleet, study_bytes
from tests.running_support import make_spec, run


def strew(folder: Path) -> None:
    """Put into every folder what macOS, Windows and NFS put there, and beside every file its
    AppleDouble.
    """
    for place in [folder, *folder.rglob("*")]:
        if place.is_dir():
            for name in (".DS_Store", "Thumbs.db", ".nfs00000000008f3d4a00000012"):
                (place / name).write_bytes(b"\x00\x00\x00\x01Bud1")
        else:
            place.with_name(f"._{place.name}").write_bytes(b"\x00\x05\x16\x07")


@pytest.mark.parametrize(
    ("name", "of_system"),
    [
        ("._plan.json", True),
        (".smbdeleteAAA1b2c", True),
        (".fuse_hidden0000002a00000001", True),
        ("desktop.ini", True),
        ("plan.json", False),
        (".nfs-notes", False),
        ("._", False),
        (".DS_Store.json", False),
    ],
)
def test_a_system_s_files_are_known_by_their_names(name: str, of_system: bool) -> None:
    assert (without_system_files([Path("a", name)]) == []) is of_system


def test_a_finished_study_is_whole_exported_and_continued(tmp_path: Path) -> None:
    spec = ran_project(tmp_path)
    folder = folder_of(spec)
    strew(folder.path)
    assert orchestrate("repair", spec, "--check") == 0
    assert orchestrate("export", spec, 0, "--to", tmp_path / "out") == 0
    written = list((tmp_path / "out").iterdir())
    assert (tmp_path / "out" / "adapter_config.json") in written
    assert without_system_files(written) == written
    assert orchestrate(spec, "--quiet", "budget.trials=7") == 0
    assert orchestrate("repair", spec, "--check") == 0


@pytest.mark.parametrize(("packs", "at"), [(1, 100), (2, 150)])
def test_a_killed_study_continues_from_its_checkpoint(tmp_path: Path, packs: int, at: int) -> None:
    spec = make_spec(budget=Budget(trials=5))

    def go(root: Path) -> None:
        if packs == 1:
            run(spec, root)
        else:
            run_fleet(spec, root, InlineHosts(FakeWorker()), packs)

    go(tmp_path / "straight")
    with effects(Fuse(at)), pytest.raises(Killed):
        go(tmp_path / "killed")
    folder = StudyFolder(tmp_path / "killed", spec.name)
    checkpoints = Checkpoints(folder.checkpoint)
    last = checkpoints.latest(whole=True)
    assert last is not None and last.slots, "killed while a checkpoint held trials"
    strew(folder.path)
    assert checkpoints.damaged() == () and checkpoints.latest(whole=True) == last
    go(tmp_path / "killed")
    found = study_bytes(tmp_path / "killed")
    kept = {name: data for name, data in found.items() if without_system_files([Path(name)])}
    journal, straight = "journal.jsonl", study_bytes(tmp_path / "straight")
    results = [name for name in straight if name.endswith("result.json")]
    assert kept.keys() == straight.keys()
    assert all(kept[name] == straight[name] for name in straight if name not in (journal, *results))
