"""`export --merged`: the merged folder computes what base and adapter compute together."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import soundfile
import torch
from transformers import (
    AutoConfig,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
    GenerationConfig,
)

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ModelError
from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.reporting.cards.load_script import _audio, load_script
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import export_merged, with_adapter
from orchestrator.tuning.decoding.audio_files import open_model, transcribe_files
from orchestrator.tuning.model.base_model import load_base_model
from tests.embedded import cut_manifest, stock_audio
from tests.tuning_models import small_model_folder

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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_checkpoint_of_half_precision_keeps_the_whole_update(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE, dtype=dtype)
    base.save_pretrained(tmp_path / "base")
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, tmp_path / "base")
    model = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "base", dtype=torch.float32)
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(model, config)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    export_merged(ModelSpec(id=str(tmp_path / "base")), tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "merged")
    expected = tuned.merge_and_unload().state_dict()
    torch.testing.assert_close(merged.state_dict(), expected, rtol=0, atol=1e-6)


def test_generate_decodes_greedily_whatever_the_checkpoint_asked_for(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    place = tmp_path / "base" / "generation_config.json"
    asked = json.loads(place.read_text())
    searching = {"num_beams": 5, "no_repeat_ngram_size": 2, "max_length": 77}
    place.write_text(json.dumps(asked | searching))
    tuned = peft.get_peft_model(
        AutoModelForSpeechSeq2Seq.from_pretrained(BASE),
        peft.LoraConfig(r=4, target_modules=["q_proj"]),
    )
    tuned.save_pretrained(str(tmp_path / "adapter"))
    export_merged(ModelSpec(id=str(tmp_path / "base")), tmp_path / "adapter", tmp_path / "merged")
    written = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert not written.keys() & {"num_beams", "no_repeat_ngram_size"}
    assert written["max_length"] == 77
    assert written["eos_token_id"] == asked["eos_token_id"]
    assert written["decoder_start_token_id"] == asked["decoder_start_token_id"]


def test_the_script_of_an_adapter_hears_greedily_in_float32_whatever_the_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE, dtype=torch.bfloat16)
    base.generation_config.update(num_beams=5, begin_suppress_tokens=list(range(3, 300)))
    base.save_pretrained(tmp_path / "base")
    model = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "base", dtype=torch.float32)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=1, eos_token_id=2, pad_token_id=2
    )
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"]))
    tuned.save_pretrained(str(tmp_path / "adapter"))
    said = said_by_script(tmp_path, monkeypatch, capsys)
    assert said == said_by_stock(model, tmp_path) != ""


def said_by_script(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    clip: Path | None = None,
) -> str:
    """What load.py prints of a clip, of the domain set where none is given, with the adapter and
    the base model in a folder.
    """
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, folder / "adapter")
    evaluation = EvaluationSpec(max_tokens_per_second=10, rms=0.075)
    script = folder / "load.py"
    script.write_text(load_script(ModelSpec(id=str(folder / "base")), evaluation))
    heard = clip or load_manifest(cut_manifest("domain", 1, folder)).utterances[0].audio
    monkeypatch.setattr("sys.argv", ["load.py", str(folder / "adapter"), str(heard)])
    runpy.run_path(str(script))
    return capsys.readouterr().out.removesuffix("\n")


def said_by_stock(model: Any, folder: Path) -> str:
    """What stock `generate` hears in the same clip."""
    clip = load_manifest(cut_manifest("domain", 1, folder)).utterances[0]
    sound = stock_audio(scale_to_rms(load_audio(clip).samples, 0.075)[0], model)
    mask = torch.ones_like(sound).long()
    tokens = model.generate(input_values=sound, attention_mask=mask, max_new_tokens=100)[0]
    return str(AutoTokenizer.from_pretrained(BASE).decode(tokens, skip_special_tokens=True)).strip()


@pytest.mark.parametrize(
    ("generation", "config"),
    [
        ({"eos_token_id": None}, {}),
        ({"eos_token_id": None}, {"eos_token_id": None}),
        ({"decoder_start_token_id": None, "bos_token_id": None}, {}),
        ({"pad_token_id": -1}, {"pad_token_id": -1}),
    ],
    ids=[
        "an end in config.json",
        "an end in the tokenizer",
        "a start in config.json",
        "no padding",
    ],
)
def test_special_tokens_that_generation_config_lacks_are_those_of_the_sweep(
    generation: dict[str, int | None],
    config: dict[str, int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    for name, changes in (("generation_config.json", generation), ("config.json", config)):
        place = tmp_path / "base" / name
        place.write_text(json.dumps(json.loads(place.read_text()) | changes))
    whole = AutoModelForSpeechSeq2Seq.from_pretrained(BASE)
    tuned = peft.get_peft_model(whole, peft.LoraConfig(r=4, target_modules=["q_proj"]))
    tuned.save_pretrained(str(tmp_path / "adapter"))
    spec = ModelSpec(id=str(tmp_path / "base"))
    base = load_base_model(spec, torch.device("cpu"))
    export_merged(spec, tmp_path / "adapter", tmp_path / "merged")
    merged = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "merged")
    again = load_base_model(ModelSpec(id=str(tmp_path / "merged")), base.device)
    assert (again.decoder.start, again.decoder.ends) == (base.decoder.start, base.decoder.ends)
    said = said_by_stock(tuned, tmp_path)
    assert said_by_stock(merged, tmp_path) == said != ""
    assert said_by_script(tmp_path, monkeypatch, capsys) == said


@pytest.mark.parametrize("loud", [0.1, 5e-5, 0.0], ids=["noise", "hardly any sound", "none"])
def test_the_script_hears_sound_of_any_level_in_frames_of_any_length(
    loud: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_model_folder(tmp_path / "usual")
    config = AutoConfig.from_pretrained(tmp_path / "usual")
    config.encoder_config.frame_ms = 10.0
    torch.manual_seed(0)
    model = AutoModelForSpeechSeq2Seq.from_config(config)
    model.save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BASE / name, tmp_path / "base")
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj"]))
    tuned.save_pretrained(str(tmp_path / "adapter"))
    sound = np.random.default_rng(0).normal(0, loud, 160 * 40 + 80)
    soundfile.write(tmp_path / "clip.wav", sound, 16000, subtype="FLOAT")
    said = said_by_script(tmp_path, monkeypatch, capsys, tmp_path / "clip.wav")
    base = open_model(str(tmp_path / "base"), torch.device("cpu"))
    (heard,) = transcribe_files(
        base, [str(tmp_path / "clip.wav")], rms=0.075, max_tokens_per_second=10
    )
    assert said == heard.text != ""


@pytest.mark.parametrize("rms", [0.075, None])
@pytest.mark.parametrize("samples", [18560, 36480, 16001])
def test_the_script_prepares_sound_and_cap_as_the_evaluation_does(
    samples: int, rms: float | None, tmp_path: Path
) -> None:
    """Also where a cap in whole tokens meets a length at which floats round, and beyond full scale."""
    place, random = tmp_path / "a.wav", np.random.default_rng(0)
    soundfile.write(place, random.normal(0, 0.4, samples).clip(-1.8, 1.8), 16000, subtype="FLOAT")
    evaluation = EvaluationSpec(max_tokens_per_second=25, rms=rms)
    names: dict[str, Any] = {
        **{"sys": sys, "soundfile": soundfile, "torch": torch, "file": str(place)},
        "model": SimpleNamespace(config=SimpleNamespace()),
    }
    exec(_audio(evaluation), names)
    sound = load_audio(Utterance(id="a", text="", audio=place)).samples
    expected = sound if rms is None else scale_to_rms(sound, rms)[0]
    assert np.abs(expected).max() > 0.2 + (rms is None)
    np.testing.assert_allclose(names["audio"][0].numpy(), expected, atol=1e-6)
    assert [names["cap"]] == token_caps([samples / 16000], 25)


def test_an_adapter_on_weights_that_are_in_two_places_is_not_merged(tmp_path: Path) -> None:
    base = AutoModelForSpeechSeq2Seq.from_pretrained(BASE)
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"])
    peft.get_peft_model(base, config).save_pretrained(str(tmp_path / "adapter"))
    with pytest.raises(ValueError, match=r"it adapts embed_tokens, whose weights .* in two places"):
        with_adapter(AutoModelForSpeechSeq2Seq.from_pretrained(BASE), tmp_path / "adapter")


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
    with pytest.raises(ModelError, match=r"processor_config\.json that is no JSON object"):
        export_merged(ModelSpec(id=str(base)), tmp_path / "adapter", tmp_path / "merged")
    (base / "processor_config.json").unlink()
    export_merged(ModelSpec(id=str(base)), tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "tokenizer.json").is_file()
