"""Small models of both real classes with random weights, a tokenizer, and clips of noise. They are
enough to test that computations are exact, not that recognition is good.
"""

from __future__ import annotations

import copy
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    MoonshineConfig,
    MoonshineForConditionalGeneration,
    MoonshineStreamingConfig,
    MoonshineStreamingForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from orchestrator.planning.trial_plan import TrialParams

SHIPPED = Path(__file__).parent.parent / "data" / "base-model"
WORDS = "zero one two three four five six seven eight nine turn left right heading climb".split()
ATTENTION = ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj")
ALL_LINEAR = (
    *ATTENTION,
    "encoder.layers.*.fc1",
    "encoder.layers.*.fc2",
    "decoder.*.fc1",
    "decoder.*.fc2",
)
DECODER = tuple(f"decoder.*.{part}_proj" for part in "qkvo")


def small_model(
    family: str,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    vocabulary: int = 40,
    positions: int = 128,
) -> PreTrainedModel:
    """Return a two-layer model of the real class, whose random weights spread enough to give
    different words for different clips.

    It is made once and then copied, which takes half as long. Torch's random generator is left in
    the state in which making the model leaves it.
    """
    model, drawn = _made_once(family, seed, vocabulary, positions)
    torch.set_rng_state(drawn)
    return copy.deepcopy(model).to(dtype)


@cache
def _made_once(
    family: str, seed: int, vocabulary: int, positions: int
) -> tuple[PreTrainedModel, torch.Tensor]:
    """Make a model; return it, and the state of torch's random generator afterwards."""
    torch.manual_seed(seed)
    ids = dict(
        pad_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        vocab_size=vocabulary,
    )
    if family == "streaming":
        size = dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
        size["max_position_embeddings"] = positions
        encoder = dict(**size, sliding_windows=[[8, 3], [8, 0]])
        model = MoonshineStreamingForConditionalGeneration(
            MoonshineStreamingConfig(**size, **ids, encoder_config=encoder)
        )
    else:
        model = MoonshineForConditionalGeneration(
            MoonshineConfig(
                **ids,
                hidden_size=32,
                intermediate_size=48,
                encoder_num_hidden_layers=2,
                decoder_num_hidden_layers=2,
                encoder_num_attention_heads=2,
                decoder_num_attention_heads=2,
                max_position_embeddings=positions,
            )
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval(), torch.get_rng_state()


def small_model_folder(folder: Path, family: str = "streaming") -> Path:
    """Write a model folder as the hub has them, with random weights and the shipped tokenizer."""
    model = small_model(family, torch.float32, vocabulary=384, positions=2048)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(SHIPPED / name, folder)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that has one token for each of `WORDS`."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {word: 3 + i for i, word in enumerate(WORDS)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
    )


def clips_and_texts(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Return bursts of noise, float32 of 3,200 to 11,120 samples, and texts of 2 to 8 words."""
    random = np.random.default_rng(seed)
    clips = [
        (0.075 * random.standard_normal(80 * int(random.integers(40, 140)))).astype(np.float32)
        for _ in range(count)
    ]
    texts = [" ".join(random.choice(WORDS, int(random.integers(2, 9)))) for _ in range(count)]
    return clips, texts


def params(**changes: object) -> TrialParams:
    """Return parameters of a small trial, with `changes`."""
    values: dict[str, object] = dict(
        learning_rate=3e-3, max_steps=6, batch_size=2, rank=4, alpha=4.0, target_patterns=ATTENTION
    )
    return TrialParams.model_validate(values | changes)
