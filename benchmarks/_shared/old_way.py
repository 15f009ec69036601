"""The recipe by which Moonshine used to be tuned, and what it should have been: one plain script
with seven switches.

Stock transformers and PEFT, nothing of the product. The old way is found in public tuning scripts
of 2025 and 2026: a transformers before 5.15, whose Moonshine models shifted the labels twice
(huggingface/transformers #46784); labels as the tokenizer gives them, without an end; a learning
rate of 1e-5; steps that count micro-batches; the new domain alone; the whole of the adapter; beams
with two penalties. Everything else is the same in both: rank 8, alpha 8, q, k, v and o everywhere,
eight utterances an update, warm-up over a tenth, linear decay, gradients clipped at 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import peft
import torch
from peft.tuners.lora import LoraLayer
from plain_script import EVAL_BATCH, RATE, TARGETS
from torch import Tensor
from transformers import AutoModelForSpeechSeq2Seq
from transformers.loss.loss_utils import ForCausalLMLoss

UPDATE = 8
"""Utterances per optimizer step: one batch of eight, or eight micro-batches of one."""

PENALTIES = {"num_beams": 5, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2}


@dataclass(frozen=True)
class Recipe:
    """One way to train and to decode; the defaults are the right ones."""

    name: str
    learning_rate: float = 5e-3
    shifted_twice: bool = False
    """The loss of transformers before 5.15: position i learns the token after the next one."""
    end: bool = True
    """Whether labels end in EOS; otherwise they are what `tokenizer(text)` gives."""
    replay: bool = True
    """Whether half of every update is general speech; otherwise all of it is of the domain."""
    micro_batches: bool = False
    """Whether a step counts one utterance, so that eight steps make one update."""
    adapter_scale: float = 0.5
    """What the adapter's change of a weight is multiplied by after training (Wortsman et al. 2022,
    WiSE-FT).
    """
    penalties: bool = False
    """Decode with five beams, a repetition penalty and a ban of repeated bigrams."""

    def updates(self, steps: int) -> int:
        """Convert `steps`, as the recipe counts them, to optimizer steps."""
        return max(1, steps // UPDATE) if self.micro_batches else steps

    @property
    def training(self) -> Recipe:
        """The recipe reduced to what its training depends on: it is equal for recipes that differ
        in decoding alone.
        """
        return replace(self, name="", adapter_scale=1.0, penalties=False)


RIGHT = Recipe("right way")
EACH_FAULT = (
    Recipe("labels shifted twice", shifted_twice=True),
    Recipe("no EOS in the labels", end=False),
    Recipe("learning rate 1e-5", learning_rate=1e-5),
    Recipe("micro-batches counted as steps", micro_batches=True),
    Recipe("no replay", replay=False),
    Recipe("full adapter scale", adapter_scale=1.0),
    Recipe("beams and penalties", penalties=True),
)
OLD = Recipe(
    "old way",
    1e-5,
    shifted_twice=True,
    end=False,
    replay=False,
    micro_batches=True,
    adapter_scale=1.0,
    penalties=True,
)
OLD_FASTER = replace(
    OLD, name="old way at 5e-3, steps as updates", learning_rate=5e-3, micro_batches=False
)


@dataclass(frozen=True)
class Speech:
    """A set: its clips, float32 of shape (samples,), and their transcripts."""

    clips: Sequence[np.ndarray]
    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.clips)


def labels(recipe: Recipe, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return label ids (texts, tokens), int64, padded with -100."""
    if recipe.end:
        rows = [
            [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            for text in texts
        ]
    else:
        rows = [tokenizer(text).input_ids for text in texts]
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=-100
    )


