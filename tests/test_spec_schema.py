"""The JSON schema that editors use: it is a valid schema, accepts what the product loads, and knows
the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from orchestrator.sweepfile.loading import json_schema, load_spec
from orchestrator.sweepfile.parameters import NAMES
from orchestrator.sweepfile.unknown_keys import fields_at
from tests.test_spec_loading import ROOT, SHIPPED, SMALL

BROKEN = """
    adapter_scale adapter_scale_range augmentation bad_name bare_list booleans confirm_both_forms duration empty
    foreign_words impossible_ranges layers limits list_choice missing_sections not_a_mapping not_finite replay_labels
    start_with too_deep unknown_key unknown_nested_key unknown_parameter unknown_preset when wrong_types wrong_version
    wrong_words
""".split()
"""Of the broken sweep files those whose structure is wrong; what is wrong in others only
`load_spec` works out.
"""
ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples", "format", "then"}
MAPS = ("properties", "$defs")
PARTS = ("additionalProperties", "propertyNames", "items", "not", "if", "then")


def document(text: str) -> Any:
    """As an editor reads it."""
    return YAML(typ="safe", pure=True).load(text)


def violations(value: Any) -> list[str]:
    """What the published schema says against a document."""
    return [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(json_schema()).iter_errors(value)
    ]


def schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    if not isinstance(schema, dict):
        return
    yield schema
    inner = [part for key in MAPS for part in schema.get(key, {}).values()]
    for part in [
        *inner,
        *schema.get("anyOf", []),
        *(schema[key] for key in PARTS if key in schema),
    ]:
        yield from schemas(part)


def test_the_schema_is_one_of_draft_2020_12() -> None:
    schema = json_schema()
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)


def test_every_keyword_of_the_schema_does_something() -> None:
    """The metaschema lets unknown keywords, such as misspelled ones, pass."""
    used = {keyword for schema in schemas(json_schema()) for keyword in schema}
    assert used - set(Draft202012Validator.VALIDATORS) - ANNOTATIONS == set()


def test_the_schema_knows_the_shipped_files_keys_and_the_table() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(fields_at(()))
    assert set(schema["properties"]["parameters"]["properties"]) == set(NAMES)
    assert schema["additionalProperties"] is False
    assert set(schema["then"]["required"]) == {
        "version",
        "name",
        "model",
        "data",
        "parameters",
        "budget",
    }


@pytest.mark.parametrize("path", [*SHIPPED, "small"], ids=str)
def test_the_schema_accepts_what_loads(path: Path | str) -> None:
    assert violations(document(SMALL if isinstance(path, str) else path.read_text())) == []


@pytest.mark.parametrize("precision", ["bf16", {"search": "bf16", "verdict": "fp32"}, {}], ids=str)
def test_the_schema_accepts_both_forms_of_a_precision(precision: Any) -> None:
    assert violations(document(SMALL) | {"evaluation": {"precision": precision}}) == []


@pytest.mark.parametrize("name", BROKEN)
def test_the_schema_refuses_a_file_of_another_structure(name: str) -> None:
    assert violations(document((ROOT / "tests" / "broken_specs" / f"{name}.yaml").read_text()))


@pytest.mark.parametrize(
    "change",
    [
        {"bugdet": 1},
        {"method": "bayes"},
        {"guardrails": {"heldout_wer": {"min_gain": "1 point"}}},
        {"parameters": {"rank": {"value": 4, "values": [4]}}},
        {"parameters": {"layers": {"values": ["all", "top-2"]}}},
        {"budget": {"trials": "4"}},
        {"evaluation": {"precision": "fp16"}},
        {"evaluation": {"precision": {"search": "fp16"}}},
        {"evaluation": {"precision": {"confirm": "fp32"}}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_does_not_load(change: dict[str, Any]) -> None:
    assert violations(document(SMALL) | change)


def test_only_a_file_that_extends_another_may_lack_sections() -> None:
    assert violations({"extends": "x.yaml"}) == []
    assert violations({"name": "x"})


def test_extends_may_be_left_open() -> None:
    assert violations(document(f"extends:\n{SMALL}")) == []


def test_a_further_set_is_a_path_or_says_more() -> None:
    def value(also: Any) -> dict[str, Any]:
        data = {"train": "t", "domain": "d", "heldout": "h", "also": {"noisy": also}}
        rest = {"version": 1, "name": "s", "model": {"id": "m"}, "budget": {"trials": 1}}
        return rest | {"data": data, "method": "tpe", "parameters": {"learning_rate": 0.001}}

    plain = violations({**value("n"), "data": {"train": "t", "domain": "d", "heldout": "h"}})
    assert violations(value("n")) == violations(value({"manifest": "n", "rungs": "last"})) == plain
    assert len(violations(value({"rungs": "last"}))) == len(plain) + 1


@pytest.mark.parametrize(
    "part",
    [
        *(
            f"{key}:"
            for key in "description method metric seed early_stop execution checks evaluation record "
            "tracking storage confirm guardrails start_with".split()
        ),
        "parameters: {adapter_scale: }",
        "budget: {wall_clock: 1h}",
        "data: {also: {noisy: {rungs: last}}}",
        "data: {also: , confirm: {also: }}",
        "data: {confirm: {domain: , heldout: , also: , split: 0.3}}",
    ],
)
def test_the_schema_accepts_what_loads_over_another_file(tmp_path: Path, part: str) -> None:
    base = document(SMALL)
    base["data"] |= {"also": {"noisy": {"manifest": "n.jsonl"}}}
    base["data"] |= {"confirm": {"domain": "d", "heldout": "h", "also": {"noisy": "n"}}}
    (tmp_path / "base.yaml").write_text(json.dumps(base))
    over = tmp_path / "over.yaml"
    over.write_text(f"extends: base.yaml\n{part}\n")
    load_spec(over)
    assert violations(document(over.read_text())) == []


def test_a_key_without_a_value_removes_what_the_extended_file_has(tmp_path: Path) -> None:
    extra = "guardrails: {heldout_wer: {max_regression: 0.2}}\nseed: 42\n"
    kept = [line for line in SMALL.splitlines() if not line.startswith(("guardrails", "seed"))]
    (tmp_path / "base.yaml").write_text("\n".join(kept) + "\n" + extra)
    over = tmp_path / "over.yaml"
    over.write_text("extends: base.yaml\n")
    assert (load_spec(over).seed, *load_spec(over).guardrails) == (42, "heldout_wer")
    over.write_text("extends: base.yaml\nguardrails:\nseed:\n")
    assert (load_spec(over).seed, *load_spec(over).guardrails) == (0,)
