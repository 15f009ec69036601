"""Packed equals alone: a mixed pack against stock PEFT, one trial and one clip at a time, in
float64.
"""

from __future__ import annotations

import copy
import weakref
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, get_scheduler

from orchestrator.planning.trial_plan import TrialParams
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.pack import Adapter, Pack, StepPack, merged_weight
from orchestrator.tuning.adapters.packed_linear import PackedLinear, bind_slots
from orchestrator.tuning.adapters.peft_adapter import ROOT, export, initial_adapter, resolve_targets
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from orchestrator.tuning.model.core_threads import cores
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training import micro_batches
from orchestrator.tuning.training.augmentation import augment_clip
from orchestrator.tuning.training.optimizer import PackedAdamW
from orchestrator.tuning.training.step import pack_step
from orchestrator.tuning.training.training_set import TrainingSet, step_draws, step_rows
from tests.tuning_models import ALL_LINEAR, DECODER, clips_and_texts, params, small_model, tokenizer

CPU = torch.device("cpu")
STEPS = 2
MIXED = {
    "lora": params(),
    "rslora all-linear": params(
        target_patterns=ALL_LINEAR, rank=8, alpha=16.0, use_rslora=True, learning_rate=1e-3
    ),
    "dora": params(adapter="dora", rank=2, alpha=4.0, scheduler="cosine", warmup_steps=2, seed=7),
    "decoder, accumulated": params(
        target_patterns=DECODER, gradient_accumulation_steps=2, weight_decay=0.1, seed=3
    ),
    "clipped": params(
        max_grad_norm=0.01, learning_rate=1e-2, scheduler="constant", replay_ratio=0.5
    ),
    "pissa": params(adapter="pissa", learning_rate=1e-3),
    "pissa-dora": params(adapter="pissa-dora", rank=3, alpha=3.0, learning_rate=1e-3),
    "lora+": params(loraplus_lr_ratio=4.0, warmup_steps=1),
}
Scene = tuple[BaseModel, EncoderCache, TrainingSet, list[Any], list[str]]


def scene(family: str) -> Scene:
    """A small frozen model, its frames, and a training set of 7 domain and 5 replay utterances,
    three of which have labels of the model's own beside those of the manifest."""
    base = wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), CPU)
    clips, texts = clips_and_texts(12)
    store = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    labels = base.labels([*texts, "left", "nine one one", "climb"])
    return base, store, TrainingSet(labels, 7, pseudo_labelled=(11, 7, 8), rms=0.075), clips, texts


def start(base: BaseModel, trial: TrialParams) -> Adapter:
    return initial_adapter(
        base.linears, resolve_targets(base.modules, trial.target_patterns, trial.layers), trial
    )


def packed(
    scene: Scene, trials: list[TrialParams], steps: int = STEPS
) -> tuple[Pack, list[torch.Tensor]]:
    """Train the trials in one pack from the lowest depth that any of them needs."""
    base, store, data, *_ = scene
    pack = Pack(tuple(start(base, trial) for trial in trials))
    optimizer = PackedAdamW(pack.flat, pack.is_B, trials, [0] * len(trials))
    depth = base.first_adapted_layer(tuple(pack.layers))
    losses = [pack_step(base, store, data, pack, optimizer, depth)[0] for _ in range(steps)]
    return pack, losses


