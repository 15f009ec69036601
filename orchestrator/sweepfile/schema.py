"""The JSON schema of the sweep file as a person writes it, for editors that complete and check
YAML.
"""

from __future__ import annotations

from typing import Any, get_args

from orchestrator.sweepfile.evaluation import Precision
from orchestrator.sweepfile.layer_ranges import PATTERN
from orchestrator.sweepfile.limit_checks import SECTIONS
from orchestrator.sweepfile.limits import SHIPPED, limit_keys, questions_of
from orchestrator.sweepfile.parameters import ADAPTER_SCALE, TABLE, Parameter
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.spec_building import DURATION
from orchestrator.sweepfile.sweep import SweepSpec

_OWN = {"Condition", "Dimension", "SearchSpace", "Limit"}


def json_schema() -> dict[str, Any]:
    """Return the schema, in draft 2020-12. It allows more than `load_spec`, which alone decides: it
    does not check, for example, whether ranges and conditions make sense.
    """
    schema = SweepSpec.model_json_schema()
    definitions = {name: value for name, value in schema["$defs"].items() if name not in _OWN}
    properties = schema["properties"]
    properties["extends"] = {
        "type": "string",
        "description": "Path of another sweep file, whose fields this one overrides.",
    }
    properties["parameters"] = _parameters_schema()
    properties["start_with"] = {
        "type": "array",
        "items": {"type": "object", "propertyNames": {"enum": [*TABLE]}},
    }
    for section in SECTIONS:
        properties[section] = {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {
                pattern: _limit_schema(example) for pattern, example in _METRICS.items()
            },
        }
    properties["acceptance"]["patternProperties"] |= {f"^{SHIPPED}$": _shipped_schema()}
    also = definitions["DataSpec"]["properties"]["also"]
    also.pop("patternProperties", None)  # of the long form alone
    also["additionalProperties"] = _ALSO
    # a file that extends another may say a part of each
    definitions["TakeSpec"]["required"] = []
    sections = {"data": "DataSpec", "model": "ModelSpec", "budget": "Budget"}
    whole = {
        section: {"required": definitions[name].pop("required")}
        for section, name in sections.items()
    }
    whole["data"]["properties"] = {"also": {"additionalProperties": {"required": ["manifest"]}}}
    precision = definitions["EvaluationSpec"]["properties"]["precision"]
    precision["anyOf"] = [{"enum": [*get_args(Precision)]}, {"$ref": precision.pop("$ref")}]
    duration = {"type": "string", "pattern": DURATION}
    definitions["Budget"]["properties"]["wall_clock"]["anyOf"].append(duration)
    for section in (definitions["DataSpec"], definitions["ConfirmData"]):
        section["properties"]["also"] = _or_null(section["properties"]["also"])
    required = schema.pop("required")
    properties |= {
        name: _or_null(value) for name, value in properties.items() if name not in required
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Sweep",
        "$defs": definitions,
        "properties": properties,
        "if": {"not": {"required": ["extends"]}},
        "then": {"required": required, "properties": whole},
    }


_METRICS = {
    "^[a-z][a-z0-9_]*_wer$": "domain_wer",
    "^[a-z][a-z0-9_]*_cer$": "domain_cer",
    "^terms_(recall|precision)$": "terms_recall",
    "^train_loss$": "train_loss",
}
"""Pattern of metrics -> one of them, as an example of what limits on them may ask."""

