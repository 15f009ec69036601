"""Configurations as they are found: what stock transformers makes of them, or one sentence of what
is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from orchestrator.errors import ModelError, ObjectiveError
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.decoding.audio_files import decode_clips
from orchestrator.tuning.deploying.onnx_graphs import DecoderGraph, EncoderGraph
from orchestrator.tuning.model.base_model import BaseModel, load_base_model, load_stock
from orchestrator.tuning.model.configuration import NEUTRAL
from orchestrator.tuning.model.layout import laid_out
from orchestrator.tuning.model.windows import EncoderWindow
from tests.tuning_models import clips_and_texts, small_model, tokenizer

CPU = torch.device("cpu")
Edit = Callable[[Path], object]


def changed(name: str, **changes: Any) -> Edit:
    """Fields of a JSON file set, or taken out where the value is `...`."""

    def edit(folder: Path) -> None:
        fields = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(
            json.dumps({key: value for key, value in fields.items() if value is not ...})
        )

    return edit


def both(**changes: Any) -> Edit:
    """The same in the model's and in the generation configuration."""

    def edit(folder: Path) -> None:
        for name in ("config.json", "generation_config.json"):
            changed(name, **changes)(folder)

    return edit


def without(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def all_of(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for each in edits:
            each(folder)

    return edit


def encoder(**changes: Any) -> Edit:
    """Fields of the streaming encoder's own configuration set."""

    def edit(folder: Path) -> None:
        own = json.loads((folder / "config.json").read_text())["encoder_config"] | changes
        changed("config.json", encoder_config=own)(folder)

    return edit


@pytest.fixture(scope="module", params=["streaming", "v1"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saved(folder: Path, family: str, edit: Edit) -> Path:
    small_model(family, torch.float32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    edit(folder)
    return folder


def loaded(folder: Path) -> BaseModel:
    return load_base_model(ModelSpec(id=str(folder)), CPU)


CLIPS = clips_and_texts(3, seed=4)[0]
LOADS: dict[str, Edit] = {
    "as saved": both(),
    "no start": both(decoder_start_token_id=...),
    "no start in config.json": changed("config.json", decoder_start_token_id=...),
    "a start in generation_config.json alone": changed(
        "generation_config.json", decoder_start_token_id=5
    ),
    "no generation_config.json": without("generation_config.json"),
    "no start and no generation_config.json": all_of(
        without("generation_config.json"), changed("config.json", decoder_start_token_id=...)
    ),
    "no padding": both(pad_token_id=...),
    "padding null": both(pad_token_id=None),
    "ends in generation_config.json": changed("generation_config.json", eos_token_id=[2, 7, 9, 11]),
    "ends in a list": both(eos_token_id=[13, 2, 8]),
    "beams": changed("generation_config.json", num_beams=3, max_length=9),
    "no tokenizer_config.json": without("tokenizer_config.json"),
}


@pytest.mark.parametrize(
    ("label", "family"),
    [
        # Each with one family by default, the first with both.
        pytest.param(
            label,
            family,
            marks=() if number % 2 == place or not number else pytest.mark.slow,
        )
        for number, label in enumerate(LOADS)
        for place, family in enumerate(("streaming", "v1"))
    ],
)
def test_what_stock_loads_is_heard_as_stock_hears_it(
    label: str, family: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, family, LOADS[label])
    base, (stock, _) = loaded(folder), load_stock(ModelSpec(id=str(folder)))
    heard = decode_clips(base, CLIPS, max_tokens_per_second=30)
    ends = base.decoder.ends
    for clip, tokens, truncated in zip(CLIPS, heard.tokens, heard.truncated, strict=True):
        audio = torch.from_numpy(clip)[None]
        mask = torch.ones_like(audio, dtype=torch.long)
        most = int(30 * len(clip) / 16000) + 2
        said = stock.generate(
            input_values=audio,
            attention_mask=mask,
            max_new_tokens=most,
            num_beams=1,
            do_sample=False,
        )[0].tolist()
        assert said == [base.decoder.start, *tokens, *([] if truncated else said[-1:])]
        assert truncated == (said[-1] not in ends)
    (row,) = base.labels(["left right"])
    assert row[-1] == 2 and len(row) == 3
    assert base.text(row) == "left right"


def test_settings_that_are_ignored_are_noted(tmp_path: Path) -> None:
    neutral = {name: values[0] for name, values in NEUTRAL.items() if values}
    assert (
        loaded(saved(tmp_path / "a", "v1", changed("generation_config.json", **neutral))).notes
        == ()
    )
    asked = changed(
        "generation_config.json",
        num_beams=5,
        max_length=200,
        suppress_tokens=[4],
        no_repeat_ngram_size=2,
    )
    (note,) = loaded(saved(tmp_path / "b", "v1", asked)).notes
    assert note == (
        "generation_config.json asks for num_beams 5, max_length 200, no_repeat_ngram_size 2, suppress_tokens [4]; it "
        "is ignored: decoding is greedy, and as long as evaluation.max_tokens_per_second lets it be"
    )


def test_an_end_token_of_the_tokenizer_serves_where_no_configuration_says_one(
    tmp_path: Path,
) -> None:
    base = loaded(saved(tmp_path, "v1", both(eos_token_id=None)))
    assert (base.decoder.eos, base.decoder.ends) == (2, frozenset({2}))


def test_an_end_token_that_texts_hold_is_blamed_on_the_configuration(tmp_path: Path) -> None:
    edit = changed("generation_config.json", eos_token_id=[2, 13])
    base = loaded(saved(tmp_path, "v1", edit))
    assert base.labels(["left"])[0][-1] == 2
    with pytest.raises(ObjectiveError) as caught:
        base.labels(["turn left"])
    assert str(caught.value) == (
        "the model's eos_token_id has 13, 'turn', which texts such as 'turn left' hold: every one would end there. "
        "Take it out of generation_config.json and config.json."
    )


def rope(kind: str, **more: float) -> dict[str, Any]:
    return {
        "rope_type": kind,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "factor": 2.0,
        **more,
    }


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_other_rotary_frequencies_are_those_of_stock(
    kind: str, family: str, tmp_path: Path
) -> None:
    edit = changed("config.json", rope_parameters=rope(kind))
    folder = saved(tmp_path, family, edit)
    base, (stock, _) = loaded(folder), load_stock(ModelSpec(id=str(folder)))
    clip, row = CLIPS[0], base.labels(["left right climb"])[0]
    audio, inputs = torch.from_numpy(clip)[None], torch.tensor([[base.decoder.start, *row[:-1]]])
    mask = torch.ones_like(audio, dtype=torch.long)
    expected = stock(
        input_values=audio, attention_mask=mask, decoder_input_ids=inputs, use_cache=False
    ).logits
    assert (logits(base, clip, inputs) - expected).abs().max() < 1e-4
    windows: list[EncoderWindow] = getattr(base.family, "windows", [])
    assert (graph_logits(stock, windows, audio, inputs) - expected).abs().max() < 1e-4


@torch.no_grad()
def graph_logits(
    stock: Any, windows: list[EncoderWindow], audio: torch.Tensor, inputs: torch.Tensor
) -> torch.Tensor:
    """The same of the graphs that are exported."""
    _, keys, values = EncoderGraph(stock, windows).eval()(audio)
    past = torch.zeros(len(keys), 1, keys.shape[2], 0, keys.shape[4])
    logits: torch.Tensor = DecoderGraph(stock).eval()(inputs, past, past, keys, values)[0]
    return logits


@torch.no_grad()
def logits(base: BaseModel, clip: np.ndarray, inputs: torch.Tensor) -> torch.Tensor:
    """Teacher-forced logits (1, tokens, vocabulary) of one clip."""
    frames, layout = laid_out(*base.family.front_end([clip]), base.family.block)
    memory = base.family.memory(base.encode(frames, layout, 0), layout)
    logits: torch.Tensor = base.decoder.head(
        base.decoder(inputs, base.decoder.cross_keys(memory, layout), layout.mask)
    )
    return logits


def test_encoder_heads_that_share_keys_are_heard_as_stock_hears_them(tmp_path: Path) -> None:
    def shared(folder: Path) -> None:
        encoder(num_attention_heads=4, num_key_value_heads=2, head_dim=8)(folder)
        weights = load_file(folder / "model.safetensors")
        for name in weights:
            if name.startswith("model.encoder") and name.endswith(
                ("k_proj.weight", "v_proj.weight")
            ):
                weights[name] = weights[name][:16].contiguous()
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    folder = saved(tmp_path, "streaming", shared)
    base, (stock, _) = loaded(folder), load_stock(ModelSpec(id=str(folder)))
    inputs, audio = torch.tensor([[1, 5, 6]]), torch.from_numpy(CLIPS[1])[None]
    mask = torch.ones_like(audio, dtype=torch.long)
    expected = stock(
        input_values=audio, attention_mask=mask, decoder_input_ids=inputs, use_cache=False
    ).logits
    assert (logits(base, CLIPS[1], inputs) - expected).abs().max() < 1e-4


REFUSED: dict[str, tuple[str, Edit, str]] = {
    "no start at all": (
        "streaming",
        all_of(
            both(decoder_start_token_id=None, bos_token_id=None), without("tokenizer_config.json")
        ),
        "neither generation_config.json nor config.json nor the tokenizer says decoder_start_token_id. Write it in "
        "generation_config.json.",
    ),
    "no end at all": (
        "streaming",
        all_of(both(eos_token_id=None), without("tokenizer_config.json")),
        "the tokenizer says eos_token_id.",
    ),
    "an end beyond the vocabulary": (
        "v1",
        changed("generation_config.json", eos_token_id=[2, 40]),
        "eos_token_id is 40, and config.json gives the model a vocabulary of 40. Correct it in",
    ),
    "frequencies that grow": (
        "v1",
        changed("config.json", rope_parameters=rope("dynamic")),
        "config.json has rope_parameters.rope_type 'dynamic', whose frequencies change",
    ),
    "windows missing": (
        "streaming",
        encoder(sliding_windows=[[8, 3]]),
        "config.json has 1 encoder_config.sliding_windows for 2 layers; write one for every layer.",
    ),
    "another rate": (
        "streaming",
        encoder(sample_rate=8000, frame_ms=10.0),
        "config.json has encoder_config.sample_rate 8000, and all sound here is at 16000 Hz",
    ),
    "another vocabulary": (
        "v1",
        changed("config.json", vocab_size=41),
        "model.safetensors has model.decoder.embed_tokens.weight of shape [40, 32] and config.json asks for [41, 32]",
    ),
    "no tokenizer": (
        "v1",
        without("tokenizer.json"),
        "cannot be loaded: it has no tokenizer.json; copy it from where the model is from",
    ),
    "damaged weights": (
        "streaming",
        lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 40),
        "cannot be loaded: ",
    ),
    "no heads": (
        "streaming",
        changed("config.json", num_key_value_heads=...),
        "no attribute 'num_key_value_heads'. Next: the folder needs",
    ),
    "a wrong type": ("v1", changed("config.json", vocab_size="40"), "'vocab_size'"),
    "a token in quotes": (
        "v1",
        changed("generation_config.json", eos_token_id="2"),
        "eos_token_id is '2', and a token is a whole number. Correct it in generation_config.json",
    ),
    "a dtype as it is printed": (
        "v1",
        changed("config.json", dtype="torch.float32"),
        "a config.json of dtype `torch.float32`; write one of float32, float16",
    ),
    "quantised": (
        "v1",
        changed("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        "a quantization_config (`gptq`); adapters are trained on plain weights: take the checkpoint",
    ),
    "a byte order mark": (
        "v1",
        lambda folder: (folder / "config.json").write_bytes(
            b"\xef\xbb\xbf" + (folder / "config.json").read_bytes()
        ),
        "no JSON object in plain UTF-8, for it begins with a byte order mark; copy it again",
    ),
    "code of its own": (
        "v1",
        all_of(
            lambda folder: (folder / "own.py").write_text("raise SystemExit('code was run')"),
            changed(
                "tokenizer_config.json",
                tokenizer_class="Own",
                auto_map={"AutoTokenizer": ["own.Own", None]},
            ),
        ),
        "it has code of its own (auto_map), which is never run. Next: take a checkpoint of",
    ),
    "names of a wrapper": (
        "v1",
        lambda folder: save_file(
            {
                f"module.{name}": tensor
                for name, tensor in load_file(folder / "model.safetensors").items()
            },
            folder / "model.safetensors",
            {"format": "pt"},
        ),
        "and names such as module.model.decoder.embed_tokens.weight instead. Next: take",
    ),
}


@pytest.mark.parametrize("label", REFUSED)
def test_what_cannot_be_run_is_refused_in_one_sentence(
    label: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    family, edit, sentence = REFUSED[label]
    folder = saved(tmp_path, family, edit)
    capfd.readouterr()
    with pytest.raises(ModelError) as caught:
        loaded(folder)
    message = str(caught.value)
    assert sentence in message and str(folder) in message and "\n" not in message
    assert "LOAD REPORT" not in capfd.readouterr().err, "a table of transformers"


def test_weights_that_the_model_has_no_place_for_are_noted(tmp_path: Path) -> None:
    folder = saved(tmp_path, "v1", both())
    weights = load_file(folder / "model.safetensors") | {"ctc_head.weight": torch.zeros(2, 2)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert loaded(folder).notes == (
        "the weights hold 1 that the model has no place for, such as ctc_head.weight; "
        "they are left out",
    )


def test_a_head_that_is_not_the_embeddings_is_noted_and_taken(tmp_path: Path) -> None:
    tied = saved(tmp_path / "tied", "v1", changed("config.json", tie_word_embeddings=True))
    weights = load_file(tied / "model.safetensors")
    weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"] + 1
    save_file(weights, tied / "model.safetensors", {"format": "pt"})
    base = loaded(tied)
    assert base.notes == (
        "config.json ties the output head to the embeddings, and the weights hold a head of their own, which is taken",
    )
    assert torch.equal(base.model.proj_out.weight, weights["proj_out.weight"])
    del weights["proj_out.weight"]
    save_file(weights, tied / "model.safetensors", {"format": "pt"})
    assert loaded(tied).notes == ()


def test_without_the_hub_a_model_comes_from_the_cache_or_one_sentence_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub's client would ask six times for every file, also of a model in the cache."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    spec = ModelSpec(id="someone/small")
    with pytest.raises(ModelError) as caught:
        load_stock(spec)
    assert str(caught.value).startswith(
        "model 'someone/small' cannot be loaded: no folder has this name, "
        "http://127.0.0.1:9 does not answer ("
    )
    assert f"and the cache, {cache}, does not hold it. Next: check the network" in str(caught.value)
    place = cache / "models--someone--small"
    saved(place / "snapshots" / ("0" * 40), "v1", both())
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    assert load_stock(spec)[0].config.vocab_size == 40
    assert "Retry" not in caplog.text


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = saved(tmp_path, "streaming", both())
    weights = load_file(folder / "model.safetensors")
    del weights["proj_out.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"model\.safetensors has no proj_out\.weight"):
        loaded(folder)


def test_a_text_with_a_token_of_the_model_is_told_from_a_tokenizer_that_adds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = loaded(saved(tmp_path, "v1", both()))
    for text, token in (("<s> turn left", "<s>"), ("turn left </s>", "</s>")):
        with pytest.raises(ObjectiveError, match=f"holds {token}, a token with which this model"):
            base.labels([text])
    monkeypatch.setattr(type(base.tokenizer), "__call__", lambda *_, **__: Encoded([[1, 5, 2]]))
    with pytest.raises(ObjectiveError, match="the tokenizer adds special tokens to 'turn left'"):
        base.labels(["turn left"])


class Encoded(NamedTuple):
    input_ids: list[list[int]]


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    base = loaded(saved(tmp_path, "v1", both()))
    base.tokenizer.add_tokens(["fortytwo"])
    base.tokenizer.add_tokens([f"x{number}" for number in range(30)])
    with pytest.raises(
        ModelError,
        match=r"tokenizer.json gives 'x29' the token \d+, and config.json has a vocab_size",
    ):
        base.labels(["x29"])
