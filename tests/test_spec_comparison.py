"""What of a sweep file may change once its study has begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.sweepfile.loading import FieldChange, changed_fields, load_spec, resolved_yaml
from orchestrator.sweepfile.sweep import SweepSpec

TEXT = """version: 1
name: small
model: {id: some/model}
data: {train: /d/train.jsonl, domain: /d/domain.jsonl, heldout: /d/heldout.jsonl}
parameters:
  learning_rate: {min: 1e-4, max: 1e-2, log: true}
  max_steps: {min: 100, max: 500, step: 100}
  adapter: {values: [lora, dora]}
  weight_decay: {min: 0.0, max: 0.1}
  target_modules: {values: [attention, mine], presets: {mine: [fc1]}}
guardrails: {heldout_wer: {max_regression: 0.2}}
budget: {trials: 5}
"""


def stored_in(folder: Path) -> Path:
    """The path of a study's own file; a sweep file may be called so, too."""
    (folder / "journal.jsonl").touch()
    return folder / "spec.yaml"


@pytest.fixture
def load(tmp_path: Path):  # type: ignore[no-untyped-def]
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return lambda *overrides: load_spec(path, overrides)


def test_the_same_file_has_no_changes(load) -> None:  # type: ignore[no-untyped-def]
    stored: SweepSpec = load()
    assert changed_fields(stored, SweepSpec.model_validate_json(stored.model_dump_json())) == []


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("budget.trials=9", FieldChange("budget.trials", 5, 9, True)),
        ("budget.wall_clock=2h", FieldChange("budget.wall_clock", None, 7200.0, True)),
        ("execution.device=cpu", FieldChange("execution.device", "auto", "cpu", True)),
        ("description=why", FieldChange("description", "", "why", True)),
        ("seed=3", FieldChange("seed", 0, 3, False)),
        ("method=random", FieldChange("method", "tpe", "random", False)),
        (
            "data.train=/e/train.jsonl",
            FieldChange("data.train", "/d/train.jsonl", "/e/train.jsonl", False),
        ),
        (
            "guardrails.heldout_wer.max_regression=0.3",
            FieldChange("guardrails.heldout_wer.max_regression", 0.2, 0.3, False),
        ),
        (
            "parameters.learning_rate.max=0.1",
            FieldChange(
                "parameters.learning_rate",
                {"min": 1e-4, "max": 1e-2, "log": True},
                {"min": 1e-4, "max": 0.1, "log": True},
                True,
            ),
        ),
        (
            "parameters.learning_rate.max=0.001",
            FieldChange(
                "parameters.learning_rate",
                {"min": 1e-4, "max": 1e-2, "log": True},
                {"min": 1e-4, "max": 1e-3, "log": True},
                False,
            ),
        ),
        (
            "parameters.learning_rate.log=false",
            FieldChange(
                "parameters.learning_rate",
                {"min": 1e-4, "max": 1e-2, "log": True},
                {"min": 1e-4, "max": 1e-2},
                False,
            ),
        ),
        (
            "parameters.learning_rate=1e-3",
            FieldChange(
                "parameters.learning_rate", {"min": 1e-4, "max": 1e-2, "log": True}, 1e-3, False
            ),
        ),
        (
            "parameters.max_steps={min: 100, max: 700, step: 100}",
            FieldChange(
                "parameters.max_steps",
                {"min": 100, "max": 500, "step": 100},
                {"min": 100, "max": 700, "step": 100},
                True,
            ),
        ),
        (
            "parameters.max_steps={min: 50, max: 550, step: 100}",
            FieldChange(
                "parameters.max_steps",
                {"min": 100, "max": 500, "step": 100},
                {"min": 50, "max": 550, "step": 100},
                False,
            ),
        ),
        (
            "parameters.adapter={values: [lora, dora, pissa]}",
            FieldChange(
                "parameters.adapter",
                {"values": ["lora", "dora"]},
                {"values": ["lora", "dora", "pissa"]},
                False,
            ),
        ),
        ("parameters.batch_size=4", FieldChange("parameters.batch_size", 8, 4, False)),
        (
            "parameters.target_modules.presets.mine=[fc2]",
            FieldChange("parameters.target_modules.presets.mine", ["fc1"], ["fc2"], False),
        ),
        (
            "parameters.adapter_scale=0.5",
            FieldChange("parameters.adapter_scale", [1.0], [0.5], False),
        ),
    ],
)
def test_one_change(load, override: str, change: FieldChange) -> None:  # type: ignore[no-untyped-def]
    assert changed_fields(load(), load(override)) == [change]


@pytest.mark.parametrize(
    "wider",
    [
        "{min: 100, max: 700, step: 50}",
        "{min: 100, max: 700}",
        "{min: 100, max: 700, step: 100, when: {adapter: lora}}",
    ],
)
def test_a_wider_range_of_other_values_or_conditions_is_another_search(load, wider: str) -> None:  # type: ignore[no-untyped-def]
    stored = load("parameters.warmup_steps={min: 100, max: 500, step: 100}")
    changes = changed_fields(stored, load(f"parameters.warmup_steps={wider}"))
    assert [(change.path, change.allowed) for change in changes] == [
        ("parameters.warmup_steps", False)
    ]


