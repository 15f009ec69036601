"""How much hangs on the reading of the encoder's window widths: one sample of the domain set, heard
in both forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import MoonshineStreamingForConditionalGeneration

from orchestrator.records.short_run import WindowComparison
from orchestrator.sweepfile.sweep import EncoderWindows, ModelSpec
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.decoding.greedy_decoding import transcribe
from orchestrator.tuning.model.base_model import BaseModel, load_stock
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.families import Streaming
from orchestrator.tuning.model.windows import EncoderWindow, windows_text

MEMORY = 2**28
"""Bytes that the frames of the sample may keep."""


def compare_windows(evaluator: Evaluator, used: EncoderWindows) -> WindowComparison | None:
    """The domain set in the windows of `evaluator` and in the other reading; None where there is no
    difference.
    """
    base = evaluator.base
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
    """The same streaming model with other encoder windows; its weights are shared."""
    model = base.model
    assert isinstance(model, MoonshineStreamingForConditionalGeneration)
    return replace(base, family=Streaming(model, windows))


def _windows_of(spec: ModelSpec, form: EncoderWindows) -> list[EncoderWindow]:
    """The windows of a model as its files give them in one form: those of a loaded model may have
    been changed.
    """
    model, _ = load_stock(spec, torch.float32, form)
    assert isinstance(model, MoonshineStreamingForConditionalGeneration)
    return Streaming(model).windows
