"""Make a project on disk (manifests of short noise and a sweep file), and run the command on it, in
this process or another one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.cli import main
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import MakeWorker
from tests.run_fake import make_worker

ROOT = Path(__file__).resolve().parents[1]
SETS = ("train", "domain", "heldout", "confirm_domain", "confirm_heldout")
SWEEP = """\
version: 1
name: demo
model: {id: fake/model}
data:
  train: data/train.jsonl
  domain: data/domain.jsonl
  heldout: data/heldout.jsonl
  confirm: {domain: data/confirm_domain.jsonl, heldout: data/confirm_heldout.jsonl}
evaluation: {every: 100}
method: tpe
parameters:
  learning_rate: {values: [1.0e-4, 5.0e-4, 3.0e-3]}
  rank: {min: 4, max: 32, log: true}
  max_steps: 200
  target_modules: attention
  adapter_scale: {values: [0.5, 1.0], after_training: true}
start_with:
  - {learning_rate: 5.0e-4, rank: 32}
guardrails:
  heldout_wer: {max_regression: 0.5}
acceptance:
  domain_wer: {min_gain: 1.0}
  heldout_wer: {max_regression: 0.5}
confirm: {top: 1, seeds: [101, 102]}
budget: {trials: 5}
"""


def make_project(root: Path, sweep: str = SWEEP) -> Path:
    """Write recordings, manifests and a sweep file as a project; return the sweep file."""
    for number, name in enumerate(SETS):
        lines = []
        for clip in range(3):
            audio = root / "data" / f"{name}-{clip}.wav"
            audio.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([number, clip]).normal(0, 0.1, 8000)
            soundfile.write(audio, noise, 16000)
            text = f"sentence {clip} of {name.replace('_', ' ')}"
            lines.append(
                json.dumps(
                    {"audio_filepath": audio.name, "text": text, "speaker": f"{name}-{clip}"}
                )
            )
        (root / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    spec = root / "sweeps" / "demo.yaml"
    spec.parent.mkdir(exist_ok=True)
    spec.write_text(sweep)
    return spec


def folder_of(spec: Path, name: str = "demo") -> StudyFolder:
    """Return the folder of the study of this name in the project of a sweep file."""
    return StudyFolder(spec.parents[1] / "studies", name)


def orchestrate(*arguments: object, worker: MakeWorker = make_worker) -> int:
    """Run the command in this process, with the fake worker or another; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments], worker)
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return code or 0


def ran_project(root: Path, *options: str) -> Path:
    """Make a project whose sweep was run with these options, to any verdict; return the sweep file.

    For each set of options the sweep is run only once, and the project copied. That a study goes on
    wherever it is moved has tests of its own.
    """
    shutil.copytree(_ran_once(options), root, dirs_exist_ok=True)
    return root / "sweeps" / "demo.yaml"


_RAN = tempfile.TemporaryDirectory()


@cache
def _ran_once(options: tuple[str, ...]) -> Path:
    root = Path(tempfile.mkdtemp(dir=_RAN.name))
    assert orchestrate(make_project(root), "--quiet", *options) in (0, 4, 5)
    return root


def process(*arguments: str | Path, pause: float = 0.0) -> subprocess.Popen[str]:
    """Start the command, with the fake worker, in a process of its own."""
    command = [sys.executable, "-m", "tests.run_fake", str(pause), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