def loss_of(recipe: Recipe, model: Any, inputs: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Run the stock forward pass and return its loss. The old loss shifts the labels once more,
    though the decoder's input is shifted already.

    Before transformers 5.15 the model called `ForCausalLMLoss(logits, labels)`, which moves the
    labels one to the left, as is right for a decoder-only model.
    """
    output = model(**inputs, labels=ids)
    if not recipe.shifted_twice:
        loss: Tensor = output.loss
    else:
        loss = ForCausalLMLoss(output.logits, ids, vocab_size=output.logits.shape[-1])
    return loss


def fresh_model(folder: str, seed: int) -> Any:
    """Load the base model and put an untrained adapter on it."""
    base = AutoModelForSpeechSeq2Seq.from_pretrained(folder)
    torch.manual_seed(seed)
    return peft.get_peft_model(
        base, peft.LoraConfig(r=8, lora_alpha=8, target_modules=TARGETS["attention"])
    )


def chosen(
    recipe: Recipe, train: int, replay: int, updates: int, seed: int
) -> Iterator[list[tuple[str, int]]]:
    """Yield the utterances of every update as (set, row); each pass over a set has a new order."""

    def endless(size: int, name: str) -> Iterator[tuple[str, int]]:
        random = np.random.default_rng([seed, size])
        while True:
            yield from ((name, int(row)) for row in random.permutation(size))

    domain, general = endless(train, "train"), endless(replay, "replay")
    half = UPDATE // 2
    for _ in range(updates):
        first = [next(domain) for _ in range(half)]
        yield first + [next(general if recipe.replay else domain) for _ in range(UPDATE - half)]


def training(
    recipe: Recipe, model: Any, processor: Any, sets: dict[str, Speech], updates: int, seed: int
) -> Iterator[float]:
    """Train `model` in place; yield the loss of every update, as the recipe computes it."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0)
    warmup = max(1, updates // 10)
    for update, rows in enumerate(
        chosen(recipe, len(sets["train"]), len(sets["replay"]), updates, seed)
    ):
        # linear warm-up over a tenth of the updates, then linear decay
        share = min((update + 1) / warmup, (updates - update) / max(1, updates - warmup))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * share
        size = 1 if recipe.micro_batches else UPDATE
        total = 0.0
        for start in range(0, UPDATE, size):
            part = rows[start : start + size]
            inputs = heard_by(processor, [sets[name].clips[row] for name, row in part])
            ids = labels(recipe, processor.tokenizer, [sets[name].texts[row] for name, row in part])
            loss = loss_of(recipe, model, inputs, ids) * size / UPDATE
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield total


def heard_by(processor: Any, clips: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """Return the clips as the model's inputs: padded audio (clips, samples) and attention mask."""
    batch = processor(
        list(clips), sampling_rate=RATE, return_attention_mask=True, return_tensors="pt"
    )
    return {"input_values": batch["input_values"], "attention_mask": batch["attention_mask"]}


@contextmanager
def merged(model: Any, adapter_scale: float) -> Iterator[None]:
    """While the context lasts, the adapter is merged into the base weights, at `adapter_scale`."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.scale_layer(adapter_scale)
    model.eval()
    model.merge_adapter()
    yield
    model.unmerge_adapter()
    model.train()
    for layer in layers:
        layer.unscale_layer()


@torch.inference_mode()
def transcribe(
    penalties: bool,
    model: Any,
    processor: Any,
    clips: Sequence[np.ndarray],
    tokens_per_second: float,
) -> tuple[list[str], float]:
    """Return the transcripts in the order of `clips`, and the share of them that the cap of tokens
    cut off.

    Greedy decoding gives a clip of s seconds at most floor(tokens_per_second * s) + 2 tokens. With
    penalties, beams are searched, and the cap is that of the longest clip of the batch.
    """
    order = sorted(range(len(clips)), key=lambda row: len(clips[row]))
    heard, cut = [""] * len(clips), 0
    tokenizer = processor.tokenizer
    for start in range(0, len(order), EVAL_BATCH):
        rows = order[start : start + EVAL_BATCH]
        max_new_tokens = [int(tokens_per_second * len(clips[row]) / RATE) + 2 for row in rows]
        options = PENALTIES if penalties else {"num_beams": 1}
        inputs = heard_by(processor, [clips[row] for row in rows])
        ids = model.generate(
            **inputs, max_new_tokens=max(max_new_tokens), do_sample=False, **options
        )
        for row, cap, tokens in zip(rows, max_new_tokens, ids[:, 1:].tolist(), strict=True):
            kept = tokens if penalties else tokens[:cap]
            cut += tokenizer.eos_token_id not in kept
            heard[row] = tokenizer.decode(kept, skip_special_tokens=True)
    return heard, cut / len(clips)
