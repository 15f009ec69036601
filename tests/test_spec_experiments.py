"""The recorded experiments as sweep files: each loads, names its own study, and adapts the modules it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from orchestrator.sweepfile.loading import load_spec, project_root, resolved_yaml
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.peft_adapter import resolve_targets
from orchestrator.tuning.model.base_model import BaseModel, wrap
from tests.embedded import ROOT
from tests.tuning_models import small_model, tokenizer

EXPERIMENTS = "authors exp_2_3 exp_2_4 exp_2_5 h1 h2 h3 h4 phase1 phase2 phase3".split()
EMBEDDED = sorted((ROOT / "sweeps" / "embedded").glob("*.yaml"))
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")

MEANT: dict[str, dict[str, tuple[str, ...]]] = {
    "exp_2_3": {"encoder.self_attn": ATTENTION, "decoder.self_attn": ATTENTION, "decoder.encoder_attn": ATTENTION}
    | {"encoder.mlp": ("fc1", "fc2"), "decoder.mlp": ("fc1", "fc2")},
    "exp_2_4": {"decoder.self_attn": ATTENTION, "decoder.encoder_attn": ATTENTION, "decoder.mlp": ("fc1", "fc2")},
    "exp_2_5": {"encoder.self_attn": ATTENTION, "decoder.self_attn": ATTENTION, "decoder.encoder_attn": ATTENTION},
    "authors": {"decoder.self_attn": ATTENTION[:3]},
}
"""Experiment -> block -> linear layers with an adapter."""


def test_every_experiment_has_both_files() -> None:
    assert [path.stem for path in EMBEDDED] == EXPERIMENTS
    assert all((ROOT / "sweeps" / f"{name}.yaml").is_file() for name in EXPERIMENTS)


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_an_embedded_experiment_is_its_own_study_of_the_same_project(path: Path, tmp_path: Path) -> None:
    spec, original = load_spec(path), load_spec(path.parents[1] / path.name)
    assert project_root(path) == ROOT == project_root(path.parents[1] / path.name)
    assert (spec.name, spec.model.id) == (f"embedded-{path.stem}", str(ROOT / "data" / "base-model"))
    assert (spec.data, spec.evaluation.max_tokens_per_second) == (original.data, 13)
    assert spec.acceptance == original.acceptance and spec.guardrails == original.guardrails
    assert spec.parameters.fixed.get("target_modules") == original.parameters.fixed.get("target_modules")
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored) == spec


@pytest.fixture(scope="module", params=["streaming", "v1"])
def base(request: pytest.FixtureRequest) -> BaseModel:
    """A small model of the real class."""
    return wrap(ModelSpec(id="small"), small_model(request.param), tokenizer(), torch.device("cpu"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_target_set_resolves_on_both_families(name: str, base: BaseModel) -> None:
    for patterns in target_sets(name).values():
        assert resolve_targets(base.modules, patterns)


@pytest.mark.parametrize("name", MEANT)
def test_targets_are_the_modules_meant(name: str, base: BaseModel) -> None:
    (patterns,) = target_sets(name).values()
    found: dict[str, set[str]] = {}
    for target in resolve_targets(base.modules, patterns):
        block, layer = re.sub(r"layers\.\d+\.", "", target).rsplit(".", 1)
        found.setdefault(block, set()).add(layer)
    assert found == {block: set(layers) for block, layers in MEANT[name].items()}


def target_sets(name: str) -> dict[str, tuple[str, ...]]:
    """The target sets that trials of an experiment may have, by name."""
    space = load_spec(ROOT / "sweeps" / f"{name}.yaml").parameters
    searched = [dimension.choices or () for dimension in space.searched if dimension.name == "target_modules"]
    names = searched[0] if searched else (space.fixed["target_modules"],)
    return {str(each): space.presets[str(each)] for each in names}
