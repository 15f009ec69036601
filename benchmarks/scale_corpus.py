"""A large corpus: how soon a study of it trains, and what it takes of the memory and the disk.

    python benchmarks/scale_corpus.py --folder FOLDER                 20,160 clips, 19.7 hours
    python benchmarks/scale_corpus.py --folder FOLDER --clips 2016    a tenth of it
    python benchmarks/scale_corpus.py --folder FOLDER --keep          leave corpus and studies there

Clips are 16-bit WAV at 16 kHz of distinct sound: speech of the shipped corpus, each time under other
noise, 3.52 s long on average. They take about 2.3 GB, and the cache of both studies as much. A study is
one trial of five steps and an evaluation; the second is another one of the same data.

A study trains once its first optimizer step is done, counted from the start of its process. Memory is
the anonymous memory of the process at its highest, sampled twenty times a second, less that of a process
that has loaded the model and nothing else. Files are mapped or in the system's cache: a disk that has
just been read is fast, so compare runs on one machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
from _shared import ROOT
from _shared.tables import markdown

RATE = 16_000
MEAN_SECONDS = 3.518
SPEECH = 48
"""How many clips of each shipped set are varied to make the large one."""
EVALUATED = 80
"""Clips of each evaluation set; a fiftieth of all clips where the corpus is small."""
MEGA = 1e6

SWEEP = """\
version: 1
name: scale
model: {{id: {model}}}
data:
  train:   data/train.jsonl
  replay:  data/replay.jsonl
  domain:  data/domain.jsonl
  heldout: data/heldout.jsonl
method: random
budget: {{trials: 1}}
parameters:
  max_steps: 5
  batch_size: 8
  learning_rate: 1e-4
  replay_ratio: 0.5
  target_modules: attention
  adapter_scale: 0.5
evaluation: {{every: 5, max_tokens_per_second: 13}}
execution: {{pack: 1, device: cpu}}
checks: {{ignore: [base-loss]}}
"""


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="outside this repository")
    parser.add_argument("--clips", type=int, default=20_160, help="of all sets together")
    parser.add_argument("--keep", action="store_true", help="remove nothing at the end")
    parser.add_argument("--side", metavar="REPORT", help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Make the corpus, run both studies and print a table; with the hidden option --side, be the
    process that measures one of them.
    """
    asked = options()
    if asked.side:
        report = study(asked.folder, asked.name) if asked.name else model_alone()
        Path(asked.side).write_text(json.dumps(report))
        return
    folder = asked.folder.resolve()
    if folder.is_relative_to(ROOT):
        raise SystemExit(f"--folder {asked.folder} is inside the repository; name another one")
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"--folder {asked.folder} is not empty; name a new one")
    try:
        hours = make_project(folder, asked.clips)
        print(f"{asked.clips:,} clips, {hours:.1f} hours, {size(folder / 'data') / MEGA:,.0f} MB\n")
        model = side(folder, None)
        lines = [row(folder, name, model["anonymous"]) for name in ("first", "second")]
        head = ["study", "trains after, s", "5 steps and evaluation after, s"]
        head += ["anonymous memory above the model, MB", "cache of both, MB"]
        print(markdown(head, lines))
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)


def row(folder: Path, name: str, model: float) -> list[str]:
    """Run one study in a process of its own and return its line of the table. `model` is the
    anonymous memory, in bytes, of a process that has only loaded the model.
    """
    found = side(folder, name)
    return [
        name,
        f"{found['trains']:.1f}",
        f"{found['done']:.1f}",
        f"{(found['anonymous'] - model) / MEGA:,.0f}",
        f"{size(folder / 'studies' / '.cache') / MEGA:,.0f}",
    ]


def side(folder: Path, name: str | None) -> dict[str, float]:
    """Measure the study `name`, or the model alone, in a new process of this program and return
    its report.
    """
    report = folder / "report.json"
    command = [sys.executable, __file__, "--folder", str(folder), "--side", str(report)]
    named = ("--name", name) if name else ()
    subprocess.run([*command, *named], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, float] = json.loads(report.read_text())
    return found


