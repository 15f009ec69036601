"""The trials that every side of a benchmark runs: the same points, the same utterances in the same
order, the same evaluations.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from _shared import ROOT

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Point = dict[str, Any]

ADAPTERS, RANKS = ("lora", "dora"), (4, 8, 16)
TARGETS = ("attention", "decoder-attention", "all-linear")
BATCH, SEED = 8, 42
REPLAY = 0.5
"""Share of each batch that is general speech."""
RATES = (5e-4, 4e-3)
"""Lowest and highest learning rate."""

NAMES = {
    "train": ("train_manifest.jsonl", "train_manifest_expanded.jsonl"),
    "replay": ("replay_manifest.jsonl",),
    "domain": ("domain_manifest.jsonl",),
    "heldout": ("heldout_manifest.jsonl",),
}
"""Set -> the names that its manifest may have, the first that exists is taken."""


@dataclass(frozen=True)
class Workload:
    """Trials to run and the data to run them on, whose manifests are in `folder`."""

    folder: Path
    model: Path
    points: tuple[Point, ...]
    """The parameters of each trial."""
    steps: int
    every: int
    """Optimizer steps between two evaluations of a trial."""
    tokens_per_second: float
    """Cap of decoding: new tokens per second of sound."""
    order: tuple[int, ...]
    """The utterances of all optimizer steps, one after the other: row numbers of the train set
    followed by the replay set.
    """

    def manifest(self, name: str) -> Path:
        """The path of the manifest of a set, which is cut to what the workload needs."""
        return self.folder / f"{name}.jsonl"

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Read the rows of the manifest of a set, one per utterance."""
        return [json.loads(line) for line in self.manifest(name).read_bytes().split(b"\n") if line]

    @property
    def rungs(self) -> int:
        """The number of evaluations of one trial."""
        return -(-self.steps // self.every)

    @property
    def warmup_steps(self) -> int:
        return self.steps // 10

    def utterances(self, trials: int) -> int:
        """Return how many utterances are decoded for `trials` trials and one baseline."""
        return (1 + trials * self.rungs) * sum(
            len(self.rows(name)) for name in ("domain", "heldout")
        )

    def write_plain(self, output: Path) -> Path:
        """Write the workload as `plain_script.py` reads it; return the file."""
        path = self.folder / "workload.json"
        work = {
            "model": str(self.model),
            "train": [str(self.manifest("train")), str(self.manifest("replay"))],
            "evaluate": {name: str(self.manifest(name)) for name in ("domain", "heldout")},
            "order": self.order,
            "points": self.points,
            "steps": self.steps,
            "every": self.every,
            "warmup_steps": self.warmup_steps,
            "batch_size": BATCH,
            "seed": SEED,
            "tokens_per_second": self.tokens_per_second,
            "output": str(output),
        }
        path.write_text(json.dumps(work))
        return path

    def write_sweep(self, name: str, trials: int, pack: int | str, device: str) -> Path:
        """Write the first `trials` points as a sweep file and return it: all points are in
        `start_with`, and no guardrail ends a trial early.
        """
        sweep = {
            "version": 1,
            "name": name,
            "model": {"id": str(self.model)},
            "data": {key: str(self.manifest(key)) for key in NAMES},
            "evaluation": {"every": self.every, "max_tokens_per_second": self.tokens_per_second},
            "method": "random",
            "parameters": {
                "learning_rate": {
                    "values": sorted({point["learning_rate"] for point in self.points})
                },
                "adapter": {"values": list(ADAPTERS)},
                "rank": {"values": list(RANKS)},
                "target_modules": {"values": list(TARGETS)},
                "max_steps": self.steps,
                "warmup_steps": self.warmup_steps,
                "batch_size": BATCH,
                "replay_ratio": REPLAY,
                "seed": SEED,
            },
            "start_with": list(self.points[:trials]),
            "budget": {"trials": trials},
            "execution": {"device": device, "pack": pack},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(sweep))
        return path


def pack_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks of a single pack have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--k", type=int, default=4, help="trials in the pack")
    parser.add_argument("--targets", choices=(*TARGETS, "mixed"), default="mixed")
    parser.add_argument("--data", type=Path, default=ROOT / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "data" / "base-model")
    return parser


def points(count: int) -> tuple[Point, ...]:
    """Return distinct points that mix adapters, ranks and target modules as a sampler would. The
    learning rates are spread evenly on a log scale by the golden ratio.
    """
    low, high = RATES
    return tuple(
        {
            "learning_rate": float(f"{low * (high / low) ** (i * 0.6180339887 % 1):.4g}"),
            "adapter": ADAPTERS[i // 3 % 2],
            "rank": RANKS[i * 2 % 3 if i % 2 else (i + 1) % 3],
            "target_modules": TARGETS[i % 3],
        }
        for i in range(count)
    )


def build(
    folder: Path,
    data: Path,
    model: Path,
    trials: int,
    steps: int,
    rungs: int,
    utterances: int,
    tokens_per_second: float,
) -> Workload:
    """Cut the sets of `data` into `folder` and return the workload on them: as many training and
    replay utterances as `steps` steps need once, and `utterances` of each evaluated set.
    """
    sizes = {
        "train": steps * BATCH // 2,
        "replay": steps * BATCH // 2,
        "domain": utterances,
        "heldout": utterances,
    }
    kept = {name: _cut(data, name, size, folder) for name, size in sizes.items()}
    return Workload(
        folder=folder,
        model=model,
        points=points(trials),
        steps=steps,
        every=-(-steps // rungs),
        tokens_per_second=tokens_per_second,
        order=_order(steps, kept["train"], kept["replay"]),
    )


def _cut(data: Path, name: str, size: int, folder: Path) -> int:
    """Write the first `size` rows of a set to `folder`; return how many there were."""
    source = next((data / file for file in NAMES[name] if (data / file).is_file()), None)
    if source is None:
        raise SystemExit(
            f"{data} has no {' or '.join(NAMES[name])}; name the folder of the corpus with --data"
        )
    rows = [json.loads(line) for line in source.read_bytes().split(b"\n")[:size] if line]
    for row in rows:
        row["audio_filepath"] = str((data / row["audio_filepath"]).resolve())
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return len(rows)


def _order(steps: int, domain: int, replay: int) -> tuple[int, ...]:
    """Return the order in which the product takes the utterances, so that both sides train on the
    same batches and end with the same adapters. `domain` and `replay` are the sizes of the sets.
    """
    from orchestrator.planning.trial_plan import TrialParams
    from orchestrator.tuning.training.training_set import TrainingSet, step_rows

    params = TrialParams(
        learning_rate=1e-3,
        max_steps=steps,
        batch_size=BATCH,
        target_patterns=(),
        replay_ratio=REPLAY,
        seed=SEED,
    )
    data = TrainingSet([[0]] * (domain + replay), domain)
    return tuple(row for step in range(steps) for row in step_rows(params, step, data))


REAL_SIZES = ("streaming-tiny", "v1-tiny")
"""Published configurations that are made with random weights, to measure time and not words."""


def real_size(folder: Path, size: str, train: int, evaluated: int) -> tuple[Path, Path]:
    """Write sets of noise with made-up texts, and a model of a published size with random weights;
    return the two folders, (data, model).

    Clips last 2 to 6 s. Tokenizer and processor are those of the shipped model of the same family,
    whose vocabulary is a part of the model's.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = folder / size
    tokenizer = ROOT / "data" / ("base-model-v1" if size == "v1-tiny" else "base-model")
    _random_model(size).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(tokenizer / name, model / name)
    data = folder / "noise"
    data.mkdir()
    sizes = {"train": train, "replay": train, "domain": evaluated, "heldout": evaluated}
    for seed, (name, count) in enumerate(sizes.items()):
        _random_set(data, name, count, np.random.default_rng(seed))
    return data, model


def _random_model(size: str) -> PreTrainedModel:
    """Make a model of transformers' default configuration with random weights. That is the
    published configuration of each family's tiny model, except for what is set here: the heads of
    streaming-tiny and the positions of v1.
    """
    import torch
    from transformers import (
        MoonshineConfig,
        MoonshineForConditionalGeneration,
        MoonshineStreamingConfig,
        MoonshineStreamingForConditionalGeneration,
    )

    torch.manual_seed(0)
    if size == "v1-tiny":
        config = MoonshineConfig(
            max_position_embeddings=194, decoder_start_token_id=1, pad_token_id=2
        )
        return MoonshineForConditionalGeneration(config)
    encoder = {"num_attention_heads": 8, "num_key_value_heads": 8}
    return MoonshineStreamingForConditionalGeneration(
        MoonshineStreamingConfig(
            num_key_value_heads=8, decoder_start_token_id=1, pad_token_id=2, encoder_config=encoder
        )
    )


def _random_set(data: Path, name: str, size: int, random: np.random.Generator) -> None:
    words = (
        "zero one two three four five six seven eight nine turn left right heading climb".split()
    )
    rows = []
    for index in range(size):
        seconds = float(random.uniform(2, 6))
        audio = (0.05 * random.standard_normal(int(16000 * seconds))).astype(np.float32)
        path = f"{name}-{index:04d}.wav"
        soundfile.write(data / path, audio, 16000)
        text = " ".join(random.choice(words, int(1.2 * seconds)))
        rows.append(
            {"id": path, "audio_filepath": path, "duration": len(audio) / 16000, "text": text}
        )
    (data / NAMES[name][0]).write_text("".join(json.dumps(row) + "\n" for row in rows))
