"""The identity of a model: its configuration and its tokenizer count, and where they lie does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from orchestrator.tuning.model.identity import config_sha256, tokenizer_sha256
from tests.tuning_models import SHIPPED, small_model_folder


def config_of(folder: Path) -> str:
    return config_sha256(AutoConfig.from_pretrained(folder))


def tokenizer_of(folder: Path) -> str:
    return tokenizer_sha256(AutoTokenizer.from_pretrained(folder))


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> Path:
    return small_model_folder(tmp_path / "model")


@pytest.mark.parametrize("source", [SHIPPED, SHIPPED.with_name("base-model-v1")])
def test_a_model_that_is_saved_again_elsewhere_is_the_same(tmp_path: Path, source: Path) -> None:
    AutoConfig.from_pretrained(source).save_pretrained(tmp_path / "again")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "again")
    assert config_of(tmp_path / "again") == config_of(source)
    assert tokenizer_of(tmp_path / "again") == tokenizer_of(source)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda config: config["rope_parameters"].update(rope_theta=500.0), True),
        (lambda config: config["encoder_config"].update(frame_ms=6.0), True),
        (lambda config: config.update(hidden_act="gelu"), True),
        (lambda config: config.update(transformers_version="1.2.3"), False),
        (lambda config: config.update(use_cache=False), False),
        (lambda config: config["encoder_config"].update(dtype="float32"), False),
    ],
)
def test_a_configuration_that_computes_otherwise_is_another(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], counts: bool
) -> None:
    AutoConfig.from_pretrained(SHIPPED).save_pretrained(tmp_path)
    changed(tmp_path / "config.json", change)
    assert (config_of(tmp_path) != config_of(SHIPPED)) is counts


def test_a_tokenizer_with_two_pieces_exchanged_is_another(model: Path) -> None:
    before = tokenizer_of(model)

    def exchange(content: dict[str, Any]) -> None:
        pieces = content["model"]["vocab"]
        first, second = sorted(pieces)[-2:]
        pieces[first], pieces[second] = pieces[second], pieces[first]

    changed(model / "tokenizer.json", exchange)
    assert tokenizer_of(model) != before


def test_how_rows_are_cut_and_filled_up_is_no_part_of_a_tokenizer(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    before = tokenizer_sha256(tokenizer)
    tokenizer(["zero one", "two"], padding=True, truncation=True, max_length=1)
    assert tokenizer_sha256(tokenizer) == before
