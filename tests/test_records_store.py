"""The folder of a study: layout, round trips, crashes, damage."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.checks import Finding
from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialParams, TrialPlan
from orchestrator.records.results import Measurement, SetMeasurement, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from tests.search_helpers import make_result, make_spec


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies", "phase3")


def measurement(
    step: int = 100, scale: float = 1.0, errors: int = 1, **changes: Any
) -> Measurement:
    fields: dict[str, Any] = {
        "manifest_sha256": "ab" * 32,
        "utterance_ids": ("a", "b\u2028c"),
        "speakers": ("", "s"),
        "substitutions": (errors, 0),
        "deletions": (0, 0),
        "insertions": (0, 1),
        "reference_words": (7, 3),
    }
    whole: dict[str, Any] = {
        "trial": 7,
        "step": step,
        "adapter_scale": scale,
        "fingerprint": "f1",
        "train_loss": 1.5,
        "sets": {"domain": SetMeasurement(**fields)},
    }
    return Measurement(**(whole | changes))


def plan(number: int = 7) -> TrialPlan:
    spec = make_spec()
    params = TrialParams(learning_rate=1e-3, max_steps=100, target_patterns=("decoder.*",))
    return TrialPlan(
        sweep="phase3",
        number=number,
        model=spec.model,
        data=spec.data,
        evaluation=spec.evaluation,
        params=params,
    )


HEARD = ({"domain": ("one", "two \u2028 [/foo] \ud800")},)


def test_the_layout_on_disk(folder: StudyFolder) -> None:
    with folder.lock():
        folder.write_spec("name: phase3\n")
        folder.write_baseline(measurement(trial=None), {})
        for number in (7, -2):
            folder.write_plans(plan(number))
            folder.record_measurements(number, [measurement(scale=0.85)], HEARD)
            folder.write_result(make_result(number, {}))
        folder.note("fell back to cpu")
        folder.add_seconds(1.5)
    files = sorted(
        str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()
    )
    per_run = ("hypotheses-100-0.85.jsonl", "measurements.jsonl", "plan.json", "result.json")
    assert files == [
        "baseline.json",
        "clock.json",
        *(f"confirm/0002/{name}" for name in per_run),
        "hypotheses-baseline-f1.jsonl",
        "journal.jsonl",
        "notes.md",
        "spec.yaml",
        "study.json",
        "study.lock",
        *(f"trials/0007/{name}" for name in per_run),
    ]
    assert folder.trial_folder(12345).name == "12345"
    assert folder.adapter_folder(7) == folder.path / "trials/0007/adapter"
    assert (
        folder.checkpoint == folder.path / "checkpoint"
        and folder.database == folder.path / "study.db"
    )


def test_what_is_written_is_read_back(folder: StudyFolder) -> None:
    assert not folder.exists and folder.read_spec() is None and folder.read_plan(7) is None
    assert (
        folder.read_result(7) is None
        and folder.read_measurements(7) == ()
        and folder.results() == ()
    )
    assert folder.read_baseline("f1") is None and folder.seconds_spent() is None
    assert folder.read_hypotheses(7, measurement()) == {}

    folder.write_spec("name: phase3  # ü\n")
    folder.write_plans(plan())
    folder.write_result(make_result(7, {"rank": 8, "use_rslora": True}))
    folder.write_result(make_result(0, {}))
    folder.write_result(make_result(-1, {}))
    folder.record_measurements(7, [measurement()], HEARD)
    assert folder.exists and folder.read_spec() == "name: phase3  # ü\n"
    assert folder.read_plan(7) == plan()
    assert folder.read_result(7) == make_result(7, {"rank": 8, "use_rslora": True})
    assert [result.number for result in folder.results()] == [0, 7]
    assert [result.number for result in folder.confirmations()] == [-1]
    assert folder.read_measurements(7) == (measurement(),)
    assert folder.read_hypotheses(7, measurement()) == HEARD[0]


def test_baselines_are_kept_by_fingerprint(folder: StudyFolder) -> None:
    first, second = measurement(trial=None), measurement(trial=None, fingerprint="f2", errors=2)
    folder.write_baseline(first, {})
    folder.write_baseline(second, {})
    assert folder.read_baseline("f1") == first and folder.read_baseline("f2") == second


def test_a_rung_recorded_again_is_one_rung(folder: StudyFolder) -> None:
    folder.record_measurements(7, [measurement(200), measurement(200, 0.5)], HEARD * 2)
    folder.record_measurements(7, [measurement(100)], HEARD)
    folder.record_measurements(7, [measurement(200, 0.5, errors=4)], [{"domain": ("new", "new")}])
    assert folder.read_measurements(7) == (
        measurement(100),
        measurement(200, 0.5, errors=4),
        measurement(200),
    )
    assert folder.read_hypotheses(7, measurement(200, 0.5)) == {"domain": ("new", "new")}
    assert folder.read_hypotheses(7, measurement(200)) == HEARD[0]


def test_notes_are_dated_lines(folder: StudyFolder) -> None:
    folder.note("fell back\nto cpu", datetime(2026, 5, 1, 12, 30, tzinfo=UTC))
    folder.note("resumed", datetime(2026, 5, 2, 8, 0, tzinfo=UTC))
    assert folder.notes.read_text() == (
        "# Notes on phase3\n\n- 2026-05-01 12:30 UTC: fell back to cpu\n- 2026-05-02 08:00 UTC: resumed\n"
    )


def test_time_adds_up_over_runs(folder: StudyFolder) -> None:
    folder.add_seconds(10.5)
    assert StudyFolder(folder.path.parent, "phase3").add_seconds(4.5) == 15.0
    assert folder.seconds_spent() == 15.0


def test_a_result_that_is_not_finite_is_never_written(folder: StudyFolder) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            folder.write_result(make_result(7, {}, value))
    assert folder.read_result(7) is None


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "a\x00b", ".hidden", "-x", "a" * 65, "ü", "a\n"]
)
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StudyError) as caught:
        StudyFolder(tmp_path, name)
    assert str(caught.value) == (
        f"study name {name!r} cannot be a folder's name\n"
        "  Allowed: letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit."
    )


DAMAGE = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"a": 1}',
    b"[" * 100_000,
    b'{"number": 1e999}',
    b"\x00" * 50,
]


@pytest.mark.parametrize("data", [None, *DAMAGE])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("trials/0007/result.json", lambda f: f.results()),
        ("trials/0007/plan.json", lambda f: f.read_plan(7)),
        ("trials/0007/measurements.jsonl", lambda f: f.read_measurements(7)),
        ("trials/0007/hypotheses-100-1.0.jsonl", lambda f: f.read_hypotheses(7, measurement())),
        ("baseline.json", lambda f: f.read_baseline("f1")),
        ("spec.yaml", lambda f: f.read_spec()),
    ],
)
def test_a_lost_or_damaged_file_is_named_with_what_to_do(
    folder: StudyFolder, name: str, read: Any, data: bytes | None
) -> None:
    with folder.lock():
        folder.write_spec("name: phase3\n")
        folder.write_baseline(measurement(trial=None), {})
        folder.write_plans(plan())
        folder.record_measurements(7, [measurement()], HEARD)
        folder.write_result(make_result(7, {}))
    path = folder.path / name
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(StudyError) as caught:
        read(StudyFolder(folder.path.parent, folder.name))
    fault = "is lost" if data is None else "has been altered"
    assert str(caught.value) == (
        "The files of study phase3 are not as journal.jsonl says they were written:\n"
        f"  {name} {fault}\n"
        "  7 of 8 sealed files hold. Restore it from a copy of the study, or run `orchestrate repair SPEC`: it makes "
        "again what follows from the rest, and says what does not."
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"{",
        lambda data: b"null",
        lambda data: b'{"seconds": 1e999}',
        lambda data: data.replace(b"2.0", b"9.0"),
    ],
)
def test_a_damaged_clock_is_made_again(
    folder: StudyFolder, damage: Callable[[bytes], bytes]
) -> None:
    folder.add_seconds(2.0)
    clock = folder.path / "clock.json"
    clock.write_bytes(damage(clock.read_bytes()))
    assert folder.seconds_spent() is None and folder.damaged_beside() == ("clock.json",)
    assert folder.mend(1.5) == ("clock.json from the last checkpoint",)
    assert folder.seconds_spent() == 1.5 and folder.damaged_beside() == ()
    clock.unlink()
    assert folder.mend(0.0) == ()
    clock.write_bytes(b"{")
    assert folder.mend(0.0) != () and folder.damaged_beside() == ()
    assert folder.add_seconds(1.0, known=2.0) == 3.0
    assert folder.mend(3.0) == ()
    assert folder.mend(4.0) == ("clock.json from the last checkpoint",)
    assert folder.seconds_spent() == 4.0, "an older one"


def test_what_lies_beside_the_sealed_files_is_of_this_study(
    folder: StudyFolder, tmp_path: Path
) -> None:
    other = StudyFolder(tmp_path / "elsewhere", "phase4")
    for study in (folder, other):
        study.write_spec(f"name: {study.name}\n")
        study.add_seconds(2.0)
        study.write_findings("data", [Finding("few", "warn", f"{study.name}: 3 are few")])
    for name in ("clock.json", "findings.json"):
        shutil.copy(other.path / name, folder.path / name)
    assert folder.damaged_beside() == ("clock.json", "findings.json")
    assert folder.seconds_spent() is None
    assert [each.name for each in folder.findings()] == ["findings-lost"]
    shutil.copytree(folder.path, tmp_path / "copied" / "phase3")
    folder.mend(1.0)
    assert folder.damaged_beside() == ()
    assert StudyFolder(tmp_path / "copied", "phase3").damaged_beside() != ()
    shutil.copytree(folder.path, tmp_path / "moved" / "phase5")
    assert StudyFolder(tmp_path / "moved", "phase5").damaged_beside() == ()


def test_bytes_of_a_path_that_are_no_text_harm_no_file(folder: StudyFolder) -> None:
    """An error of the system names the file that it is about."""
    folder.write_spec("name: phase3\n")
    said = os.fsdecode(b"caf\xe9.wav is gone")
    with folder.lock():
        folder.write_result(make_result(3, {}, reason=said))
    folder.write_findings("data", [Finding("gone", "warn", said)])
    assert folder.results()[0].reason == "caf\\udce9.wav is gone"
    assert [each.message for each in folder.findings()] == ["caf\\udce9.wav is gone"]
    assert folder.damaged_beside() == ()


def test_a_result_in_another_trials_folder_is_refused(folder: StudyFolder) -> None:
    with folder.lock():
        folder.write_result(make_result(3, {}))
    folder.trial_folder(3).rename(folder.path / "trials" / "0004")
    with pytest.raises(StudyError, match=r"0003/result\.json is lost"):
        folder.results()


def test_a_full_disk_is_one_message_and_keeps_the_old_file(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add_seconds(1)
    before = folder.path / "clock.json"
    old = before.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudyError) as caught:
        folder.add_seconds(1)
    first, second = str(caught.value).split("\n")
    assert first.startswith(
        f"{before} could not be written: No space left on device; it needs 0.1 kB, "
    )
    assert (
        second
        == "  What was written before is safe. Make room or fix the permissions, then run the same command again."
    )
    assert before.read_bytes() == old and [path.name for path in folder.path.iterdir()] == [
        "clock.json"
    ]


@pytest.mark.parametrize("dies_at", ["open", "fsync", "replace", "after"])
def test_a_write_killed_at_any_point_leaves_the_old_or_the_new(
    tmp_path: Path, dies_at: str
) -> None:
    path = tmp_path / "studies" / "phase3" / "result.json"
    write_aside(path, b"old" * 1000)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from orchestrator.files import atomic\n"
        "from orchestrator.records import writing\n"
        "die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "where = sys.argv[2]\n"
        "if where == 'open':\n"
        "    Path.write_bytes = lambda p, d: (p.write_text('half'), die())\n"
        "elif where != 'after':\n"
        "    setattr(os, where, die)\n"
        "else:\n"
        "    atomic.sync_folder = die\n"
        "writing.write_aside(Path(sys.argv[1]), b'new' * 1000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), dies_at], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" if dies_at == "after" else b"old") * 1000
    with StudyFolder(tmp_path / "studies", "phase3").lock():
        assert sorted(entry.name for entry in path.parent.iterdir()) == [
            "result.json",
            "study.lock",
        ]


def test_every_write_is_synced_file_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        events.append(
            "sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.split(".tmp-")[0]
        )
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append(f"rename {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_aside(tmp_path / "new" / "a.json", b"{}")
    assert events == [f"sync {tmp_path.name}", "sync a.json", "rename a.json", "sync new"]


def test_a_last_adapter_that_is_dropped_does_not_come_back_at_a_power_cut(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folder.new_adapter(folder.final_folder(7)) as aside:
        (aside / "adapter_config.json").write_text("{}")
    there: list[tuple[str, bool]] = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        there.append((name, folder.final_folder(7).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    folder.drop_final(7)
    assert there == [("journal.jsonl", True), ("0007", False)]
    folder.drop_final(7)
    assert len(there) == 2, "there was none"


def test_leftovers_go_when_the_lock_is_taken_and_not_before(folder: StudyFolder, gone: int) -> None:
    folder.write_spec("name: phase3\n")
    half = folder.path / "trials" / "0007" / f"adapter.tmp-{gone}"
    half.mkdir(parents=True)
    (half / "adapter_model.safetensors").write_bytes(b"half")
    clock = folder.path / f"clock.json.tmp-{gone}"
    clock.write_bytes(b"{")
    StudyFolder(folder.path.parent, "phase3").read_spec()
    assert half.exists(), "a reader must not disturb a run that is just writing"
    with folder.lock():
        assert [path.name for path in (folder.path / "trials" / "0007").iterdir()] == []
        assert not clock.exists()


def test_json_on_disk_is_readable_by_people(folder: StudyFolder) -> None:
    folder.write_result(
        make_result(
            7, {"rank": 8}, state=TrialState.PRUNED, reason="über dem Limit", feasible=False
        )
    )
    text = (folder.trial_folder(7) / "result.json").read_text()
    assert (
        "über dem Limit" in text and text.endswith("}\n") and json.loads(text)["state"] == "PRUNED"
    )
