"""`pack: auto` measures, decides purely, and keeps its answer for the sweep."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
import torch

from orchestrator.host import machine
from orchestrator.host.machine import Machine
from orchestrator.records.json_files import PackRecord
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.plan_report import pack_text
from orchestrator.running.pack_sizes import with_recorded_pack
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning import autotune as probe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.core_threads import use_cores
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.pack_group import PackGroup
from orchestrator.tuning.worker import start_worker
from tests.embedded import small_sweep

pytestmark = pytest.mark.usefixtures("without_model_checks")

RECIPE: dict[str, Any] = {
    "learning_rate": {"min": 1e-4, "max": 1e-3},
    "max_steps": 8,
    "batch_size": 2,
}

MORE = "more would take over half of the memory"


def sweep(folder: Path, parameters: dict[str, Any] = RECIPE) -> SweepSpec:
    """Its pack is left to the machine."""
    sizes = {"train": 12, "replay": 6, "domain": 2, "heldout": 2}
    execution = {"pack": "auto", "packs": 1}
    return small_sweep(folder, sizes, parameters=parameters, execution=execution)


MEASURED_IN_A_NEW_PROCESS = """
import torch
from orchestrator.tuning import autotune
before = autotune._memory_share(torch.device("cpu"))
held = torch.ones(64 * 2**20)
print(before, autotune._memory_share(torch.device("cpu")), held.nbytes)
"""


def test_the_share_of_the_memory_is_that_of_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = psutil.Process().memory_info()._replace(rss=machine.machine_memory() // 4)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda process: mine)
    assert probe._memory_share(torch.device("cpu")) == pytest.approx(0.25)


@pytest.mark.slow
def test_the_share_of_the_memory_is_measured_on_every_platform() -> None:
    # A process that has computed before may answer from memory that it had freed and kept.
    printed = subprocess.run(
        [sys.executable, "-c", MEASURED_IN_A_NEW_PROCESS],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    before, after, held = (float(number) for number in printed.split())
    assert 0 < before < after < 1
    assert after - before == pytest.approx(held / machine.machine_memory(), rel=0.2)


def with_memory(monkeypatch: pytest.MonkeyPatch, peaks: Sequence[float], total: float) -> None:
    """Of `total` GB this process has 2, and at its steps so many."""
    left = iter(peaks)
    monkeypatch.setattr(probe, "machine_memory", lambda: int(total * 1e9))
    monkeypatch.setattr(probe, "used_memory", lambda: int(2e9))
    monkeypatch.setattr(probe, "own_memory", lambda: int(2e9))
    monkeypatch.setattr(probe, "peak_memory", lambda: int(next(left) * 1e9))


@pytest.mark.parametrize(
    ("peaks", "total", "slots", "short"),
    [((3.5,), 8, 3, False), ((5, 3), 8, 1, True), ((5, 4.5), 8, 1, True)],
)
def test_a_pack_that_takes_too_much_memory_is_made_smaller(
    peaks: Sequence[float],
    total: float,
    slots: int,
    short: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_memory(monkeypatch, peaks, total)
    worker = start_worker(sweep(tmp_path), tmp_path / "cache")
    assert worker.capacity == slots
    assert worker.pack_reason == f"trials at once: {slots}" + f"; {MORE}" * short


@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
def test_frames_that_are_kept_are_no_part_of_a_step(
    kl_weight: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPE | {"replay_ratio": 0.5, "kl_weight": kl_weight}
    spec, measure, kept = sweep(tmp_path, parameters=recipe), probe._memory_of_step, []

    def noted(group: PackGroup, base: BaseModel, store: EncoderCache, *rest: Any) -> int:
        kept.append(store.bytes_used)
        taken = measure(group, base, store, *rest)
        kept.append(store.bytes_used)
        return taken

    monkeypatch.setattr(probe, "_memory_of_step", noted)
    start_worker(spec, tmp_path / "cache")
    assert kept[0] == kept[1] > 0


@pytest.mark.parametrize(
    ("asked", "peaks", "packs", "cores", "slots", "why"),
    [
        ("auto", (2.5,), 8, 1, 1, "8, in 8 packs of 1"),
        # of a model that takes more, as many as fit, which share all cores
        ("auto", (3.0,), 6, 1, 1, f"6, in 6 packs of 1; {MORE}"),
        ("auto", (5.0,), 2, 4, 1, f"2, in 2 packs of 1; {MORE}"),
        ("auto", (9.0,), 1, "auto", 1, f"1; {MORE}"),
        # what is written stays
        (4, (4.0, 3.0), 4, 2, 1, f"4, in 4 packs of 1; {MORE}"),
        (4, (9.0, 9.0), 4, 2, 1, "4, in 4 packs of 1; that may take over half of the memory"),
    ],
)
def test_packs_are_as_many_as_the_memory_holds(
    asked: int | str,
    peaks: Sequence[float],
    packs: int,
    cores: int | str,
    slots: int,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = sweep(tmp_path)
    execution = spec.execution.model_copy(update={"packs": asked})
    budget = spec.budget.model_copy(update={"trials": 24})
    spec = spec.model_copy(update={"execution": execution, "budget": budget})
    eight = Machine(8, int(64e9), gpu=False)
    monkeypatch.setattr("orchestrator.tuning.worker.this_machine", lambda: eight)
    monkeypatch.setattr(probe, "machine_cores", lambda: 8)
    with_memory(monkeypatch, peaks, 16)
    monkeypatch.setattr("orchestrator.tuning.prepared_sweep.machine_cores", lambda: 8)
    monkeypatch.setattr("orchestrator.tuning.prepared_sweep.FOUND_THREADS", 8)
    before = torch.get_num_threads()
    try:
        worker = start_worker(spec, tmp_path / "cache")
        assert torch.get_num_threads() == (8 if cores == "auto" else cores)
    finally:
        use_cores(before)
    assert (worker.execution.packs, worker.execution.cores) == (packs, cores)
    assert worker.capacity == slots
    assert worker.pack_reason == f"trials at once: {why}"
    assert worker.sibling().execution == worker.execution


def test_the_peak_of_the_memory_is_that_of_one_step() -> None:
    held = torch.ones(32 * 2**20)
    del held
    machine.return_freed_memory()  # kept in a process in which a sweep was prepared
    machine.forget_peak_memory()
    before = machine.peak_memory()
    held = torch.ones(16 * 2**20)
    size = held.nbytes
    del held
    if sys.platform == "linux":
        assert machine.peak_memory() - before == pytest.approx(size, rel=0.1)
    assert 0 < machine.own_memory() <= machine.used_memory() <= machine.peak_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_was_freed_before_a_step_does_not_hide_what_the_step_takes() -> None:
    """The allocator keeps blocks of this size, all but the last of which are free then."""
    blocks = [bytearray(60_000) for _ in range(2_000)]
    last = blocks.pop()
    blocks.clear()
    held: list[bytearray] = []
    step = lambda *_: held.extend(bytearray(60_000) for _ in range(1_000))  # noqa: E731
    group = cast(PackGroup, SimpleNamespace(step=step, slots=[None, None]))
    taken = probe._memory_of_step(group, *[Any] * 3)  # type: ignore[arg-type]
    assert taken == pytest.approx(60e6, rel=0.1)
    assert last


@pytest.mark.parametrize(
    ("rows", "slots"),
    [
        ([(1, 1.0, 0.1)], 1),
        ([(1, 1.0, 0.1), (2, 1.1, 0.1), (4, 1.5, 0.1)], 4),
        ([(1, 1.0, 0.1), (2, 1.95, 0.1), (4, 3.9, 0.1)], 1),
        ([(1, 1.0, 0.1), (2, 1.5, 0.1), (4, 2.9, 0.1), (8, 5.75, 0.1)], 2),
        ([(1, 1.0, 0.1), (2, 1.1, 0.3), (4, 1.2, 0.6)], 2),
        ([(1, 1.0, 0.1), (2, 2.0, 0.1), (4, 2.0, 0.1)], 4),
        ([(1, 1.0, 0.1), (4, 3.9, 0.1)], 1),
        ([(1, 1.0, 0.1), (4, 3.7, 0.1)], 4),
    ],
)
def test_the_smallest_pack_that_is_about_as_fast_as_the_fastest(
    rows: list[tuple[int, float, float]], slots: int
) -> None:
    chosen, why = probe.choose_pack_size(rows)
    assert chosen == slots
    assert why.startswith(
        f"pack of {slots}; one step of one trial took, by slots trained at once, 1: 1000 ms"
    )


def test_the_choice_says_why(tmp_path: Path) -> None:
    spec = sweep(tmp_path)
    first = start_worker(spec, tmp_path / "cache")
    assert first.capacity == 3, "as many as there are trials"
    assert first.notes[-1] == first.pack_reason
    assert first.pack_reason == "trials at once: 3"
    fixed = spec.model_copy(update={"execution": spec.execution.model_copy(update={"pack": 3})})
    declared = start_worker(fixed, tmp_path / "cache")
    assert (declared.capacity, declared.pack_reason) == (3, "")


def test_a_gpu_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([0.0, 1.0, 1.0, 1.2, 1.2, 4.1, 4.1])
    monkeypatch.setattr(probe, "_step_seconds", lambda *_: next(steps))
    monkeypatch.setattr(probe, "group_of", lambda plan, base, size: size)
    monkeypatch.setattr(probe, "_memory_share", lambda device: 0.1)
    base = cast(BaseModel, SimpleNamespace(device=torch.device("mps")))
    rows = probe.measure_pack_sizes(Any, base, Any, Any)  # type: ignore[arg-type]
    assert rows == [(1, 1.0, 0.1), (2, 1.2, 0.1), (4, 4.1, 0.1)]


@pytest.mark.parametrize(
    ("execution", "slots"),
    [
        (Execution(device="cuda", packs=1), 4),
        (Execution(device="cuda", packs=2), 4),  # in one process, one after the other
        (Execution(devices=("cuda:0", "cuda:1"), packs=2), 4),
        (Execution(devices=("cuda:0", "cuda:1"), packs=4), 2),
        (Execution(device="cuda", packs=4, processes=True), 1),
    ],
)
def test_packs_that_share_a_gpu_share_its_memory(
    execution: Execution, slots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_step_seconds", lambda *_: 1.0)
    monkeypatch.setattr(probe, "group_of", lambda plan, base, size: size)
    shares = iter([0.05, 0.24, 0.5])
    monkeypatch.setattr(probe, "_memory_share", lambda device: next(shares))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(probe, "SIZES", {"cuda": (1, 2, 4)})
    base = cast(BaseModel, SimpleNamespace(device=torch.device("cuda")))
    spec = sweep(tmp_path).model_copy(update={"execution": execution})
    assert probe.found_packs(spec, base, Any, Any)[0] == slots  # type: ignore[arg-type]


def test_a_study_measures_its_pack_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep(tmp_path)
    folder = StudyFolder(tmp_path, "s")
    folder.write_pack(PackRecord(slots=2, why="pack of 2; one step took 9 ms"))
    assert with_recorded_pack(spec, folder) == spec  # no trial yet: measured anew
    (folder.trial_folder(0)).mkdir(parents=True)
    (folder.trial_folder(0) / "plan.json").touch()
    monkeypatch.setattr(
        "orchestrator.tuning.worker.found_packs", lambda *_: pytest.fail("decided again")
    )
    assert start_worker(with_recorded_pack(spec, folder), tmp_path / "cache").capacity == 2


def test_the_plan_shows_the_choice(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    assert pack_text(Execution(pack=3, packs=1), None) == "pack of 3 adapters at once"
    assert (
        pack_text(Execution(packs=1), folder.read_pack())
        == "pack: auto, decided when the sweep starts and then kept"
    )
    folder.write_pack(PackRecord(slots=2, why="one step took 9 ms"))
    said = "pack of 2 adapters at once, kept since the study began (one step took 9 ms)"
    assert pack_text(Execution(), folder.read_pack()) == said
