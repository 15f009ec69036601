"""Adapters trained and exported by us, heard by stock transformers and PEFT: the same words for
every utterance.

All utterances of the shipped sets in float64, a few in the float32 of a sweep: one or two of
thousands meet tokens that are equally likely to the last bits of float32. There `generate`, which
rounds logits to float32 in any case, takes the first; then the stock model's own unrounded logits
must choose every token as we did.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.records.worker_protocol import Measured
from orchestrator.tuning import prepared_sweep
from orchestrator.tuning.model.base_model import load_base_model
from orchestrator.tuning.worker import start_worker
from tests.embedded import is_greedy, small_sweep, stock_words, trial
from tests.tuning_models import ALL_LINEAR, ATTENTION, DECODER

pytestmark = pytest.mark.usefixtures("without_model_checks")

TUNED = {
    0: {
        "replay_ratio": 0.5,
        "learning_rate": 5e-2,
        "scheduler": "constant",
        "adapter_scales": (0.5,),
        "target_patterns": DECODER,
    },
    1: {
        "adapter": "dora",
        "target_patterns": ATTENTION,
        "learning_rate": 5e-2,
        "scheduler": "constant",
        "lora_dropout": 0.1,
    },
    2: {
        "adapter": "pissa",
        "target_patterns": ALL_LINEAR,
        "learning_rate": 2e-2,
        "scheduler": "constant",
        "adapter_scales": (0.75,),
    },
}


@pytest.mark.parametrize(
    ("size", "steps", "dtype"),
    [(2, 4, torch.float32), pytest.param(500, 8, torch.float64, marks=pytest.mark.slow)],
)
def test_stock_peft_hears_what_was_scored(
    size: int, steps: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_sweep, "load_base_model", partial(load_base_model, dtype=dtype))
    spec = small_sweep(tmp_path, {"train": 16, "replay": 8, "domain": size, "heldout": size})
    worker = start_worker(spec, tmp_path / "cache")
    assert worker.base.model.dtype == dtype
    untuned = worker.measure_baseline().hypotheses[0]
    for number, changes in TUNED.items():
        worker.admit(trial(spec, number, **changes, max_steps=steps))
    ended = 0
    while worker.active:
        for event in worker.advance():
            if not (isinstance(event, Measured) and event.final):
                continue
            folder = tmp_path / str(event.number)
            worker.export(event.number, event.measurements[-1].adapter_scale, folder)
            base = AutoModelForSpeechSeq2Seq.from_pretrained(spec.model.id, dtype=dtype)
            model = peft.PeftModel.from_pretrained(base, folder).eval()
            for name, path in ((name, source.path) for name, source in spec.data.evaluated.items()):
                rows = zip(
                    load_manifest(path).utterances,
                    event.hypotheses[-1][name],
                    stock_words(spec, path, model),
                    strict=True,
                )
                for utterance, ours, words in rows:
                    if ours != words:
                        assert dtype == torch.float64 and is_greedy(spec, utterance, model, ours), (
                            utterance.id
                        )
            assert event.hypotheses[-1] != untuned, event.number
            worker.release(event.number)
            ended += 1
    assert ended == len(TUNED)
