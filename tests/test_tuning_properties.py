"""Whatever the lengths, packs, replay and targets: a trial in a pack is the trial alone, in both
families.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.pack import Adapter
from orchestrator.tuning.decoding.greedy_decoding import transcribe
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.training_set import TrainingSet
from tests.test_tuning_pack import CPU, packed
from tests.tuning_models import ALL_LINEAR, ATTENTION, DECODER, params, small_model, tokenizer

POSITIONS = 24
"""Frames of the longest clip of the streaming model: far fewer than those by which slots may
differ.
"""
SLOW_MACHINE = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)

frames = st.integers(1, POSITIONS)
texts = st.lists(st.sampled_from(["left", "right", "climb", "nine"]), min_size=0, max_size=12).map(
    " ".join
)
utterances = st.lists(st.tuples(frames, texts), min_size=1, max_size=5)
trials = st.builds(
    params,
    target_patterns=st.sampled_from(
        [ATTENTION, DECODER, ALL_LINEAR, ("encoder.layers.1.mlp.fc1",)]
    ),
    adapter=st.sampled_from(["lora", "dora"]),
    batch_size=st.integers(1, 4),
    gradient_accumulation_steps=st.integers(1, 2),
    replay_ratio=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    kl_weight=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 3),
)


@cache
def model(family: str) -> BaseModel:
    return wrap_model(
        ModelSpec(id="small"), small_model(family, positions=POSITIONS), tokenizer(), CPU
    )


Scene = tuple[BaseModel, EncoderCache, TrainingSet, list[np.ndarray], list[str]]


def scene(base: BaseModel, domain: list[tuple[int, str]], replay: list[tuple[int, str]]) -> Scene:
    """A training set of noise, clips of so many frames (and what version 1 needs for its first)."""
    random = np.random.default_rng(0)
    rows = [*domain, *replay]
    lengths = [max(count * base.family.stride, base.family.shortest) for count, _ in rows]
    clips = [(0.075 * random.standard_normal(length)).astype(np.float32) for length in lengths]
    data = TrainingSet(base.labels([text for _, text in rows]), len(domain), rms=0.075)
    return base, EncoderCache(base.family, {"train": clips}, 1 << 28, CPU), data, clips, []


def apart(a: dict[tuple[str, str], torch.Tensor], b: dict[tuple[str, str], torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[key] - b[key]).abs().max()) for key in a)


@pytest.mark.parametrize("family", ["streaming", "v1"])
@SLOW_MACHINE
@given(utterances, utterances, st.lists(trials, min_size=2, max_size=3))
def test_packed_is_alone(
    family: str,
    domain: list[tuple[int, str]],
    replay: list[tuple[int, str]],
    plans: list[TrialParams],
) -> None:
    made = scene(model(family), domain, replay)
    together, losses = packed(made, plans, steps=2)
    for slot, trial in enumerate(plans):
        alone, own = packed(made, [trial], steps=2)
        assert apart(together.read(together.flat, slot), alone.read(alone.flat, 0)) < 1e-10
        assert all(abs(float(a[slot] - b[0])) < 1e-10 for a, b in zip(losses, own, strict=True))


@pytest.mark.parametrize("family", ["streaming", "v1"])
@SLOW_MACHINE
@given(
    utterances, st.lists(st.floats(0.2, 1.5), min_size=1, max_size=3), st.integers(1, 2 * POSITIONS)
)
def test_heard_together_is_heard_alone(
    family: str, clips: list[tuple[int, str]], scales: list[float], cap: int
) -> None:
    base, store, *_ = scene(model(family), clips, [])
    scaled_adapters = [(shaken(base, seed), scale) for seed, scale in enumerate(scales)]
    max_new_tokens = [1 + cap * row % (2 * POSITIONS) for row in range(len(clips))]
    together = transcribe(base, store, "train", max_new_tokens, scaled_adapters)
    for row in range(len(clips)):
        one = EncoderCache(base.family, {"train": [store.clips["train"][row]]}, 1 << 28, CPU)
        for voice, heard in zip(scaled_adapters, together, strict=True):
            (alone,) = transcribe(base, one, "train", [max_new_tokens[row]], [voice])
            assert (alone.tokens[0], alone.truncated[0]) == (
                heard.tokens[row],
                heard.truncated[row],
            )


def shaken(base: BaseModel, seed: int) -> Adapter:
    """An adapter of every linear layer that says other words."""
    generator = torch.Generator().manual_seed(seed)
    modules = {
        name: {
            part: 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)
            for part, shape in (
                ("A", (2, linear.weight.shape[1])),
                ("B", (linear.weight.shape[0], 2)),
            )
        }
        for name, linear in base.linears.items()
    }
    return Adapter(1.0, 0.0, seed, modules)