_ALSO = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"manifest": {"type": "string"}, "rungs": {"enum": ["all", "last"]}},
            "additionalProperties": False,
        },
    ]
}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that takes null too: a key without a value counts as not written."""
    if {"type": "null"} in schema.get("anyOf", ()):
        return schema
    said = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    form = {key: value for key, value in schema.items() if key not in said}
    return said | {"anyOf": [form, {"type": "null"}]}


def _limit_schema(metric: str) -> dict[str, Any]:
    asks = {"enum": list(questions_of(metric))}
    change = {
        "description": "Points, or text such as 5% for percent of the baseline.",
        **_amount_schema("%"),
    }
    rate = {
        "description": "Percent, or text such as 2x for times the baseline.",
        **_amount_schema("x"),
    }
    forms = {
        "max_regression": change,
        "min_gain": change,
        "max_wer": rate,
        "max_cer": rate,
        "asks": asks,
    }
    rule = {
        "enum": ["point", "proven", None],
        "description": "How it is decided: by the measured number, or by what the data prove.",
    }
    keys = {key: forms[key] for key in limit_keys(metric)}
    return {"anyOf": [asks, _object_schema({**keys, "rule": rule}, []), {"type": "null"}]}


def _shipped_schema() -> dict[str, Any]:
    asks = {"enum": list(questions_of(SHIPPED))}
    long_form = _object_schema({"asks": asks, "rule": {"enum": ["point", None]}}, [])
    return {"anyOf": [{"const": True}, long_form, {"type": "null"}]}


def _amount_schema(unit: str) -> dict[str, Any]:
    text = {"type": "string", "pattern": f"^[0-9]+(\\.[0-9]+)?{unit}$"}
    return {"anyOf": [{"type": "number", "minimum": 0}, text]}


def _parameters_schema() -> dict[str, Any]:
    rows = {name: _forms_of_parameter(row) for name, row in TABLE.items()}
    grid = {
        "type": "object",
        "properties": {
            "values": {"type": "array", "items": _value_schema(ADAPTER_SCALE), "minItems": 1},
            "after_training": {"const": True},
        },
        "required": ["values", "after_training"],
        "additionalProperties": False,
    }
    rows[ADAPTER_SCALE.name] = {
        "description": ADAPTER_SCALE.doc,
        "anyOf": [_value_schema(ADAPTER_SCALE), grid, {"type": "null"}],
    }
    return {"type": "object", "properties": rows, "additionalProperties": False}


def _value_schema(row: Parameter) -> dict[str, Any]:
    if row.kind == "word":
        return {"enum": list(row.words)}
    if row.kind == "preset":
        return {"type": "string", "examples": list(PRESETS)}
    if row.kind == "layers":
        return {"type": "string", "pattern": PATTERN}
    if row.kind == "bool":
        return {"type": "boolean"}
    value: dict[str, Any] = {"type": "integer" if row.kind == "int" else "number"}
    if row.low is not None:
        value["exclusiveMinimum" if row.open == "low" else "minimum"] = row.low
    if row.high is not None:
        value["exclusiveMaximum" if row.open == "high" else "maximum"] = row.high
    return value


def _forms_of_parameter(row: Parameter) -> dict[str, Any]:
    """Return the schema of all forms of a parameter: a value, {value}, {values, when}, for numbers
    {min, max, log, step, when}, and null, which removes the value of an extended file.
    """
    value = _value_schema(row)
    extra: dict[str, Any] = {}
    forms: list[dict[str, Any]] = [value, {"type": "null"}]
    if row.kind == "preset":
        patterns = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        extra = {"presets": {"type": "object", "additionalProperties": patterns}}
        forms.append(_object_schema({"patterns": patterns}, ["patterns"]))
    when = {"when": {"type": "object", "propertyNames": {"enum": [*TABLE]}, "minProperties": 1}}
    forms.append(_object_schema({"value": value, **extra}, ["value"]))
    forms.append(
        _object_schema(
            {"values": {"type": "array", "items": value, "minItems": 1}, **when, **extra},
            ["values"],
        )
    )
    if row.is_number:
        step = {"type": value["type"], "exclusiveMinimum": 0}
        forms.append(
            _object_schema(
                {"min": value, "max": value, "log": {"type": "boolean"}, "step": step, **when},
                ["min", "max"],
            )
        )
    described: dict[str, Any] = {"description": row.doc, "anyOf": forms}
    return described | ({"default": row.default} if row.default is not None else {})


def _object_schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
