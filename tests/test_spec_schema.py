"""The JSON schema that editors use: it accepts what loads, and knows the same words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.spec.loading import json_schema
from orchestrator.spec.parameters import NAMES
from orchestrator.spec.sections import fields_at
from tests.test_spec_loading import SHIPPED, SMALL


def test_the_schema_knows_the_shipped_files_keys_and_the_table() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(fields_at(()))
    assert set(schema["properties"]["parameters"]["properties"]) == set(NAMES)
    assert schema["additionalProperties"] is False
    assert set(schema["then"]["required"]) == {"version", "name", "model", "data", "parameters", "budget"}


@pytest.mark.parametrize("path", [*SHIPPED, "small"], ids=str)
def test_the_schema_accepts_what_loads(path: Path | str) -> None:
    text = SMALL if isinstance(path, str) else path.read_text()
    document = YAML(typ="safe", pure=True).load(text)
    assert list(violations(document, json_schema(), json_schema()["$defs"])) == []


def test_the_schema_refuses_what_does_not() -> None:
    schema = json_schema()
    document = YAML(typ="safe", pure=True).load(SMALL)
    for change in (
        {"bugdet": 1},
        {"method": "bayes"},
        {"guardrails": {"heldout_wer": {"min_gain": 1}}},
        {"parameters": {"rank": {"value": 4, "values": [4]}}},
        {"parameters": {"layers": {"values": ["all", "top-2"]}}},
        {"budget": {"trials": "4"}},
    ):
        assert list(violations(document | change, schema, schema["$defs"])), change
    assert list(violations({"extends": "x.yaml"}, schema, schema["$defs"])) == []
    assert list(violations({"name": "x"}, schema, schema["$defs"]))


def violations(value, schema, definitions):  # type: ignore[no-untyped-def]
    """The part of JSON Schema that ours uses; a keyword it does not know is an error, so that it cannot pass unread."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    known = {
        "$ref",
        "anyOf",
        "if",
        "then",
        "not",
        "const",
        "enum",
        "type",
        "properties",
        "required",
        "items",
        "pattern",
        "additionalProperties",
        "propertyNames",
        "minItems",
        "minProperties",
        "minLength",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "$schema",
        "$defs",
        "title",
        "description",
        "default",
        "examples",
        "format",
    }
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        yield from violations(value, definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "anyOf" in schema and not any(not list(violations(value, s, definitions)) for s in schema["anyOf"]):
        yield f"{value!r} fits none of anyOf"
    if "not" in schema and not list(violations(value, schema["not"], definitions)):
        yield "not"
    if "if" in schema and not list(violations(value, schema["if"], definitions)):
        yield from violations(value, schema["then"], definitions)
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        yield f"{value!r} is not {schema.get('enum', schema.get('const'))}"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    types = schema.get("type", [])
    if types and not any(
        number and (t == "number" or isinstance(value, int))
        if t in ("number", "integer")
        else isinstance(value, kinds[t])
        for t in ([types] if isinstance(types, str) else types)
    ):
        yield f"{value!r} is not {types}"
    if number and not (schema.get("minimum", value) <= value <= schema.get("maximum", value)):
        yield f"{value} out of bounds"
    if number and (
        ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
        or ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])
    ):
        yield f"{value} out of bounds"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{value!r} does not match {schema['pattern']}"
    if isinstance(value, list):
        for item in value:
            yield from violations(item, schema.get("items", {}), definitions)
    if isinstance(value, dict):
        yield from (f"{key} missing" for key in schema.get("required", []) if key not in value)
        for key, item in value.items():
            yield from violations(key, schema.get("propertyNames", {}), definitions)
            other = schema.get("additionalProperties", {})
            inner = schema.get("properties", {}).get(key, other)
            if inner is False:
                yield f"{key} is unknown"
            elif isinstance(inner, dict):
                yield from violations(item, inner, definitions)
