"""Every built-in preset on the real classes of both families: the modules meant and no other, as
PEFT takes them.
"""

from __future__ import annotations

from itertools import product

import peft
import pytest
import torch

from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.peft_adapter import ROOT, resolve_targets
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from tests.tuning_models import small_model, tokenizer

FAMILIES = ("streaming", "v1")
QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
Blocks = dict[str, tuple[str, ...]]
ENCODER: Blocks = {"encoder": ("self_attn",)}
DECODER: Blocks = {"decoder": ("self_attn", "encoder_attn")}
MEANT: dict[str, tuple[tuple[Blocks, tuple[str, ...]], ...]] = {
    "attention": ((ENCODER | DECODER, QKVO),),
    "encoder-attention": ((ENCODER, QKVO),),
    "decoder-attention": ((DECODER, QKVO),),
    "decoder-self-attention": (({"decoder": ("self_attn",)}, QKVO[:3]),),
    "qv": ((ENCODER | DECODER, ("q_proj", "v_proj")),),
    "decoder-mlp": (({"decoder": ("mlp",)}, ("fc1", "fc2")),),
    "all-linear": (
        (ENCODER | DECODER, QKVO),
        ({"encoder": ("mlp",), "decoder": ("mlp",)}, ("fc1", "fc2")),
    ),
}
"""Preset -> for each group of blocks, by stack, the linear layers in them."""


def meant(preset: str, layers: int = 2) -> set[str]:
    return {
        f"{stack}.layers.{layer}.{block}.{linear}"
        for blocks, linears in MEANT[preset]
        for stack, names in blocks.items()
        for layer, block, linear in product(range(layers), names, linears)
    }


def wrapped(family: str) -> BaseModel:
    return wrap_model(ModelSpec(id="small"), small_model(family), tokenizer(), torch.device("cpu"))


def test_every_preset_is_here() -> None:
    assert MEANT.keys() == PRESETS.keys()


def test_the_streaming_model_holds_the_identity_that_a_careless_name_would_hit() -> None:
    assert isinstance(
        small_model("streaming").get_submodule("model.decoder.proj"), torch.nn.Identity
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_means_these_linear_layers_and_stock_peft_adapts_exactly_them(
    family: str, preset: str
) -> None:
    targets = resolve_targets(wrapped(family).modules, PRESETS[preset])
    assert set(targets) == meant(preset) and len(targets) == len(set(targets))
    config = peft.LoraConfig(r=2, target_modules=[ROOT + name for name in targets])
    adapted = peft.get_peft_model(small_model(family), config).base_model.model.model
    found = {
        name.removesuffix(".base_layer")
        for name, _ in adapted.named_modules()
        if name.endswith(".base_layer")
    }
    assert found == meant(preset)
