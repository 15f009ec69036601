"""Layers that the model does not have, or that hold none of a preset's modules, are found before
the model is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.records.readiness.target_checks import find_missing_layers
from orchestrator.sweepfile.loading import load_spec
from tests.cli_project import ROOT
from tests.test_spec_loading import SMALL

MINE = "{values: [attention, mine], presets: {mine: [decoder.layers.0.*.q_proj]}}"
FIXED = "{value: mine, presets: {mine: [decoder.layers.0.*.q_proj]}}"
NONE_OF_MINE = (
    "preset mine: layers last-1 holds none of the decoder's target modules. Choose others, or target_modules that "
    "leave the decoder out."
)
TOO_MANY = "preset {}: layers last-4 is not within a stack of 3, which the {} has. "


def found(tmp_path: Path, modules: str, layers: str, model: Path) -> list[str]:
    path = tmp_path / "sweep.yaml"
    own = "  target_modules: {values: [attention, mine], presets: {mine: [decoder.*.fc1]}}\n"
    assert own in SMALL
    lines = f"  target_modules: {modules}\n  layers: {layers}\n"
    path.write_text(SMALL.replace(own, lines).replace("some/model", str(model)))
    findings = list(find_missing_layers(load_spec(path)))
    assert {each.name for each in findings} <= {"targets"}
    return [each.message for each in findings]


@pytest.mark.parametrize(
    ("modules", "layers", "messages"),
    [
        (MINE, "all", []),
        (MINE, "{values: [all, first-1, lower-half, 0-2]}", []),
        (MINE, "{values: [all, last-1]}", [NONE_OF_MINE]),
        (MINE, "{values: [last-1], when: {target_modules: attention}}", []),
        (MINE, "{values: [last-1], when: {target_modules: mine}}", [NONE_OF_MINE]),
        (MINE, "last-1", [NONE_OF_MINE]),
        (FIXED, "{values: [all, last-1]}", [NONE_OF_MINE]),
        (FIXED, "{values: [last-1], when: {rank: {above: 12}}}", [NONE_OF_MINE]),
        ("encoder-attention", "last-4", [TOO_MANY.format("encoder-attention", "encoder")]),
        (
            "attention",
            "{values: [all, last-4]}",
            [TOO_MANY.format("attention", "encoder"), TOO_MANY.format("attention", "decoder")],
        ),
    ],
)
def test_pairs_that_no_model_could_train_are_found(
    modules: str, layers: str, messages: list[str], tmp_path: Path
) -> None:
    said = found(tmp_path, modules, layers, ROOT / "data" / "base-model")
    assert len(said) == len(messages)
    assert all(each.startswith(start) for each, start in zip(said, messages, strict=True))


@pytest.mark.parametrize(("trials", "count"), [(2, 0), (3, 1)])
def test_pairs_that_no_trial_has_are_none_where_the_points_to_start_with_are_all_trials(
    trials: int, count: int, tmp_path: Path
) -> None:
    given = "[{target_modules: mine, layers: all}, {target_modules: attention, layers: last-1}]"
    found(tmp_path, MINE, "{values: [all, last-1]}", ROOT / "data" / "base-model")
    spec = load_spec(tmp_path / "sweep.yaml", (f"start_with={given}", f"budget.trials={trials}"))
    assert [each.name for each in find_missing_layers(spec)] == ["targets"] * count


def test_of_a_model_that_is_not_whole_nothing_is_said(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for weights in (None, b"", b"\x10\0\0\0\0\0\0\0[1, 2]", b"\xff" * 20):
        if weights is not None:
            (model / "model.safetensors").write_bytes(weights)
        assert found(tmp_path, MINE, "{values: [all, last-1]}", model) == []


def test_weights_in_parts_are_known_by_their_index(tmp_path: Path) -> None:
    names = (f"model.decoder.layers.{layer}.self_attn.q_proj.weight" for layer in ("0", "extra"))
    index = json.dumps({"weight_map": dict.fromkeys(names, "a.safetensors")})
    (tmp_path / "model.safetensors.index.json").write_text(index)
    said = found(tmp_path, MINE, "1-1", tmp_path)
    assert said[0].startswith("preset attention: layers 1-1 is not within a stack of 1, ")
