"""Whatever a trial's parameters are together, it trains what stock PEFT and torch.optim train, one
clip at a time, with dropout and the KL term written out once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import peft
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import get_scheduler

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.tuning.adapters.peft_adapter import ROOT, resolve_targets
from orchestrator.tuning.training.augmentation import augment_clip
from orchestrator.tuning.training.training_set import step_draws, step_rows
from tests.test_tuning_pack import Scene, packed, scene
from tests.tuning_models import ALL_LINEAR, ATTENTION, DECODER, params, small_model

STEPS = 3
PARTS = {"lora_A": "A", "lora_B": "B", "lora_magnitude_vector": "magnitude"}
CROSS = ("decoder.*.encoder_attn.k_proj", "decoder.*.encoder_attn.v_proj")
trials = st.builds(
    params,
    adapter=st.sampled_from(["lora", "dora"]),
    max_steps=st.sampled_from([STEPS, STEPS + 4]),
    learning_rate=st.sampled_from([1e-4, 1e-2]),
    scheduler=st.sampled_from(["linear", "cosine", "constant"]),
    warmup_steps=st.sampled_from([0, 1, 9]),
    batch_size=st.integers(1, 3),
    gradient_accumulation_steps=st.integers(1, 2),
    max_grad_norm=st.sampled_from([1e-3, 1.0, 1e30]),
    weight_decay=st.sampled_from([0.0, 1.0]),
    rank=st.integers(1, 5),
    alpha=st.sampled_from([1.0, 7.5]),
    use_rslora=st.booleans(),
    lora_dropout=st.sampled_from([0.0, 0.2, 0.7]),
    loraplus_lr_ratio=st.sampled_from([1.0, 4.0, 0.5]),
    target_patterns=st.sampled_from([ATTENTION, ALL_LINEAR, DECODER, CROSS]),
    layers=st.sampled_from(["all", "upper-half", "first-1"]),
    train_share=st.sampled_from([1.0, 0.5, 0.01]),
    replay_ratio=st.sampled_from([0.0, 0.3, 1.0]),
    replay_labels=st.sampled_from(["manifest", "model"]),
    kl_weight=st.sampled_from([0.0, 0.3, 5.0]),
    speed_perturb=st.sampled_from([0.0, 0.5]),
    noise_snr=st.sampled_from([60.0, -10.0]),
    drop_chunks=st.integers(0, 2),
    augment_prob=st.sampled_from([1.0, 0.5]),
    seed=st.sampled_from([0, 42, 2**32 - 1]),
)


def mixed(key: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014), on unsigned numbers of 64 bits."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_key: np.ndarray = key ^ (key >> np.uint64(31))
    return mixed_key


class Dropped(nn.Module):
    """Dropout of one module on the frames or tokens of one row, (1, positions, features)."""

    def __init__(self, trial: TrialParams, module: int, at: dict[str, int]) -> None:
        super().__init__()
        self.trial, self.module, self.at = trial, module, at

    def forward(self, x: Tensor) -> Tensor:
        """The same with entries zeroed and the rest scaled."""
        rate, step, row = self.trial.lora_dropout, self.at["step"], self.at["row"]
        key = self.trial.seed + step * 0x9E3779B1 + self.module * 0x85EBCA77 + row * 0xC2B2AE3D
        places, features = (np.arange(count, dtype=np.uint64) for count in x.shape[1:])
        own = mixed(np.uint64(key) + places * np.uint64(0x27D4EB2F))[:, None]
        drawn = mixed(own + features * np.uint64(0x165667B1)) % np.uint64(1 << 24)
        kept = drawn / (1 << 24) >= rate
        return x * torch.from_numpy(kept) / (1 - rate)


def adapted_by_peft(family: str, made: Scene, trial: TrialParams, at: dict[str, int]) -> Any:
    """The stock model with a new adapter by PEFT, whose dropout reads step and row in `at`."""
    targets = resolve_targets(made[0].modules, trial.target_patterns, trial.layers)
    config = peft.LoraConfig(
        r=trial.rank,
        lora_alpha=trial.alpha,
        use_rslora=trial.use_rslora,
        use_dora=trial.adapter == "dora",
        lora_dropout=trial.lora_dropout,
        target_modules=[ROOT + name for name in targets],
    )
    model = small_model(family)
    torch.manual_seed(trial.seed)
    tuned = peft.get_peft_model(model, config).double().eval()
    for place, name in enumerate(sorted(targets) if trial.lora_dropout else ()):
        layer: Any = tuned.get_submodule(f"base_model.model.{ROOT}{name}")
        layer.lora_dropout["default"] = Dropped(trial, place, at)
        layer.training = True  # PEFT's DoRA drops nothing else
    return tuned


def loss_of_row(
    tuned: Any, untuned: Any, made: Scene, trial: TrialParams, step: int, place: int
) -> tuple[Tensor, Tensor]:
    """The cross-entropy and the KL term of one row of a step, as shares of the whole step."""
    base, _, data, clips, _ = made
    rows, draws = step_rows(trial, step, data), step_draws(trial, step, data)
    row, draw = rows[place], draws[place]
    clip = clips[data.clip(row)]
    clip = clip if draw is None else augment_clip(clip, draw, data.rms, base.family)
    clip = clip[: len(clip) // base.family.multiple * base.family.multiple]
    audio, labels = torch.from_numpy(clip).double()[None], torch.tensor(data.labels[row])
    inputs: dict[str, Any] = dict(
        input_values=audio,
        attention_mask=torch.ones_like(audio, dtype=torch.long),
        decoder_input_ids=torch.tensor([[base.decoder.start, *data.labels[row][:-1]]]),
        use_cache=False,
    )
    logits = tuned(**inputs).logits[0]
    own = F.cross_entropy(logits, labels, reduction="sum")
    own = own / sum(len(data.labels[each]) for each in rows)
    if not trial.kl_weight or row < data.domain:
        return own, torch.zeros(())
    with torch.no_grad():
        before = untuned(**inputs).logits[0].log_softmax(-1)
    apart = (before.exp() * (before - logits.log_softmax(-1))).sum()
    replayed = sum(len(data.labels[each]) for each in rows if each >= data.domain)
    return own, trial.kl_weight * apart / replayed


def by_stock_peft(
    family: str, made: Scene, trial: TrialParams
) -> tuple[dict[tuple[str, str], Tensor], list[float]]:
    """The trained tensors by (module, part) and the loss of each step."""
    at = {"step": 0, "row": 0}
    tuned, untuned = adapted_by_peft(family, made, trial, at), small_model(family)
    named = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for name, p in named.items() if ("lora_A" in name) is of_A], "lr": rate}
        for of_A, rate in (
            (True, trial.learning_rate),
            (False, trial.learning_rate * trial.loraplus_lr_ratio),
        )
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=trial.weight_decay)
    schedule = "constant_with_warmup" if trial.scheduler == "constant" else trial.scheduler
    scheduler = get_scheduler(schedule, optimizer, trial.warmup_steps, trial.max_steps)
    losses = []
    for step in range(STEPS):
        losses.append(0.0)
        for place in range(trial.batch_size * trial.gradient_accumulation_steps):
            at |= {"step": step, "row": place}
            own, held = loss_of_row(tuned, untuned, made, trial, step, place)
            (own + held).backward()
            losses[-1] += own.item()
        torch.nn.utils.clip_grad_norm_(list(named.values()), trial.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    found = {}
    for name, parameter in named.items():
        path, _, rest = name.removeprefix(f"base_model.model.{ROOT}").partition(".lora_")
        found[path, PARTS["lora_" + rest.partition(".")[0]]] = parameter.detach()
    return found, losses


@pytest.mark.parametrize("family", ["streaming", "v1"])
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    phases=[Phase.generate],  # to find a simpler trial takes minutes
)
@given(st.lists(trials, min_size=2, max_size=3))
def test_any_pack_trains_what_stock_peft_trains(family: str, plans: list[TrialParams]) -> None:
    made = scene(family)
    pack, losses = packed(made, plans, STEPS)
    for slot, trial in enumerate(plans):
        expected, own = by_stock_peft(family, made, trial)
        got = pack.read(pack.flat, slot)
        assert got.keys() == expected.keys()
        assert max(float((got[key] - expected[key]).abs().max()) for key in got) < 1e-10
        assert [float(each[slot]) for each in losses] == pytest.approx(own, abs=1e-10)
