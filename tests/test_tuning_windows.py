"""The encoder's windows are those of the installed transformers, whichever form its mask has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.models.moonshine_streaming import modeling_moonshine_streaming as stock

from orchestrator.errors import ModelError
from orchestrator.planning.trial_plan import first_plan
from orchestrator.records.transcription_settings import read_transcription, write_transcription
from orchestrator.sweepfile.evaluation import EncoderWindows, EvaluationSpec
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import export_merged
from orchestrator.tuning.adapters.peft_adapter import export, initial_adapter
from orchestrator.tuning.decoding.audio_files import open_model
from orchestrator.tuning.decoding.evaluation import Evaluator
from orchestrator.tuning.model.attention import REGISTER
from orchestrator.tuning.model.base_model import load_base_model, load_stock
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.families import Streaming
from orchestrator.tuning.model.layout import RaggedLayout, laid_out
from orchestrator.tuning.model.windows import EncoderWindow, SlidingWindowAttention
from orchestrator.tuning.window_readings import compare_windows, with_windows
from tests.embedded import DATA
from tests.running_support import make_spec
from tests.tuning_models import clips_and_texts, params, small_model, tokenizer

SHIPPED = ModelSpec(id=str(DATA / "base-model"))
CPU = torch.device("cpu")


def exclusive(window: tuple[int, int]) -> Callable[..., object]:
    left, right = window
    return lambda b, h, q, k: ((q - k >= 0) & (q - k < left)) | ((q - k < 0) & (k - q < right))


def inclusive(window: tuple[int, int]) -> Callable[..., object]:
    left, right = window
    return lambda b, h, q, k: ((q - k >= 0) & (q - k <= left)) | ((q - k < 0) & (k - q <= right))


FORMS = {
    "exclusive": (exclusive, [EncoderWindow(7, 2), EncoderWindow(7, 0)]),
    "inclusive": (inclusive, [EncoderWindow(8, 3), EncoderWindow(8, 0)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_either_form_of_the_mask_is_followed(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask, windows = FORMS[form]
    monkeypatch.setattr(stock, "sliding_window_mask_function", mask)
    model = small_model("streaming")
    family = Streaming(model)
    assert list(family.windows) == windows
    clips, _ = clips_and_texts(1, seed=3)
    frames, layout = laid_out(*family.front_end(clips), family.block)
    ours = layout.pad(family.encoder_layers(frames, layout, 0, 2))
    samples = torch.tensor(clips[0][: len(clips[0]) // 80 * 80]).double()[None]
    expected = model.model.encoder(
        samples, attention_mask=torch.ones_like(samples, dtype=torch.long)
    )
    torch.testing.assert_close(ours, expected.last_hidden_state, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "window", [(15, 3), (15, 0), (0, 0), (16, 4), (32, 0), (40, 20), (3, 33), (17, 32)], ids=str
)
def test_attention_in_blocks_is_masked_attention_over_all_frames(window: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = Streaming(small_model("streaming"), [EncoderWindow(*window)] * 2).block
    lengths = torch.tensor([5, 70, 1, 33, 60, 90])  # three clips in each of two slots
    layout = RaggedLayout(lengths, slots=2, block=block)
    states = torch.randn(3, 2, layout.places, 2, 4, dtype=torch.float64, requires_grad=True)
    query, key, value = states
    attention = SlidingWindowAttention(layout, EncoderWindow(*window))
    assert attention.mask.shape[-1] % REGISTER < REGISTER / 2
    found = attention(query, key, value, 0.5)
    distance = torch.arange(layout.places)[:, None] - torch.arange(layout.places)
    seen = (distance <= window[0]) & (distance >= -window[1])
    expected = torch.zeros_like(found)
    for slot in range(2):
        own = layout.clip[slot].where(layout.valid[slot], -1)
        scores = torch.einsum("qhd,khd->hqk", query[slot], key[slot]) * 0.5
        scores = scores.masked_fill(~(seen & (own[:, None] == own)), -torch.inf)
        expected[slot] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[slot])
    valid = layout.valid
    torch.testing.assert_close(found[valid], expected[valid], rtol=0, atol=1e-12)
    weight = torch.randn(found[valid].shape, dtype=torch.float64)
    gradients = [torch.autograd.grad((y[valid] * weight).sum(), states) for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_the_installed_form_is_one_of_the_two() -> None:
    assert list(Streaming(small_model("streaming")).windows) in [
        windows for _, windows in FORMS.values()
    ]


def test_a_mask_that_is_no_window_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stock, "sliding_window_mask_function", lambda window: lambda b, h, q, k: (q + k) % 2 == 0
    )
    with pytest.raises(ModelError, match="encoder layer 0 of the model no sliding window"):
        Streaming(small_model("streaming"))


def test_windows_of_more_layers_than_there_are_are_read_inclusively_too(tmp_path: Path) -> None:
    """As those of six layers that transformers takes where config.json lists none."""
    small_model("streaming", torch.float32).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["encoder_config"]["sliding_windows"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = ModelSpec(id=str(tmp_path))
    forms: tuple[EncoderWindows, ...] = ("stock", "inclusive")
    stock_form, inclusive_form = (
        load_base_model(spec, CPU, encoder_windows=form).family.windows for form in forms
    )
    assert stock_form == [EncoderWindow(15, 3)] * 2
    assert inclusive_form == [EncoderWindow(16, 4)] * 2


@pytest.mark.parametrize("installed", FORMS)
def test_inclusive_windows_are_those_of_an_inclusive_transformers(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = torch.randn(1, 80 * 300, generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(clip, dtype=torch.long)
    monkeypatch.setattr(stock, "sliding_window_mask_function", inclusive)
    expected = (
        load_stock(SHIPPED)[0].eval().model.encoder(clip, attention_mask=mask).last_hidden_state
    )
    monkeypatch.setattr(stock, "sliding_window_mask_function", FORMS[installed][0])
    base = load_base_model(SHIPPED, CPU, encoder_windows="inclusive")
    assert [tuple(window) for window in base.family.windows] == [(16, 4), (16, 0), (16, 0)]
    found = base.model.model.encoder(clip, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    frames, layout = laid_out(*base.family.front_end([clip[0].numpy()]), base.family.block)
    ours = layout.pad(base.family.encoder_layers(frames, layout, 0, 3))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_a_model_without_windows_refuses_the_field(tmp_path: Path) -> None:
    small_model("v1", torch.float32).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=r"has no encoder windows.*remove evaluation\.encoder_windows"
    ):
        load_stock(ModelSpec(id=str(tmp_path)), encoder_windows="inclusive")


def test_the_field_is_part_of_the_recipe_and_a_recipe_without_it_is_that_of_stock_windows() -> None:
    recipes = {
        form: first_plan(make_spec(evaluation=EvaluationSpec(encoder_windows=form))).recipe
        for form in ("stock", "inclusive")
    }
    assert recipes["stock"] != recipes["inclusive"]
    assert recipes["stock"] == first_plan(make_spec(evaluation=EvaluationSpec())).recipe


def test_the_windows_travel_with_an_adapter_and_are_in_the_configuration_of_a_merged_model(
    tmp_path: Path,
) -> None:
    base = load_base_model(SHIPPED, CPU, encoder_windows="inclusive")
    trial = params(target_patterns=("encoder.*.q_proj",))
    adapter = initial_adapter(base.linears, base.targets(trial.target_patterns), trial)
    export(base.linears, adapter, 1.0, SHIPPED, tmp_path / "adapter")
    evaluation = EvaluationSpec(encoder_windows="inclusive")
    write_transcription(evaluation, tmp_path / "adapter")
    export_merged(SHIPPED, tmp_path / "adapter", tmp_path / "merged", "inclusive")
    write_transcription(evaluation, tmp_path / "merged", merged=True)
    assert read_transcription(tmp_path / "merged").encoder_windows == "stock"
    for form in ("adapter", "merged"):
        assert open_model(str(tmp_path / form), CPU).family.windows == base.family.windows
    merged = ModelSpec(id=str(tmp_path / "merged"))
    assert load_base_model(merged, CPU).family.windows == base.family.windows
    with pytest.raises(ModelError, match=r"write evaluation\.encoder_windows: stock for it"):
        load_base_model(merged, CPU, encoder_windows="inclusive")
    further = load_base_model(merged, CPU)
    heard = Evaluator(further, EncoderCache(further.family, {}, 0, CPU), {}, EvaluationSpec())
    assert compare_windows(heard, "stock") is None, "there is no other reading of its windows"


def test_other_windows_share_the_weights_and_give_other_frames() -> None:
    base = load_base_model(SHIPPED, CPU)
    other = with_windows(base, [EncoderWindow(16, 4), EncoderWindow(16, 0), EncoderWindow(16, 0)])
    clip = torch.randn(80 * 300, generator=torch.Generator().manual_seed(1)).numpy()
    frames, layout = laid_out(*base.family.front_end([clip]), base.family.block)
    ours, theirs = (each.family.encoder_layers(frames, layout, 0, 3) for each in (base, other))
    assert other.model is base.model and not torch.allclose(ours, theirs, atol=1e-3)