def test_a_folder_may_stand_for_a_folder_and_not_for_a_model_of_the_hub(load) -> None:  # type: ignore[no-untyped-def]
    hub, here, there = load(), load("model.id=./here"), load("model.id=./there")
    for stored, new, allowed in ((here, there, True), (hub, here, False), (here, hub, False)):
        changes = changed_fields(stored, new)
        assert [(change.path, change.allowed) for change in changes] == [("model.id", allowed)]


@pytest.mark.parametrize("wider", ["", "parameters.learning_rate.max=2e-2"])
def test_the_order_of_the_searched_parameters_is_kept_beside_a_wider_range(
    tmp_path: Path, wider: str
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    stored = load_spec(path)
    moved = "  adapter: {values: [lora, dora]}\n"
    path.write_text(TEXT.replace(moved, "").replace("parameters:\n", f"parameters:\n{moved}"))
    refused = [
        change
        for change in changed_fields(stored, load_spec(path, [wider] if wider else []))
        if not change.allowed
    ]
    assert [change.path for change in refused] == ["parameters (order)"]
    assert (refused[0].old[0], refused[0].new[0]) == ("learning_rate", "adapter")


def test_a_removed_section_and_an_unused_preset(load) -> None:  # type: ignore[no-untyped-def]
    removed = changed_fields(load(), load("guardrails="))
    assert removed == [
        FieldChange("guardrails.heldout_wer.max_regression", 0.2, None, False),
        FieldChange("guardrails.heldout_wer.rule", "proven", None, False),
    ]
    assert changed_fields(load(), load("parameters.target_modules.presets.unused=[fc2]")) == []


def test_a_grid_may_not_widen(load) -> None:  # type: ignore[no-untyped-def]
    fixed = ("method=grid", "parameters.learning_rate=1e-3", "parameters.weight_decay=0.0")
    changes = changed_fields(
        load(*fixed), load(*fixed, "parameters.max_steps={min: 100, max: 700, step: 100}")
    )
    assert [change.allowed for change in changes] == [False]


PAIR = "{search: bf16, verdict: fp32}"


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("fp32", "bf16", [("evaluation.precision", "fp32", "bf16")]),
        ("fp32", PAIR, [("evaluation.precision.search", "fp32", "bf16")]),
        ("bf16", PAIR, [("evaluation.precision.verdict", "bf16", "fp32")]),
        (PAIR, "bf16", [("evaluation.precision.verdict", "fp32", "bf16")]),
        (PAIR, PAIR, []),
    ],
)
def test_of_a_precision_the_parts_that_differ_are_named(  # type: ignore[no-untyped-def]
    load,
    before: str,
    after: str,
    changes: list[tuple[str, str, str]],
) -> None:
    confirmed = ("confirm={top: 1}", "data.confirm={split: 0.3}")
    stored, new = (load(*confirmed, f"evaluation.precision={each}") for each in (before, after))
    assert changed_fields(stored, new) == [FieldChange(*change, False) for change in changes]


@pytest.mark.parametrize(
    ("limit", "override", "rules"),
    [
        (
            "{max_regression: 0.2}",
            "min_gain=0.5",
            {"max_regression": "point", "min_gain": "proven"},
        ),
        ("{min_gain: 1.0}", "max_wer=12", {"min_gain": "proven", "max_wer": "point"}),
        ("{min_gain: 1.0}", "min_gain=2", {"min_gain": "proven"}),
        ("{min_gain: 1.0, rule: point}", "min_gain=2", {"min_gain": "point"}),
        ("{min_gain: 1.0, max_wer: 9}", "max_wer=8", {"min_gain": "proven", "max_wer": "point"}),
        ("{min_gain: 1.0}", "rule=point", {"min_gain": "point"}),
    ],
)
def test_what_is_asked_over_a_study_has_its_own_rule(  # type: ignore[no-untyped-def]
    load, limit: str, override: str, rules: dict[str, str], tmp_path: Path
) -> None:
    """A study's file has the rules written out. That of a regression is none for a gain."""
    study = stored_in(tmp_path)
    study.write_text(resolved_yaml(load(f"acceptance={{domain_wer: {limit}}}")))
    asked = f"acceptance.domain_wer.{override}"
    of_file = load(f"acceptance={{domain_wer: {limit}}}", asked).acceptance["domain_wer"]
    of_study = load_spec(study, [asked]).acceptance["domain_wer"]
    for found in (of_file, of_study):
        assert {question: found.rule_of(question) for question in found.questions} == rules


def test_a_key_of_former_versions_is_refused_over_a_study_too(  # type: ignore[no-untyped-def]
    load, tmp_path: Path
) -> None:
    study = stored_in(tmp_path)
    study.write_text(resolved_yaml(load()).replace("execution:\n", "execution:\n  workers: 2\n"))
    assert load_spec(study) == load()
    with pytest.raises(SpecError, match=r"execution\.workers is no key any more"):
        load_spec(study, ["execution.workers=2"])


def test_an_early_stop_without_its_rule_is_refused_over_a_study_too(  # type: ignore[no-untyped-def]
    load, tmp_path: Path
) -> None:
    study = stored_in(tmp_path)
    study.write_text(resolved_yaml(load()))
    assert "early_stop" in study.read_text() and load_spec(study) == load()
    with pytest.raises(SpecError, match=r"early_stop\.ratio stops no trial without its rule; add"):
        load_spec(study, ["early_stop.ratio=1.2"])
    assert load_spec(study, ["early_stop.method=ratio"]).early_stop.ratio == 1.1
