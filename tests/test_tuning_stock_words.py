"""Adapters trained and exported by us, heard by stock transformers and PEFT: the same words for every utterance, but
where two tokens are equally likely to the last bits of float32 and the order of a sum decides between them."""

from __future__ import annotations

from pathlib import Path

import peft
import pytest
from transformers import AutoModelForSpeechSeq2Seq

from orchestrator.records.worker import Measured
from orchestrator.tuning.engine import PackWorker
from tests.embedded import small_sweep, stock_words, trial
from tests.tuning_models import ALL_LINEAR, ATTENTION, DECODER

TUNED = {
    0: {"replay_ratio": 0.5, "learning_rate": 1e-2, "adapter_scales": (0.5,), "target_patterns": DECODER},
    1: {"adapter": "dora", "target_patterns": ATTENTION, "learning_rate": 5e-3, "lora_dropout": 0.1},
    2: {"adapter": "pissa", "target_patterns": ALL_LINEAR, "learning_rate": 1e-3, "adapter_scales": (0.75,)},
}

TIE = 1e-5
"""Logits here are tens: what differs by less is rounding."""


@pytest.mark.parametrize("size", [6, pytest.param(500, marks=pytest.mark.slow)])
def test_stock_peft_hears_what_was_scored(size: int, tmp_path: Path) -> None:
    spec = small_sweep(tmp_path, {"train": 40, "replay": 24, "domain": size, "heldout": size})
    worker = PackWorker(spec, tmp_path / "cache")
    untuned = worker.measure_baseline().hypotheses[0]
    for number, changes in TUNED.items():
        worker.admit(trial(spec, number, **changes))
    ended = 0
    while worker.active:
        for event in worker.advance():
            if not (isinstance(event, Measured) and event.final):
                continue
            folder = tmp_path / str(event.number)
            worker.export(event.number, event.measurements[-1].adapter_scale, folder)
            base = AutoModelForSpeechSeq2Seq.from_pretrained(spec.model.id)
            model = peft.PeftModel.from_pretrained(base, folder).eval()
            for name, path in (("domain", spec.data.domain), ("heldout", spec.data.heldout)):
                heard = stock_words(spec, path, model)
                differs = [
                    (ours, words, margin)
                    for ours, (words, margin) in zip(event.hypotheses[-1][name], heard, strict=True)
                    if ours != words
                ]
                assert all(margin < TIE for _, _, margin in differs), (event.number, name, differs)
                assert len(differs) <= size // 250, (event.number, name, differs)
            assert event.hypotheses[-1] != untuned, event.number
            worker.release(event.number)
            ended += 1
    assert ended == len(TUNED)
