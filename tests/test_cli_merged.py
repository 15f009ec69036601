"""`export --merged`: the merged folder computes what base and adapter compute together."""

from __future__ import annotations

import shutil
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

from orchestrator.errors import ModelError
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import export_merged

BASE = Path(__file__).resolve().parents[1] / "data" / "base-model"


def test_merged_weights_are_those_of_base_and_adapter(tmp_path: Path) -> None:
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(base, config)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    name, module = next((n, m) for n, m in tuned.named_modules() if n.endswith("q_proj"))
    expected = module.get_base_layer().weight + module.get_delta_weight("default")
    export_merged(ModelSpec(id=str(BASE)), tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "merged")
    found = merged.get_submodule(name.removeprefix("base_model.model.")).weight
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert AutoProcessor.from_pretrained(tmp_path / "merged").tokenizer.vocab_size


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded"):
        export_merged(ModelSpec(id=str(tmp_path / "empty")), tmp_path, tmp_path / "merged")


def test_a_processor_is_left_out_only_where_there_is_none(tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(BASE, base)
    tuned = peft.get_peft_model(
        AutoModelForSpeechSeq2Seq.from_pretrained(base),
        peft.LoraConfig(r=4, target_modules=["q_proj"]),
    )
    tuned.save_pretrained(str(tmp_path / "adapter"))
    (base / "processor_config.json").write_text("{damaged")
    with pytest.raises(ModelError, match=r"processor_config\.json' is not a valid JSON file"):
        export_merged(ModelSpec(id=str(base)), tmp_path / "adapter", tmp_path / "merged")
    (base / "processor_config.json").unlink()
    export_merged(ModelSpec(id=str(base)), tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
