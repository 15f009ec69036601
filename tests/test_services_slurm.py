"""A real Slurm of this machine: the documented batch files give a study its head and its nodes, of
which one is cancelled and one runs out of time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli_project import ROOT, SWEEP, folder_of, make_project, orchestrate
from tests.test_fleet_cli import came
from tests.test_services_ray import LOCAL, RAY, logs_of, wait_for

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray`"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons and their packages need root"),
]
SCRIPT = ROOT / "tests" / "services" / "slurm.sh"
PAGES = ROOT / "docs" / "slurm"


class Slurm:
    """Its commands, run where `sbatch` was."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.project = project
        bin_ = folder / "bin"
        bin_.mkdir(parents=True)
        # the command with the fake worker in the place of torch
        words = f'exec {sys.executable} -m tests.run_fake 10 "$@"'
        (bin_ / "orchestrate").write_text(f"#!/bin/sh\n{words}\n")
        (bin_ / "orchestrate").chmod(0o755)
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "of-a-test-" + "0" * 32,
            "RAY_raylet_start_wait_time_s": "300",
            "TMPDIR": str(folder),
        }

    def __call__(self, *words: str | Path) -> str:
        done = subprocess.run(
            list(map(str, words)),
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """RUNNING, COMPLETED and so on."""
        return self("squeue", "--noheader", "--states=all", "--job", job, "--format=%T")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    folder = tmp_path / "slurm"
    project = make_project(tmp_path / "ray", SWEEP + RAY)
    made = Slurm(folder, project.parents[1])
    subprocess.run([SCRIPT, "start", folder], check=True, timeout=300)
    try:
        yield made
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True)


def test_a_study_of_the_documented_batch_files_is_that_inline(slurm: Slurm, tmp_path: Path) -> None:
    inline = make_project(tmp_path / "inline", SWEEP + LOCAL)
    code = orchestrate(inline, "--quiet")
    spec = slurm.project / "sweeps" / "demo.yaml"
    study = slurm("sbatch", "--parsable", PAGES / "study.sbatch", spec)
    one, other = (slurm("sbatch", "--parsable", PAGES / "node.sbatch", study) for _ in range(2))
    wait_for(lambda: "measured" in logs_of(spec), 900)
    slurm("scancel", one)
    # one minute, which it has had: Slurm ends it at its next look
    slurm("scontrol", "update", f"JobId={other}", "TimeLimit=1")
    wait_for(lambda: slurm.state(other) == "TIMEOUT")
    wait_for(lambda: logs_of(spec).count("lost in process") >= 1, 900)
    last = slurm("sbatch", "--parsable", "--cpus-per-task=2", PAGES / "node.sbatch", study)
    wait_for(lambda: slurm.state(study) in ("COMPLETED", "FAILED"), 900)
    shown = (slurm.project / f"slurm-{study}.out").read_text()
    exit_code = slurm("scontrol", "show", "job", study).partition("ExitCode=")[2].partition(":")[0]
    assert exit_code == str(code), shown
    assert came(folder_of(spec)) == came(folder_of(inline)), shown
    assert not list(slurm.project.glob("ray-address*"))
    wait_for(lambda: slurm.state(last) == "COMPLETED")


def test_a_study_that_is_cancelled_stays_so_and_its_nodes_end(slurm: Slurm) -> None:
    spec = slurm.project / "sweeps" / "demo.yaml"
    study = slurm("sbatch", "--parsable", PAGES / "study.sbatch", spec)
    node = slurm("sbatch", "--parsable", PAGES / "node.sbatch", study)
    wait_for(lambda: "measured" in logs_of(spec), 900)
    slurm("scancel", study)
    wait_for(lambda: slurm.state(study) not in ("RUNNING", "COMPLETING"))
    assert slurm.state(study) == "CANCELLED"
    wait_for(lambda: slurm.state(node) == "COMPLETED")
    assert "Restarts=0" in slurm("scontrol", "show", "job", study)
