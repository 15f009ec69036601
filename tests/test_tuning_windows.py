"""The encoder's windows are those of the installed transformers, whichever form its mask has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers.models.moonshine_streaming import modeling_moonshine_streaming as stock

from orchestrator.errors import ModelError
from orchestrator.tuning.model.families import Streaming
from orchestrator.tuning.model.layout import laid_out
from orchestrator.tuning.model.windows import EncoderWindow
from tests.tuning_models import clips_and_texts, small_model


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
    expected = model.model.encoder(samples, attention_mask=torch.ones_like(samples, dtype=torch.long))
    torch.testing.assert_close(ours, expected.last_hidden_state, rtol=0, atol=1e-10)


def test_the_installed_form_is_one_of_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(Streaming(small_model("streaming")).windows) in [windows for _, windows in FORMS.values()]


def test_a_mask_that_is_no_window_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "sliding_window_mask_function", lambda window: lambda b, h, q, k: (q + k) % 2 == 0)
    with pytest.raises(ModelError, match="encoder layer 0 of the model no sliding window"):
        Streaming(small_model("streaming"))
