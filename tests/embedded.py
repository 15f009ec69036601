"""Small sweeps on the shipped model and the first utterances of the shipped sets, with real audio,
that run in seconds; and what stock transformers makes of the same audio.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.utterance import Utterance
from orchestrator.planning.trial_plan import TrialParams, TrialPlan
from orchestrator.records.store import StudyFolder
from orchestrator.running.observer import NullObserver
from orchestrator.running.session import run_study
from orchestrator.running.signals import GracefulShutdown
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.worker import start_worker
from tests.tuning_models import params

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
SETS = {
    "train": "train_manifest_expanded.jsonl",
    "replay": "replay_manifest.jsonl",
    "domain": "domain_manifest.jsonl",
    "heldout": "heldout_manifest.jsonl",
    "confirm_domain": "domain_confirm.jsonl",
    "confirm_heldout": "heldout_confirm.jsonl",
}


def cut_manifest(name: str, count: int, folder: Path) -> Path:
    """Write a manifest of the first `count` utterances of a shipped set, with absolute audio paths,
    and return it. Of the training set it takes the shortest of the first 4 * `count`.
    """
    every = [json.loads(line) for line in (DATA / SETS[name]).read_bytes().splitlines()]
    if name == "train":
        every = sorted(every[: 4 * count], key=lambda row: float(row["duration"]))
    rows = every[:count]
    for row in rows:
        row["audio_filepath"] = str(DATA / row["audio_filepath"])
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def small_sweep(folder: Path, sizes: dict[str, int], **changes: Any) -> SweepSpec:
    """Write a sweep file on sets cut to `sizes`, and load it as a person's file is loaded."""
    sets = {name: str(cut_manifest(name, count, folder)) for name, count in sizes.items()}
    sweep = {
        "version": 1,
        "name": "small",
        "model": {"id": str(DATA / "base-model")},
        "data": sets,
        "evaluation": {"every": 4, "max_tokens_per_second": 13},
        "parameters": {"learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}, "max_steps": 8},
        "guardrails": {"heldout_wer": {"max_regression": 0.2}},
        "acceptance": {"domain_wer": {"min_gain": 1.0}},
        "budget": {"trials": 3},
        "execution": {"pack": 4},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep | changes))
    return load_spec(path)


def confirmed_sweep(folder: Path, *overrides: str) -> SweepSpec:
    """Write a sweep of one trial of three steps, whose finalist is trained once more and measured
    on speakers that are split off; load it with these overrides.
    """
    small_sweep(
        folder,
        {"train": 8, "domain": 6, "heldout": 6},
        parameters={"learning_rate": {"min": 1e-3, "max": 1e-2}, "max_steps": 3, "batch_size": 4},
        guardrails={"heldout_wer": {"max_regression": 50}},
        budget={"trials": 1},
    )
    confirming = ("data.confirm={split: 0.4, seed: 1}", "confirm={top: 1, seeds: [101]}")
    return load_spec(folder / "sweep.yaml", [*confirming, *overrides])


def run_to_end(spec: SweepSpec, study: StudyFolder) -> None:
    """Run a sweep to its verdict in this process, with real workers and nothing said."""
    with GracefulShutdown(lambda text: None) as drain:
        run_study(
            spec,
            study,
            lambda each, place: start_worker(each, place.project_cache),
            NullObserver(),
            drain,
        )


def trial(spec: SweepSpec, number: int, **changes: Any) -> TrialPlan:
    """Return the plan of a trial on the sweep's sets; `changes` are to its parameters."""
    own: TrialParams = params(**({"max_steps": 8, "batch_size": 4} | changes))
    return TrialPlan(
        sweep=spec.name,
        number=number,
        model=spec.model,
        data=spec.data,
        evaluation=spec.evaluation,
        params=own,
    )


def stock_words(spec: SweepSpec, path: Path, model: Any) -> list[str]:
    """Return the greedy transcripts of stock `generate` for a manifest, clip by clip, computed in
    the dtype of the model.
    """
    tokenizer = AutoTokenizer.from_pretrained(spec.model.id)
    heard = []
    for utterance in load_manifest(path).utterances:
        samples = scaled(spec, utterance)
        audio = stock_audio(samples, model)
        cap = int(spec.evaluation.max_tokens_per_second * len(samples) / 16000) + 2
        mask = torch.ones_like(audio, dtype=torch.long)
        tokens = model.generate(
            input_values=audio, attention_mask=mask, max_new_tokens=cap, do_sample=False
        )
        heard.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    return heard


def scaled(spec: SweepSpec, utterance: Utterance) -> np.ndarray:
    """Return the samples of one utterance, scaled to the loudness (RMS) that the sweep asks for."""
    return scale_to_rms(load_audio(utterance).samples, spec.evaluation.rms or 1.0)[0]


def stock_audio(samples: np.ndarray, model: Any) -> torch.Tensor:
    """Return samples as stock models take them: (1, samples), cut to a multiple of 80, in the dtype
    of the model.
    """
    audio = torch.from_numpy(np.ascontiguousarray(samples[: len(samples) // 80 * 80]))[None]
    return audio.to(model.dtype)


@torch.no_grad()
def is_greedy(spec: SweepSpec, utterance: Utterance, model: Any, words: str) -> bool:
    """Whether each token of `words`, and the EOS after them, is the one that the stock model finds
    most likely after the tokens before it.
    """
    tokens = AutoTokenizer.from_pretrained(spec.model.id)(words, add_special_tokens=False).input_ids
    audio, config = stock_audio(scaled(spec, utterance), model), model.config
    logits = model(
        input_values=audio,
        attention_mask=torch.ones_like(audio, dtype=torch.long),
        decoder_input_ids=torch.tensor([[config.decoder_start_token_id, *tokens]]),
    ).logits
    likely: list[int] = logits[0].argmax(-1).tolist()
    return likely == [*tokens, config.eos_token_id]
