"""Writing of a spec in the form of a sweep file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from orchestrator.sweepfile.evaluation import Precisions
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.search_space import Condition, Dimension, SearchSpace
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.sweepfile.yaml_reading import resolve_scalar

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


def resolved_yaml(spec: SweepSpec) -> str:
    """Return a complete sweep file for this spec: it extends no other file, and all defaults are
    written out.

    Paths below the project's folder are relative to it. Loading the file from there gives a spec
    that equals `spec.portable`.
    """
    spec, apart = spec.portable, ("parameters", "start_with")
    document = {name: getattr(spec, name) for name in type(spec).model_fields if name not in apart}
    plain = {name: _plain_values(value) for name, value in document.items() if value is not None}
    plain["parameters"] = file_parameters(spec.parameters)
    if spec.start_with:
        plain["start_with"] = [dict(point) for point in spec.start_with]
    return "\n".join(_block_lines(plain, 0)) + "\n"


def file_parameters(space: SearchSpace) -> dict[str, Any]:
    """Return `parameters:` as a person would write it, fixed parameters first."""
    written: dict[str, Any] = dict(space.fixed)
    written |= {dimension.name: file_dimension(dimension) for dimension in space.searched}
    scales = list(space.adapter_scales)
    written["adapter_scale"] = (
        scales[0] if len(scales) == 1 else {"values": scales, "after_training": True}
    )
    presets = kept_presets(space)
    if "target_modules" in written:  # else it is still to be taken from another study
        target = written["target_modules"]
        form = dict(target) if isinstance(target, dict) else {"value": target}
        written["target_modules"] = form | {
            "presets": {name: list(patterns) for name, patterns in presets.items()}
        }
    return written


def kept_presets(space: SearchSpace) -> dict[str, tuple[str, ...]]:
    """Return the presets that a trial may use, and all that the file defines. Writing them out
    keeps a study as it is when a later version changes the built-in presets.
    """
    used = space.possible("target_modules")
    return {name: p for name, p in space.presets.items() if name in used or PRESETS.get(name) != p}


def file_dimension(dimension: Dimension) -> dict[str, Any]:
    """Return a searched parameter as a person would write it."""
    if dimension.choices is not None:
        written: dict[str, Any] = {"values": list(dimension.choices)}
    else:
        written = {"min": dimension.low, "max": dimension.high}
        written |= {"log": True} if dimension.log else {}
        written |= {"step": dimension.step} if dimension.step is not None else {}
    when = _file_when(dimension.when)
    return written | ({"when": when} if when else {})


def _file_when(conditions: tuple[Condition, ...]) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for condition in conditions:
        if condition.operator == "equals":
            when[condition.parameter] = condition.value
        else:
            value = list(condition.value) if condition.operator == "in" else condition.value
            when.setdefault(condition.parameter, {})[condition.operator] = value
    return when


def _plain_values(value: Any) -> Any:
    """Convert pydantic models to dicts, without fields that are None by default and without empty
    mappings; paths become text.
    """
    if isinstance(value, Precisions):
        return value.model_dump()
    if hasattr(value, "model_dump"):
        kept = {}
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            if inner != {} and (inner is not None or field.default is not None):
                kept[name] = _plain_values(inner)
        return kept
    if isinstance(value, dict):
        return {key: _plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_values(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _block_lines(value: dict[str, Any], depth: int) -> list[str]:
    """Write YAML lines in block style down to the second level and in flow style below, so that
    each parameter has one line.
    """
    lines = []
    for key, item in value.items():
        if isinstance(item, dict) and item and depth < 1:
            lines += [f"{'  ' * depth}{_scalar_text(key)}:", *_block_lines(item, depth + 1)]
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            lines += [
                f"{'  ' * depth}{_scalar_text(key)}:",
                *(f"{'  ' * depth}  - {_flow_text(entry)}" for entry in item),
            ]
        else:
            lines.append(f"{'  ' * depth}{_scalar_text(key)}: {_flow_text(item)}")
    return lines


def _flow_text(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_scalar_text(key)}: {_flow_text(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow_text, value)) + "]"
    return _scalar_text(value)


def _scalar_text(value: bool | int | float | str | None) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and isinstance(resolve_scalar(value), str):
        return value
    return '"' + "".join(map(_escape_character, value)) + '"'


def _escape_character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