def model_alone() -> dict[str, float]:
    """Return the anonymous memory of this process once it has imported everything and loaded the
    model.
    """
    import torch

    from orchestrator.sweepfile.sweep import ModelSpec
    from orchestrator.tuning import worker  # noqa: F401
    from orchestrator.tuning.model.base_model import load_base_model

    base = load_base_model(ModelSpec(id=str(ROOT / "data" / "base-model")), torch.device("cpu"))
    found: dict[str, float] = {"anonymous": anonymous()}
    del base  # which had to be in memory until now
    return found


def study(folder: Path, name: str) -> dict[str, float]:
    """Run one study in this process. Returns the seconds from the start of the process to the end
    of the first optimizer step (`trains`) and of the study (`done`), and the peak of the anonymous
    memory in bytes.
    """
    from orchestrator.cli import main as orchestrate
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.sweep import SweepSpec

    began = psutil.Process().create_time()
    trained: list[float] = []
    most = [0]

    def worker_of(spec: SweepSpec, place: StudyFolder) -> Any:
        from orchestrator.commands.output import pack_worker

        worker: Any = pack_worker(spec, place)
        stepper = worker._stepper
        step = stepper.step

        def timed(group: Any) -> Any:
            done = step(group)
            trained.append(time.time() - began)
            return done

        stepper.step = timed
        return worker

    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            most[0] = max(most[0], anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        orchestrate([str(folder / "sweeps" / "scale.yaml"), "--quiet", f"name={name}"], worker_of)
    except SystemExit as end:
        if end.code not in (0, 4, 5):
            raise
    ended.set()
    watcher.join()
    return {"trains": trained[0], "done": time.time() - began, "anonymous": most[0]}


def anonymous() -> int:
    """Return the resident bytes of this process that are not backed by a file."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def make_project(folder: Path, clips: int) -> float:
    """Write the sweep file, the manifests and the clips; return the hours of sound."""
    for part in ("sweeps", "studies", "data/clips"):
        (folder / part).mkdir(parents=True)
    (folder / "sweeps" / "scale.yaml").write_text(SWEEP.format(model=ROOT / "data" / "base-model"))
    samples, number = 0, 0
    for name, count in sizes(clips).items():
        with (folder / "data" / f"{name}.jsonl").open("w") as manifest:
            for text, speaker, sound in varied(name, count, number):
                path = folder / "data" / "clips" / f"{number:06d}.wav"
                soundfile.write(path, sound, RATE, subtype="PCM_16")
                line = {"audio_filepath": f"clips/{path.name}", "text": text, "speaker": speaker}
                manifest.write(json.dumps(line) + "\n")
                samples, number = samples + len(sound), number + 1
    return samples / RATE / 3600


def sizes(clips: int) -> dict[str, int]:
    """Divide `clips` among the sets: a fifth is replay, what is not evaluated is training."""
    evaluated = min(EVALUATED, clips // 50)
    replay = clips // 5
    train = clips - replay - 2 * evaluated
    return {"train": train, "replay": replay, "domain": evaluated, "heldout": evaluated}


def varied(name: str, count: int, first: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield text, speaker and float32 samples of `count` clips of a set. `first`, the number of its
    first clip in the whole corpus, seeds the noise, so that no two clips have the same.
    """
    shipped = {"train": "train_manifest_expanded"}.get(name, f"{name}_manifest")
    lines = (ROOT / "data" / f"{shipped}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:SPEECH]]
    speech = [
        soundfile.read(ROOT / "data" / row["audio_filepath"], dtype="float32")[0] for row in rows
    ]
    mean = sum(map(len, speech)) / len(speech) / RATE
    for number in range(count):
        row, sound = rows[number % SPEECH], speech[number % SPEECH]
        random = np.random.default_rng(first + number)
        # cutting the speech, or noise alone after it, brings the mean length to MEAN_SECONDS
        wanted = max(int(len(sound) * min(1.0, MEAN_SECONDS / mean)), RATE // 2)
        padding = max(0, int((MEAN_SECONDS - mean) * RATE)) + int(random.integers(0, 800))
        noise = random.standard_normal(wanted + padding).astype(np.float32) * 0.003
        noise[:wanted] += sound[:wanted]
        # the words in another order, since hardly any text of a real corpus occurs twice
        text = " ".join(random.permutation(row["text"].split()))
        yield text, row["speaker"], np.clip(noise, -1, 0.999)


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