def alone(
    model: PreTrainedModel, scene: Scene, trial: TrialParams, steps: int = STEPS
) -> dict[tuple[str, str], torch.Tensor]:
    """The same trial by stock PEFT and torch.optim.AdamW, every clip forwarded by itself through
    the stock model.
    """
    base, _, data, clips, _ = scene
    targets = resolve_targets(base.modules, trial.target_patterns, trial.layers)
    config = peft.LoraConfig(
        r=trial.rank,
        lora_alpha=trial.alpha,
        use_rslora=trial.use_rslora,
        use_dora=trial.adapter.endswith("dora"),
        init_lora_weights="pissa" if trial.adapter.startswith("pissa") else True,
        target_modules=[ROOT + name for name in targets],
    )
    torch.manual_seed(trial.seed)
    if trial.adapter.startswith("pissa"):
        model.float()  # PEFT's PiSSA refuses float64
    tuned = peft.get_peft_model(model, config).double().eval()
    named = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    high = [p for name, p in named.items() if "lora_A" not in name]
    groups = [
        {"params": [p for name, p in named.items() if "lora_A" in name], "lr": trial.learning_rate},
        {"params": high, "lr": trial.learning_rate * trial.loraplus_lr_ratio},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=trial.weight_decay)
    schedule = "constant_with_warmup" if trial.scheduler == "constant" else trial.scheduler
    scheduler = get_scheduler(schedule, optimizer, trial.warmup_steps, trial.max_steps)
    for step in range(steps):
        rows = step_rows(trial, step, data)
        total = sum(len(data.labels[row]) for row in rows)
        for row, draw in zip(rows, step_draws(trial, step, data), strict=True):
            clip = (
                clips[data.clip(row)]
                if draw is None
                else augment_clip(clips[row], draw, data.rms, base.family)
            )
            clip = clip[: len(clip) // base.family.multiple * base.family.multiple]
            audio, labels = torch.from_numpy(clip).double()[None], torch.tensor([data.labels[row]])
            mask = torch.ones_like(audio, dtype=torch.long)
            logits = tuned(
                input_values=audio, attention_mask=mask, labels=labels, use_cache=False
            ).logits
            (F.cross_entropy(logits[0], labels[0], reduction="sum") / total).backward()
        torch.nn.utils.clip_grad_norm_(list(named.values()), trial.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    parts = {"lora_A": "A", "lora_B": "B", "lora_magnitude_vector": "magnitude"}
    found = {}
    for name, parameter in named.items():
        path, _, rest = name.removeprefix(f"base_model.model.{ROOT}").partition(".lora_")
        found[path, parts["lora_" + rest.partition(".")[0]]] = parameter.detach()
    return found


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_a_mixed_pack_gives_each_trial_the_adapter_it_would_have_had_alone(family: str) -> None:
    made = scene(family)
    pack, _ = packed(made, list(MIXED.values()))
    for slot, (label, trial) in enumerate(MIXED.items()):
        got, expected = pack.read(pack.flat, slot), alone(small_model(family), made, trial)
        assert got.keys() == expected.keys(), label
        tolerance = 1e-5 if trial.adapter.startswith("pissa") else 1e-10
        begun = start(made[0], trial).modules
        moved = max((got[key] - begun[key[0]][key[1]]).abs().max().item() for key in got)
        worst = max((got[key] - expected[key]).abs().max().item() for key in got)
        assert moved > 1e-4, label
        assert worst < tolerance, (label, worst)


@pytest.mark.slow
def test_order_and_company_change_nothing_beyond_rounding() -> None:
    made, trials = scene("streaming"), list(MIXED.values())
    together, _ = packed(made, trials)
    turned, _ = packed(made, trials[::-1])
    for slot, trial in enumerate(trials):
        single, _ = packed(made, [trial])
        expected = together.read(together.flat, slot)
        for other, row in ((turned, len(trials) - 1 - slot), (single, 0)):
            got = other.read(other.flat, row)
            assert max((got[key] - expected[key]).abs().max().item() for key in got) < 1e-11


@pytest.mark.parametrize("family", ["streaming", pytest.param("v1", marks=pytest.mark.slow)])
def test_how_many_cores_share_a_step_changes_nothing_beyond_rounding(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [
        *(MIXED[name] for name in ("lora", "dora", "decoder, accumulated", "pissa")),
        params(batch_size=3, lora_dropout=0.3),
        params(replay_ratio=0.5, kl_weight=0.5),
    ]
    trained, parts = {}, []
    deal = micro_batches.balance_by_length

    def noted(*given: Any) -> Any:
        parts.append(len(deal(*given)))
        return deal(*given)

    monkeypatch.setattr(micro_batches, "balance_by_length", noted)
    for count in (1, 2, 3):
        for name in ("count", "threads"):
            monkeypatch.setattr(cores(CPU), name, count)
        cores(CPU).__dict__.pop("_part_pool", None)
        trained[count], _ = packed(scene(family), trials, steps=2)
        assert max(parts) == count
    for count in (2, 3):
        assert (trained[count].flat - trained[1].flat).abs().max().item() < 1e-11


def test_gradients_of_many_micro_batches_are_not_kept_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute, kept = StepPack.gradients, []
    made: list[weakref.ref[torch.Tensor]] = []

    def noted(step: StepPack, loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        kept.append(sum(each() is not None for each in made))
        gradients = compute(step, loss)
        made.append(weakref.ref(gradients[0]))
        return gradients

    for name in ("count", "threads"):
        monkeypatch.setattr(cores(CPU), name, 1)
    monkeypatch.setattr(StepPack, "gradients", noted)
    packed(scene("streaming"), [params(batch_size=1, gradient_accumulation_steps=6)], steps=1)
    assert len(kept) == 6 and max(kept) == 1


def test_what_a_trial_does_not_train_stays_exactly_zero() -> None:
    pack, _ = packed(scene("streaming"), [MIXED["lora"], MIXED["rslora all-linear"], MIXED["dora"]])
    copied = pack.flat.clone()
    for slot in range(3):
        pack.write(
            copied,
            slot,
            {key: torch.zeros_like(t) for key, t in pack.read(pack.flat, slot).items()},
        )
    assert not copied.any()
    assert pack.flat.any(dim=1).all()


def test_one_trial_that_diverges_leaves_its_neighbours_bitwise_alone() -> None:
    made = scene("streaming")
    calm = [MIXED["lora"], MIXED["dora"], MIXED["pissa"]]
    before, _ = packed(made, [calm[0], params(learning_rate=1e-3), *calm[1:]])
    after, losses = packed(
        made, [calm[0], params().model_copy(update={"learning_rate": 1e200}), *calm[1:]]
    )
    assert not torch.isfinite(losses[-1][1])
    for slot in (0, 2, 3):
        assert torch.equal(before.flat[slot], after.flat[slot])


def test_dropout_depends_on_the_trial_not_on_the_pack() -> None:
    made = scene("streaming")
    dropped = [
        params(lora_dropout=0.3),
        params(adapter="dora", lora_dropout=0.5, seed=5),
        params(),
        params(lora_dropout=0.3, target_patterns=DECODER),
        params(target_patterns=ALL_LINEAR),
    ]
    together, _ = packed(made, dropped)
    for slot, trial in enumerate(dropped):
        single, _ = packed(made, [trial])
        got, expected = together.read(together.flat, slot), single.read(single.flat, 0)
        assert max((got[key] - expected[key]).abs().max().item() for key in got) < 1e-10
    assert not torch.allclose(together.flat[0], together.flat[2])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.999])
def test_the_same_entries_are_dropped_of_bfloat16(rate: float) -> None:
    linear = PackedLinear(torch.nn.Linear(256, 16))
    trial = params(lora_dropout=rate, target_patterns=("x",))
    pack = Pack((initial_adapter({"x": linear}, ("x",), trial),))
    pack.set_positions(torch.zeros(1, 400, dtype=torch.long), torch.arange(400)[None])
    dropout = pack.layers["x"].dropout
    assert dropout is not None
    whole = torch.ones(1, 400, 256)
    exact, coarse = dropout(whole), dropout(whole.bfloat16())
    assert torch.equal(exact == 0, coarse == 0)
    share = float((exact == 0).double().mean())
    assert abs(share - rate) < 5 * (rate * (1 - rate) / whole.numel()) ** 0.5


@pytest.mark.parametrize("adapter", ["lora", "dora", "pissa", "pissa-dora"])
def test_an_adapter_is_initialised_alike_under_autocast(adapter: str) -> None:
    linear = PackedLinear(torch.nn.Linear(16, 16))
    trial = params(adapter=adapter, target_patterns=("x",))
    expected = initial_adapter({"x": linear}, ("x",), trial).modules["x"]
    with torch.autocast("cpu", torch.bfloat16):
        made = initial_adapter({"x": linear}, ("x",), trial).modules["x"]
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[part], expected[part]) for part in expected)


