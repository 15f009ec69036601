"""`layers`: which modules of each stack get an adapter."""

from __future__ import annotations

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.sweepfile.layer_ranges import is_layer_range, layers_of
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.peft_adapter import resolve_targets
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from tests.test_tuning_pack import packed, scene
from tests.tuning_models import ALL_LINEAR, DECODER, params, small_model, tokenizer


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return wrap_model(
        ModelSpec(id="small"), small_model("streaming"), tokenizer(), torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("all", 6, [0, 1, 2, 3, 4, 5]),
        ("lower-half", 6, [0, 1, 2]),
        ("upper-half", 6, [3, 4, 5]),
        ("lower-half", 5, [0, 1]),
        ("upper-half", 5, [2, 3, 4]),
        ("first-2", 6, [0, 1]),
        ("last-2", 6, [4, 5]),
        ("last-6", 6, [0, 1, 2, 3, 4, 5]),
        ("2-4", 6, [2, 3, 4]),
        ("5-5", 6, [5]),
    ],
)
def test_the_layers_of_a_form(text: str, count: int, expected: list[int]) -> None:
    assert is_layer_range(text) and list(layers_of(text, count)) == expected


@pytest.mark.parametrize(
    ("text", "count"), [("lower-half", 1), ("first-7", 6), ("last-7", 6), ("4-6", 6)]
)
def test_what_a_stack_does_not_have_is_an_error(text: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"layers {text} is not within a stack of {count}"):
        layers_of(text, count)


def test_other_words_are_no_form() -> None:
    assert not any(
        map(
            is_layer_range,
            ("", "half", "last-0", "4", "4-2", "-2", "first-x", "upper-half ", "1-2-3"),
        )
    )


def test_each_stack_is_counted_on_its_own(base: BaseModel) -> None:
    upper = resolve_targets(base.modules, ALL_LINEAR, "upper-half")
    assert {name.split(".layers.")[0] + name.split(".")[2] for name in upper} == {
        "encoder1",
        "decoder1",
    }
    whole = resolve_targets(base.modules, ALL_LINEAR)
    assert upper == tuple(name for name in whole if ".layers.1." in name)
    assert resolve_targets(base.modules, ALL_LINEAR, "0-1") == whole
    assert base.first_adapted_layer(upper) == 1  # what lies below is computed once a sweep


def test_layers_that_leave_nothing_are_refused(base: BaseModel) -> None:
    refusals = {
        (ALL_LINEAR, "2-3"): "layers 2-3 is not within a stack of 2, which the encoder has. "
        "Choose others, or target_modules that leave the encoder out.",
        (DECODER, "last-3"): "layers last-3 is not within a stack of 2, which the decoder has. "
        "Choose others, or target_modules that leave the decoder out.",
        (
            ("decoder.layers.0.*.q_proj",),
            "last-1",
        ): "layers last-1 holds none of the decoder's target modules. "
        "Choose others, or target_modules that leave the decoder out.",
    }
    for (patterns, layers), words in refusals.items():
        with pytest.raises(ModelError) as caught:
            resolve_targets(base.modules, patterns, layers)
        assert str(caught.value) == words


def test_only_the_chosen_layers_are_trained() -> None:
    pack, _ = packed(
        scene("streaming"), [params(layers="last-1"), params(layers="first-1"), params()]
    )
    trained = [{name for name, _ in pack.read(pack.flat, slot)} for slot in range(3)]
    assert all(".layers.1." in name for name in trained[0]) and all(
        ".layers.0." in name for name in trained[1]
    )
    assert trained[0] | trained[1] == trained[2]
    for slot, own in enumerate(trained):
        moved = pack.read(pack.flat, slot)
        assert all(moved[name, "B"].abs().max() > 1e-4 for name in own)
