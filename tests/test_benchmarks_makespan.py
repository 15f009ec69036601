"""The benchmark counts what it says it counts, and both sides are given the same work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    PreTrainedModel,
)

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from _shared import arithmetic, processes, workload  # noqa: E402

from orchestrator.planning.trial_plan import trial_plan  # noqa: E402
from orchestrator.sweepfile.loading import load_spec  # noqa: E402


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, files in workload.NAMES.items():
        rows = []
        for index in range(20):
            soundfile.write(folder / f"{name}-{index}.wav", np.zeros(16000, np.float32), 16000)
            rows.append(
                {
                    "id": f"{index}",
                    "audio_filepath": f"{name}-{index}.wav",
                    "duration": 1.0,
                    "text": "one",
                }
            )
        (folder / files[-1]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def built(folder: Path, corpus: Path, trials: int = 12) -> workload.Workload:
    work = folder / "work"
    work.mkdir()
    return workload.build(
        work, corpus, folder, trials, steps=4, rungs=2, utterances=5, tokens_per_second=13.0
    )


IDS = dict(pad_token_id=2, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, vocab_size=40)


def streaming() -> PreTrainedModel:
    size = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    size |= dict(num_key_value_heads=2)
    own = {**size, "sliding_windows": [[16, 4], [16, 0]]}
    config = MoonshineStreamingConfig(**size, **IDS, encoder_config=own)
    config._attn_implementation = "eager"  # matrix products, which the counter knows
    return MoonshineStreamingForConditionalGeneration(config)


def version_1() -> PreTrainedModel:
    size = dict(hidden_size=32, intermediate_size=48)
    size |= dict(encoder_num_hidden_layers=3, encoder_num_attention_heads=2)
    size |= dict(decoder_num_hidden_layers=2, decoder_num_attention_heads=2)
    config = MoonshineConfig(**size, **IDS)
    config._attn_implementation = "eager"
    return MoonshineForConditionalGeneration(config)


@pytest.mark.parametrize("build", [streaming, version_1])
def test_forward_estimate_is_what_torch_counts(build: Callable[[], PreTrainedModel]) -> None:
    model = build().eval()
    shape = arithmetic.shape_of(model.config.to_dict())
    audio = torch.randn(1, 4 * 16000)
    with torch.no_grad():
        frames = model.get_encoder()(audio).last_hidden_state.shape[1]
    assert frames == pytest.approx(4 * shape.frames_per_second, abs=2)
    clip = arithmetic.Clip(frames=frames, tokens=30)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(
            input_values=audio,
            attention_mask=torch.ones_like(audio, dtype=torch.long),
            decoder_input_ids=torch.ones(1, 30, dtype=torch.long),
        )
    # torch counts attention over all keys: the encoder's outside its windows, the decoder's of
    # tokens to come
    outside = sum(2 * 32 * (frames - attended) for attended in shape.attended(clip)) * frames
    outside += 2 * 2 * 32 * 30 * 15
    assert 2 * (shape.forward(clip) + outside) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_points_are_distinct_and_mixed() -> None:
    points = workload.points(32)
    assert len({json.dumps(point) for point in points}) == 32
    for name, values in (
        ("adapter", workload.ADAPTERS),
        ("rank", workload.RANKS),
        ("target_modules", workload.TARGETS),
    ):
        assert {point[name] for point in points[:12]} == set(values)
    assert {(p["adapter"], p["target_modules"]) for p in points[:12]} == {
        (adapter, targets) for adapter in workload.ADAPTERS for targets in workload.TARGETS
    }


def test_both_sides_get_the_same_work(tmp_path: Path, corpus: Path) -> None:
    work = built(tmp_path, corpus)
    plain = json.loads(work.write_plain(tmp_path).read_text())
    spec = load_spec(work.write_sweep("both", 12, 4, "cpu"))
    assert spec.budget.trials == len(plain["points"]) == 12
    for number, point in enumerate(plain["points"]):
        plan = trial_plan(spec, number, dict(spec.start_with[number]))
        assert {name: getattr(plan.params, name) for name in point} == point
        assert (plan.params.alpha, plan.params.max_steps) == (point["rank"], plain["steps"])
        assert (plan.params.warmup_steps, plan.params.batch_size) == (
            plain["warmup_steps"],
            plain["batch_size"],
        )
        assert (
            plan.rungs == (2, 4) == tuple(range(plain["every"], plain["steps"] + 1, plain["every"]))
        )
    assert [str(spec.data.train), str(spec.data.replay)] == plain["train"]
    assert sorted(plain["order"]) == list(range(4 * workload.BATCH)), (
        "every training utterance once"
    )
    assert work.utterances(12) == (1 + 12 * 2) * 10


def test_a_command_that_fails_ends_the_benchmark_with_its_output() -> None:
    with pytest.raises(SystemExit, match=r"(?s)ended with 3:\nno such corpus"):
        processes.run_all([[sys.executable, "-c", "print('no such corpus'); raise SystemExit(3)"]])


def test_memory_is_that_of_all_processes_together() -> None:
    command = [sys.executable, "-c", "import time; kept = bytearray(80_000_000); time.sleep(1)"]
    one, two = processes.run_all([command]), processes.run_all([command, command], at_once=2)
    assert one.peak_bytes > 80_000_000
    assert two.peak_bytes > 1.8 * one.peak_bytes
    assert len(two.each) == 2