@pytest.mark.parametrize("adapter", ["pissa", "pissa-dora"])
def test_dropout_of_pissa_drops_what_training_has_changed_alone(adapter: str) -> None:
    linear = PackedLinear(torch.nn.Linear(16, 16))
    trial = params(adapter=adapter, rank=4, lora_dropout=0.5, target_patterns=("x",))
    pack = Pack((initial_adapter({"x": linear}, ("x",), trial),))
    x = torch.randn(1, 50, 16)
    pack.set_positions(torch.zeros(1, 50, dtype=torch.long), torch.arange(50)[None])

    def packed_output() -> torch.Tensor:
        with torch.no_grad(), bind_slots({"x": linear}, pack.of_step({"x": linear}).layers):
            output: torch.Tensor = linear(x)
        return output

    assert torch.allclose(packed_output(), linear(x), atol=1e-5)
    pack.flat += 0.1
    assert not torch.allclose(packed_output(), linear(x), atol=1e-2)


@pytest.mark.parametrize("scale", [pytest.param(1.0, marks=pytest.mark.slow), 0.6])
@pytest.mark.parametrize("label", ["lora", "rslora all-linear", "dora", "pissa", "pissa-dora"])
def test_an_exported_adapter_is_the_same_model_under_stock_peft(
    label: str, scale: float, tmp_path: Path
) -> None:
    made = scene("streaming")
    base, _, _, clips, _ = made
    pack, _ = packed(made, [MIXED[label]])
    adapter = pack.adapter(0)
    export(
        base.linears,
        adapter,
        scale,
        ModelSpec(id="some/model", revision="abc"),
        tmp_path / "adapter",
    )
    written = peft.PeftConfig.from_pretrained(str(tmp_path / "adapter"))
    assert (written.base_model_name_or_path, written.revision) == ("some/model", "abc")
    merged = copy.deepcopy(small_model("streaming"))
    for name, parts in adapter.modules.items():
        linear = merged.get_submodule(ROOT + name)
        linear.weight.data = merged_weight(linear.weight.data, parts, adapter.scaling, scale)
    stock = (
        peft.PeftModel.from_pretrained(small_model("streaming"), tmp_path / "adapter")
        .double()
        .eval()
    )
    audio = torch.from_numpy(clips[0]).double()[None]
    batch = dict(
        input_values=audio,
        attention_mask=torch.ones_like(audio),
        decoder_input_ids=torch.tensor([[1, 4, 5]]),
    )
    with torch.no_grad():
        difference = (stock(**batch).logits - merged(**batch).logits).abs().max().item()
        untuned = (
            (small_model("streaming")(**batch).logits - merged(**batch).logits).abs().max().item()
        )
    assert difference < 1e-5 < untuned
