"""The cores and the memory that the product finds on a machine, also in a container that has only a
part of them.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.host import machine
from orchestrator.host.garbage_collection import no_garbage_collection

V1 = "4:memory:/docker/1a2b\n3:cpuset:/\n2:cpu,cpuacct:/docker/1a2b\n1:name=systemd:/init.scope\n"


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where control groups are mounted, for a process whose groups `tmp_path / "cgroup"` names."""
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    found = partial(machine.control_groups, of_process=tmp_path / "cgroup", mounted=mounted)
    monkeypatch.setattr(machine, "control_groups", found)
    logical = partial(machine.physical_cores, logical=tmp_path / "cpus")
    monkeypatch.setattr(machine, "physical_cores", logical)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return mounted


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_all_of_the_machine_is_ours(groups: Path) -> None:
    assert machine.processor_share() is None
    assert machine.machine_cores() == 16
    assert machine.machine_memory() == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("own", "above", "cores"),
    [
        ("200000 100000", "max 100000", 2),
        ("max 100000", "350000 100000", 3),
        ("800000 100000", "400000 100000", 4),
        ("50000 100000", "max 100000", 1),
        ("max 100000", "max 100000", 16),
        ("9900000 100000", "max 100000", 16),
        ("", "nonsense", 16),
    ],
)
def test_a_container_s_share_of_the_processors_in_version_2(
    own: str, above: str, cores: int, groups: Path
) -> None:
    write(groups.parent / "cgroup", "0::/kubepods/pod1\n")
    write(groups / "kubepods" / "pod1" / "cpu.max", own + "\n")
    write(groups / "kubepods" / "cpu.max", above + "\n")
    assert machine.machine_cores() == machine.usable_cores() == cores


def test_a_container_s_share_in_version_1(groups: Path) -> None:
    write(groups.parent / "cgroup", V1)
    # seen from inside, the container's own group is the topmost
    write(groups / "cpu" / "cpu.cfs_quota_us", "150000\n")
    write(groups / "cpu" / "cpu.cfs_period_us", "50000\n")
    write(groups / "memory" / "memory.limit_in_bytes", "1073741824\n")
    assert machine.processor_share() == 3
    assert machine.machine_cores() == 3
    assert machine.machine_memory() == 2**30
    # from outside it has its name
    write(groups / "cpu" / "docker" / "1a2b" / "cpu.cfs_quota_us", "50000\n")
    write(groups / "cpu" / "docker" / "1a2b" / "cpu.cfs_period_us", "50000\n")
    assert machine.machine_cores() == 1


def test_no_limit_in_version_1(groups: Path) -> None:
    write(groups.parent / "cgroup", V1)
    write(groups / "cpu" / "cpu.cfs_quota_us", "-1\n")
    write(groups / "cpu" / "cpu.cfs_period_us", "100000\n")
    write(groups / "memory" / "memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.machine_cores() == 16
    assert machine.machine_memory() == psutil.virtual_memory().total


def test_the_least_memory_of_the_groups_counts(groups: Path) -> None:
    write(groups.parent / "cgroup", "0::/slice/job\n")
    write(groups / "slice" / "job" / "memory.max", "max\n")
    write(groups / "slice" / "memory.max", "2147483648\n")
    assert machine.this_machine().memory == 2**31


@pytest.mark.parametrize(
    ("told", "cores"),
    [("5", 5), ("5,2", 5), (" 5 , 2", 5), ("0", 16), ("", 16), (",2", 16), ("many", 16), ("²", 16)],
)
def test_fewer_cores_may_be_asked_for(
    told: str, cores: int, groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list tells the threads of each level of nesting; what is no number says nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert machine.machine_cores() == cores


@pytest.mark.parametrize(
    ("mine", "cores"),
    [({0, 1, 8, 9}, 2), ({0, 1, 2, 3}, 4), ({5}, 1), (set(range(16)), 8), ({0, 16}, 2)],
)
def test_both_halves_of_a_core_are_one_where_a_job_has_some_cores_of_a_machine(
    mine: set[int], cores: int, groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Slurm job that asked for four processors has them; nothing is known of number 16."""
    for number in range(16):
        folder = groups.parent / "cpus" / f"cpu{number}" / "topology"
        write(folder / "thread_siblings_list", f"{number % 8},{number % 8 + 8}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine, raising=False)
    assert machine.machine_cores() == cores


@pytest.mark.parametrize("name", ["nvidia0", "kfd", "dxg", "nvmap"])
def test_a_loaded_driver_is_a_gpu_that_may_be_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "null").touch()
    (tmp_path / "nvidiactl").touch()
    assert not machine.may_have_gpu(tmp_path)
    (tmp_path / name).touch()
    assert machine.may_have_gpu(tmp_path)


@given(cores=st.integers(1, 300), most=st.integers(1, 80))
def test_equal_shares_of_the_cores(cores: int, most: int) -> None:
    count = machine.shares_of(cores, most)
    bound = min(cores, most)
    assert bound / 2 <= count <= bound
    over = cores % count
    assert 8 * over <= cores or all(over <= cores % other for other in range(bound // 2 + 1, bound))
    assert count == bound or 8 * (cores % bound) > cores


@pytest.mark.parametrize(
    ("cores", "most", "count"),
    [(8, 5, 4), (12, 8, 6), (16, 10, 8), (5, 4, 4), (7, 4, 3), (3, 4, 3), (32, 3, 3), (1, 9, 1)],
)
def test_few_cores_are_left_over(cores: int, most: int, count: int) -> None:
    assert machine.shares_of(cores, most) == count


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_again_as_before(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ValueError), no_garbage_collection():
            assert not gc.isenabled()
            raise ValueError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


FREED_AND_ASKED_FOR = """
import resource
from orchestrator.host.machine import keep_freed_memory, return_freed_memory, used_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
keep_freed_memory()
b"x" * (64 << 20)
before = faults()
for _ in range(10):
    b"x" * (64 << 20)
print(faults() - before)
held = used_memory()
return_freed_memory()
print(held - used_memory())
"""
"""Prints the page faults of ten blocks of 64 MiB, each freed before the next, and the bytes that are
given back at the end.
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one")
@pytest.mark.parametrize("own", [{}, {"MALLOC_TRIM_THRESHOLD_": "131072"}])
def test_freed_memory_is_kept_and_given_back_when_it_is_asked_to(own: dict[str, str]) -> None:
    """Unless the environment has settings of its own for the allocator."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC")}
    command = [sys.executable, "-c", FREED_AND_ASKED_FOR]
    run = subprocess.run(command, env={**others, **own}, capture_output=True, text=True, check=True)
    faults, given_back = map(int, run.stdout.split())
    pages = (64 << 20) // os.sysconf("SC_PAGESIZE")
    assert (faults < pages, given_back > 60 << 20) == ((False, False) if own else (True, True))
