"""The batch files of docs/slurm, with stand-ins for the commands that they call: what a study's job
does when it is stopped, and when its nodes end. tests/test_services_slurm.py runs them by Slurm.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli_project import ROOT

PAGES = ROOT / "docs" / "slurm"
COMMANDS = {
    "ray": """for word in "$@"; do case $word in --temp-dir=*) folder=${word#*=};; esac; done
echo "$@" >> ray
[ -z "${folder:-}" ] || { mkdir -p "$folder"; echo 10.0.0.1:6379 > "$folder/ray_current_cluster"; exec sleep 60; }
: > jobs
""",
    "orchestrate": """trap 'exit 75' TERM
echo "$@"
for _ in $(seq 300); do [ -e ended ] && exit; sleep 0.1; done
""",
    "scontrol": 'echo "$@" >> requeued\n',
    "squeue": "cat jobs\n",
}
"""Name -> what stands for the command. `jobs` holds what squeue prints; it cannot where there is no
such file.
"""


class Job:
    """A batch file that runs as Slurm would run it, where `sbatch` was called."""

    def __init__(self, file: str, number: str, folder: Path, *words: str) -> None:
        self.folder, self.number = folder, number
        self.process = subprocess.Popen(
            ["bash", PAGES / file, *words],
            cwd=folder,
            env=os.environ
            | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": number},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._late = threading.Timer(60, self.process.kill)
        self._late.start()
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline().strip()
        """The first line that it prints."""

    @property
    def address(self) -> Path:
        """The file by which nodes find the head."""
        return self.folder / f"ray-address-{self.number}"

    def end(self) -> tuple[int, str]:
        """Return its exit code, and what it printed after the first line."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        self._late.cancel()
        return self.process.wait(), rest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/bash\n{text}")
        command.chmod(0o755)
    yield tmp_path
    for job in ("1", "2"):
        shutil.rmtree(Path("/tmp") / f"ray-{number_of(job)}", ignore_errors=True)


def number_of(job: str) -> str:
    """A number that no job of a real Slurm on this machine has."""
    return f"test-{os.getpid()}-{job}"


@pytest.mark.parametrize(
    ("sent", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=["time", "scancel"]
)
def test_a_study_is_queued_again_when_its_time_ends_and_not_when_it_is_cancelled(
    folder: Path, sent: signal.Signals, again: bool
) -> None:
    job = Job("study.sbatch", number_of("1"), folder, "sweep.yaml")
    job.process.send_signal(sent)
    assert job.end()[0] == 75
    requeued = folder / "requeued"
    assert requeued.exists() == again
    assert not again or requeued.read_text() == f"requeue {job.number}\n"
    assert not job.address.exists()


def test_the_signal_of_the_time_limit_is_the_one_that_queues_a_study_again() -> None:
    text = (PAGES / "study.sbatch").read_text()
    assert "#SBATCH --signal=B:USR1@120\n" in text


def test_what_stands_behind_the_sweep_file_reaches_the_command(folder: Path) -> None:
    words = ("my sweep.yaml", "budget.trials=4", "--studies", "elsewhere")
    job = Job("study.sbatch", number_of("1"), folder, *words)
    (folder / "ended").touch()
    assert job.end()[0] == 0
    assert job.first == f"{' '.join(words)} execution.launcher=ray"


def test_a_study_that_ends_leaves_the_nodes_of_another_one_of_its_folder(folder: Path) -> None:
    one, other = (Job("study.sbatch", number_of(job), folder, "sweep.yaml") for job in "12")
    one.process.terminate()
    one.end()
    assert other.address.read_text() == "10.0.0.1:6379\n"
    other.process.terminate()
    other.end()


@pytest.mark.parametrize("jobs", ["", "11\n17\n"])
def test_a_node_that_starts_after_its_study_has_ended_ends_at_once(folder: Path, jobs: str) -> None:
    (folder / "jobs").write_text(jobs)
    (folder / "ray-address-1").write_text("10.0.0.1:6379\n")
    node = Job("node.sbatch", "18", folder, "1")
    assert node.end() == (0, "job 1 has ended\n")
    assert not (folder / "ray").exists()


@pytest.mark.parametrize("study", ["1", "1;cluster"])
def test_a_node_waits_for_the_head_of_its_study_and_joins_it(folder: Path, study: str) -> None:
    (folder / "bin" / "sleep").write_text("#!/bin/sh\necho 10.0.0.1:6379 > ray-address-1\n")
    (folder / "bin" / "sleep").chmod(0o755)
    (folder / "jobs").write_text("11\n1\n")
    assert Job("node.sbatch", "18", folder, study).end()[0] == 0
    assert "--address=10.0.0.1:6379" in (folder / "ray").read_text()


def test_a_node_stays_where_slurm_does_not_answer(folder: Path) -> None:
    (folder / "bin" / "sleep").write_text("#!/bin/sh\necho waited; : > jobs\n")
    (folder / "bin" / "sleep").chmod(0o755)
    assert "waited" in Job("node.sbatch", "18", folder, "1").end()[1]


@pytest.mark.parametrize("file", ["study.sbatch", "node.sbatch"])
def test_a_batch_file_without_its_argument_says_what_it_takes(folder: Path, file: str) -> None:
    job = Job(file, number_of("1"), folder)
    assert f"sbatch {file} " in job.first
    assert job.end()[0] != 0
