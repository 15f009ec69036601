"""A sweep file that says nothing of `execution` has one pack per core, and gives the same study as
a file that says so and has all packs in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.host.machine import may_have_gpu, this_machine, usable_cores
from tests.embedded import ROOT, small_sweep
from tests.tuning_models import small_model_folder

TWO = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}


def run(*words: str, expected: tuple[int, ...] = (0, 4, 5)) -> str:
    """The command on two cores; what it printed."""
    command = [sys.executable, "-P", "-m", "orchestrator", *words]
    done = subprocess.run(command, env=TWO, capture_output=True, text=True, check=False)
    assert done.returncode in expected, done.stdout + done.stderr
    return done.stdout


def results(study: Path) -> dict[str, Any]:
    """What is kept of each trial, but for the times."""
    found = {}
    for path in sorted((study / "trials").glob("*/result.json")):
        result = json.loads(path.read_bytes())
        found[path.parent.name] = {
            key: value for key, value in result.items() if "seconds" not in key
        }
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or usable_cores() < 2 or may_have_gpu() or this_machine().memory < 8e9,
    reason="two packs are made of two cores with 4 GB each, without a GPU",
)
def test_a_sweep_that_says_nothing_takes_a_pack_a_core(tmp_path: Path) -> None:
    model = small_model_folder(tmp_path / "model")
    sizes = {"train": 16, "replay": 8, "domain": 6, "heldout": 6}
    small_sweep(
        tmp_path,
        sizes,
        model={"id": str(model)},
        parameters={"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}, "max_steps": 8},
        guardrails={"heldout_wer": {"max_regression": 1000}},
        budget={"trials": 6},
        checks={"ignore": ["high-wer", "base-loss", "too-few", "spelling", "decode"]},
        execution={},
    )
    spec, studies = str(tmp_path / "sweep.yaml"), tmp_path / "studies"
    place = ("--studies", str(studies))
    planned = " ".join(run("plan", spec, *place).split())
    assert "2 packs, cores: 1, a process each" in planned
    assert "each a pack of 2 adapters at once" in planned
    said = run(spec, *place)
    assert "trials at once: 4, in 2 packs of 2" in said
    kept = json.loads((studies / "small" / "pack.json").read_bytes())
    assert (kept["packs"], kept["slots"], kept["cores"]) == (2, 2, 1)
    assert sorted(path.name for path in (studies / "small" / "logs").glob("pack-*")) == [
        "pack-0.log",
        "pack-1.log",
    ]
    written = ("packs=2", "pack=2", "cores=1", "processes=false")
    run(spec, "name=inline", *(f"execution.{word}" for word in written), *place)
    assert len(results(studies / "small")) == 6
    assert results(studies / "small") == results(studies / "inline")
    run("trial", spec, "0", "--quiet", *place, expected=(0,))
