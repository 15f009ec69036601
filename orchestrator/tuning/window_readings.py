"""Comparing the two readings of the encoder's window widths, stock and inclusive, by what is heard
with each on a sample of the domain set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import MoonshineStreamingForConditionalGeneration

from orchestrator.records.short_run import WindowComparison
from orchestrator.sweepfile.evaluation import EncoderWindows
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.greedy_decoding import transcribe
from orchestrator.tuning.model.base_model import BaseModel, load_stock
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.families import Streaming
from orchestrator.tuning.model.windows import INCLUSIVE, EncoderWindow, windows_text

MEMORY = 2**28
"""Bytes that the frames of the sample may take."""


def compare_windows(evaluator: Evaluator, used: EncoderWindows) -> WindowComparison | None:
    """Compare the domain set as heard with the windows of `evaluator`, in the form `used`, and with
    those of the other form; None where there is no other: both forms give the same windows, or the
    model was exported with inclusive ones, which its configuration then asks stock for.
    """
    base = evaluator.base
    if getattr(base.model.config, INCLUSIVE, False):
        return None
    other_name: EncoderWindows = "inclusive" if used == "stock" else "stock"
    windows = _windows_of(base.spec, other_name) if base.family.windows else []
    if windows == base.family.windows:
        return None
    other = with_windows(base, windows)
    domain, heard = evaluator.sets["domain"], evaluator.baseline["domain"]
    store = EncoderCache(other.family, {"domain": domain.clips.sounds}, MEMORY, base.device)
    decoded = transcribe(other, store, "domain", domain.max_new_tokens, (), [heard.tokens])[0]
    texts, other_texts = (
        [base.text(tokens) for tokens in hypotheses.tokens] for hypotheses in (heard, decoded)
    )
    ours, theirs = (
        cache.compute([domain.clips[0]], base.encoder_depth).flat
        for cache in (evaluator.store, store)
    )
    return WindowComparison(
        used=windows_text(base.family.windows),
        other=windows_text(windows),
        other_name=other_name,
        change=float((ours - theirs).abs().max() / ours.abs().max()),
        utterances=len(texts),
        changed=sum(a != b for a, b in zip(texts, other_texts, strict=True)),
        wer=domain.score(texts, heard).wer,
        other_wer=domain.score(other_texts, decoded).wer,
    )


def with_windows(base: BaseModel, windows: Sequence[EncoderWindow]) -> BaseModel:
    """Return a streaming model with other encoder windows, which shares the weights of `base`."""
    model = base.model
    assert isinstance(model, MoonshineStreamingForConditionalGeneration)
    return replace(base, family=Streaming(model, windows))


def _windows_of(spec: ModelSpec, form: EncoderWindows) -> list[EncoderWindow]:
    """Return the windows of a model in one form. It is loaded anew from its files, because the
    configuration of a loaded model may have been changed.
    """
    model, _ = load_stock(spec, torch.float32, form)
    assert isinstance(model, MoonshineStreamingForConditionalGeneration)
    return Streaming(model).windows
