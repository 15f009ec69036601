"""The sweep files with a twin on the embedded corpus, and which modules the recorded experiments
adapt.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from orchestrator.sweepfile.loading import changed_fields, load_spec, project_root, resolved_yaml
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.peft_adapter import resolve_targets
from orchestrator.tuning.model.base_model import BaseModel, wrap_model
from tests.embedded import ROOT
from tests.tuning_models import small_model, tokenizer

TWINS = "authors phase3 recommended recommended_v1".split()
RECORDED = "exp_2_3_v2_bridge_focus exp_2_4_v2_true_bridge exp_2_5_v2_universal_lora h1 h1-expanded".split()
EXPERIMENTS = [*TWINS, *(f"recorded/{name}" for name in RECORDED)]
EMBEDDED = sorted((ROOT / "sweeps" / "embedded").glob("*.yaml"))
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")

QKV = ATTENTION[:3]
MLP = {"encoder.mlp": ("fc1", "fc2"), "decoder.mlp": ("fc1", "fc2")}


def everywhere(layers: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """In every attention of encoder and decoder."""
    return {
        "encoder.self_attn": layers,
        "decoder.self_attn": layers,
        "decoder.encoder_attn": layers,
    }


MEANT: dict[str, dict[str, tuple[str, ...]]] = {
    "recorded/exp_2_3_v2_bridge_focus": everywhere(ATTENTION) | MLP,
    "recorded/exp_2_4_v2_true_bridge": {
        "decoder.self_attn": ATTENTION,
        "decoder.encoder_attn": ATTENTION,
        "decoder.mlp": ("fc1", "fc2"),
    },
    "recorded/exp_2_5_v2_universal_lora": everywhere(ATTENTION),
    "recorded/h1": everywhere(QKV) | MLP,
    "recorded/h1-expanded": everywhere(ATTENTION) | MLP,
    "authors": {"decoder.self_attn": QKV},
}
"""Experiment -> block -> linear layers with an adapter."""


def test_every_twin_has_its_original() -> None:
    assert [path.stem for path in EMBEDDED] == TWINS
    assert all((ROOT / "sweeps" / f"{name}.yaml").is_file() for name in TWINS)


def test_what_is_recommended_is_the_same_for_both_families() -> None:
    streaming, v1 = (
        load_spec(ROOT / "sweeps" / f"{name}.yaml") for name in ("recommended", "recommended_v1")
    )
    assert {change.path for change in changed_fields(streaming, v1)} == {"name", "model.id"}
    assert (streaming.model.id, v1.model.id) == tuple(
        f"UsefulSensors/moonshine-{n}tiny" for n in ("streaming-", "")
    )


@pytest.mark.parametrize("name", ["recommended", "recommended_v1", "embedded/recommended"])
def test_what_is_recommended_guards_against_forgetting_and_is_confirmed(name: str) -> None:
    spec = load_spec(ROOT / "sweeps" / f"{name}.yaml")
    assert spec.objective == "domain" and spec.acceptance["domain_wer"].min_gain == 1.0
    assert (
        spec.guardrails["heldout_wer"].max_regression
        == spec.acceptance["heldout_wer"].max_regression
        == 0.2
    )
    assert (
        spec.parameters.fixed["adapter"] == "lora" and spec.parameters.fixed["replay_ratio"] == 0.5
    )
    assert spec.data.replay and all(
        weight > 0 for weight in map(float, spec.parameters.possible("kl_weight"))
    )
    assert len(spec.parameters.adapter_scales) > 2 and min(spec.parameters.adapter_scales) < 0.5
    assert (
        spec.confirm
        and len(spec.confirm.seeds) == 3
        and spec.data.confirm
        and spec.data.confirm.split == (0.7 if name.startswith("embedded") else 0.5)
    )
    assert spec.budget.wall_clock and spec.budget.wall_clock <= 3 * 3600
    rates = next(
        dimension for dimension in spec.parameters.searched if dimension.name == "learning_rate"
    )
    assert rates.log and (name.startswith("embedded") or (rates.low, rates.high) == (1e-4, 1e-3))


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_an_embedded_experiment_is_its_own_study_of_the_same_project(
    path: Path, tmp_path: Path
) -> None:
    spec, original = load_spec(path), load_spec(path.parents[1] / path.name)
    assert project_root(path) == ROOT == project_root(path.parents[1] / path.name)
    model = "base-model" if "streaming" in original.model.id else "base-model-v1"
    assert (spec.name, spec.model.id) == (
        f"embedded-{original.name}",
        str(ROOT / "data" / model),
    )
    assert spec.evaluation.max_tokens_per_second == 13
    changed = {change.path for change in changed_fields(original, spec) if "data." in change.path}
    # a split wants larger sets than the evaluated ones alone
    split = original.data.confirm is not None and original.data.confirm.split is not None
    larger = {"data.domain", "data.heldout", "data.confirm.split"}
    assert changed == (larger if split else set())
    assert spec.acceptance == original.acceptance and spec.guardrails == original.guardrails
    assert spec.parameters.fixed.get("target_modules") == original.parameters.fixed.get(
        "target_modules"
    )
    stored = tmp_path / "spec.yaml"
    stored.write_text(resolved_yaml(spec))
    assert load_spec(stored) == spec


@pytest.fixture(scope="module", params=["streaming", "v1"])
def base(request: pytest.FixtureRequest) -> BaseModel:
    """A small model of the real class."""
    return wrap_model(
        ModelSpec(id="small"), small_model(request.param), tokenizer(), torch.device("cpu")
    )


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
    searched = [
        dimension.choices or ()
        for dimension in space.searched
        if dimension.name == "target_modules"
    ]
    names = searched[0] if searched else (space.fixed["target_modules"],)
    return {str(each): space.presets[str(each)] for each in names}
