"""Every configuration that is published, built from the real classes with random weights: trained a
step, heard and exported as stock transformers and PEFT do it. `slow` has all layers and the largest
vocabulary; the others one layer of each stack and few words."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import (
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    PreTrainedModel,
)

from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.peft_adapter import export
from orchestrator.tuning.decoding.greedy_decoding import Decoded, transcribe
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.training.training_set import TrainingSet
from tests.test_tuning_pack import CPU, alone, packed
from tests.tuning_models import params, tokenizer

SECONDS = (0.3, 4.0, 30.0)
"""Of the clips of the whole models."""
FEW_SECONDS = (0.3, 2.0, 8.0)
"""Of those of one layer; models wider than the tiny ones do without the last."""
WIDE, NARROW = [16, 4], [16, 0]


def version_1(width: int, layers: int, rotary: float) -> dict[str, Any]:
    return dict(
        hidden_size=width,
        intermediate_size=4 * width,
        encoder_num_hidden_layers=layers,
        decoder_num_hidden_layers=layers,
        encoder_num_attention_heads=8,
        decoder_num_attention_heads=8,
        partial_rotary_factor=rotary,
        max_position_embeddings=194,
    )


def streaming(
    encoder: int, decoder: int, layers: int, heads: int, head_dim: int, rotary: float
) -> dict[str, Any]:
    both = dict(
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim,
        max_position_embeddings=4096,
    )
    windows = [WIDE, WIDE, *[NARROW] * (layers - 4), WIDE, WIDE]
    own = dict(both, hidden_size=encoder, intermediate_size=4 * encoder, sliding_windows=windows)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": rotary}
    return dict(
        both,
        hidden_size=decoder,
        intermediate_size=4 * decoder,
        encoder_config=own,
        rope_parameters=rope,
    )


PUBLISHED = {
    "tiny": version_1(288, 6, 0.9),
    "base": version_1(416, 8, 0.62),
    "streaming-tiny": streaming(320, 320, 6, 8, 40, 0.8),
    "streaming-small": streaming(620, 512, 10, 8, 64, 0.5),
    "streaming-medium": streaming(768, 640, 14, 10, 64, 0.5),
}


def built(name: str, layers: int | None, vocabulary: int) -> PreTrainedModel:
    """A model as published, in float64, with so many layers where that is said."""
    sizes = PUBLISHED[name] | {
        "vocab_size": vocabulary,
        "decoder_start_token_id": 1,
        "pad_token_id": 2,
    }
    torch.manual_seed(0)
    if "encoder_config" not in sizes:
        cut = (
            {}
            if layers is None
            else {f"{stack}_num_hidden_layers": layers for stack in ("encoder", "decoder")}
        )
        model: PreTrainedModel = MoonshineForConditionalGeneration(MoonshineConfig(**sizes | cut))
    else:
        if layers is not None:
            own = sizes["encoder_config"]
            cut = {"num_hidden_layers": layers}
            sizes |= cut | {
                "encoder_config": own | cut | {"sliding_windows": [WIDE, NARROW][:layers]}
            }
        model = MoonshineStreamingForConditionalGeneration(MoonshineStreamingConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return model.double().eval()


def noise(lengths: tuple[float, ...]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [
        (0.075 * random.standard_normal(int(seconds * 16000))).astype(np.float32)
        for seconds in lengths
    ]


def said_by_stock(
    model: PreTrainedModel, clips: list[np.ndarray], max_new_tokens: list[int], base: BaseModel
) -> Decoded:
    rows = []
    for clip, cap in zip(clips, max_new_tokens, strict=True):
        audio = torch.from_numpy(clip).double()[None]
        mask = torch.ones_like(audio, dtype=torch.long)
        tokens = model.generate(
            input_values=audio, attention_mask=mask, max_new_tokens=cap, do_sample=False
        )
        rows.append(tokens[0, 1:].tolist())
    truncated = [row[-1] not in base.decoder.ends for row in rows]
    return Decoded(
        [row if cut else row[:-1] for row, cut in zip(rows, truncated, strict=True)], truncated
    )


def check(name: str, layers: int | None, rate: float, folder: Path, vocabulary: int) -> None:
    """One training step, the words of the untuned model and those of the exported adapter, against
    stock.
    """
    stock = built(name, layers, vocabulary)
    base = wrap_model(ModelSpec(id="published"), copy.deepcopy(stock), tokenizer(), CPU)
    lengths: tuple[float, ...] = SECONDS if layers is None else FEW_SECONDS
    if layers is not None and "tiny" not in name:
        lengths = lengths[:2]
    clips, texts = noise(lengths), ["left", "right climb nine", "one two three four five six"]
    store = EncoderCache(base.family, {"train": clips}, 1 << 30, CPU)
    data = TrainingSet(base.labels(texts)[:2], 2)
    trial = params(batch_size=2, learning_rate=0.1)
    made = (base, store, data, clips, texts)
    pack, _ = packed(made, [trial, params(batch_size=1, rank=2)], steps=1)
    got, expected = pack.read(pack.flat, 0), alone(copy.deepcopy(stock), made, trial, steps=1)
    assert got.keys() == expected.keys()
    assert max(float((got[key] - expected[key]).abs().max()) for key in got) < 1e-8

    max_new_tokens = token_caps(lengths, rate)
    adapter = pack.adapter(0)
    (heard,) = transcribe(base, store, "train", max_new_tokens, ())
    (tuned,) = transcribe(base, store, "train", max_new_tokens, [(adapter, 1.0)])
    assert heard == said_by_stock(stock, clips, max_new_tokens, base)
    export(base.linears, adapter, 1.0, base.spec, folder / name)
    merged = peft.PeftModel.from_pretrained(stock, str(folder / name)).merge_and_unload()
    assert tuned == said_by_stock(merged, clips, max_new_tokens, base) != heard


# One of each family; the others differ in numbers alone.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("tiny", "streaming-tiny") else pytest.mark.slow)
        for name in PUBLISHED
    ],
)
def test_a_published_configuration_trains_hears_and_exports_as_stock_does(
    name: str, tmp_path: Path
) -> None:
    check(name, 1, 0.5, tmp_path, vocabulary=512)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_so_does_the_whole_of_it(name: str, tmp_path: Path) -> None:
    check(name, None, 6.5, tmp_path, vocabulary=36864)
