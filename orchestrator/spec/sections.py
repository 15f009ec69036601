"""All of the sweep file but its search space: a tree becomes a SweepSpec, and pydantic's refusals become sentences."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.spec.reading import Entry, Mapping, Mark, Node, Problems, Scalar, describe, nearest, plain, show
from orchestrator.spec.sweep import SearchSpace, SweepSpec

LIMITS = {
    "guardrails": {"heldout_wer": "max_regression"},
    "acceptance": {"domain_wer": "min_gain", "heldout_wer": "max_regression"},
}
"""Section -> metric -> the one key its limit has, beside `rule`."""

_PATHS = (
    ("data", "train"),
    ("data", "replay"),
    ("data", "domain"),
    ("data", "heldout"),
    ("data", "confirm", "domain"),
    ("data", "confirm", "heldout"),
)
DURATION = r"^([0-9]+(\.[0-9]+)?[dhms])+$"
"""Such as 2h, 90m, 30s, 1h30m."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text; quote it if it looks like a number",
    "bool_type": "true or false",
    "path_type": "a path",
    "tuple_type": "a list, such as [101, 102]",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_too_short": "non-empty text",
    "string_pattern_mismatch": "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
    "too_short": "a list with at least one value",
    "finite_number": "a finite number",
}


def seconds(text: str) -> float:
    """A duration such as 2h, 90m, 30s, 1h30m in seconds; ValueError for anything else."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", text))


def build(
    tree: Mapping, space: SearchSpace, points: tuple[Any, ...], root: Path, problems: Problems
) -> SweepSpec | None:
    """The spec, or None with the problems recorded."""
    raw = {key: plain(entry.node) for key, entry in tree.entries.items()}
    _resolve_paths(raw, root)
    _wall_clock(raw, tree, problems)
    _limits(tree, problems)
    _confirm_data(tree, problems)
    raw |= {"parameters": space, "start_with": points}
    if "parameters" not in tree.entries:
        problems.add(tree.mark, "the sweep file lacks `parameters`; add what to fix and what to search")
    try:
        return SweepSpec.model_validate(raw).located(root)
    except ValidationError as error:
        _explain(error, tree, problems)
        return None


def _resolve_paths(raw: dict[str, Any], root: Path) -> None:
    for *sections, key in _PATHS:
        section: Any = raw
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict) and isinstance(section.get(key), str) and section[key].strip():
            section[key] = Path(os.path.abspath(root / os.path.expanduser(section[key])))
    model = raw.get("model")
    if isinstance(model, dict) and isinstance(model.get("id"), str) and model["id"].strip():
        model["id"] = _model_id(model["id"], root)


def _model_id(text: str, root: Path) -> str:
    """A hub id as it is; a folder, or what lies beside existing files of the project, as an absolute path."""
    path = Path(os.path.abspath(root / os.path.expanduser(text)))
    explicit = text.startswith(("/", "~", "./", "../"))
    beside = path.parent != root and os.path.isdir(path.parent)  # unlike Path.is_dir, never raises on a hostile name
    return str(path) if explicit or os.path.isdir(path) or beside else text


def _wall_clock(raw: dict[str, Any], tree: Mapping, problems: Problems) -> None:
    budget = raw.get("budget")
    if not isinstance(budget, dict) or not isinstance(budget.get("wall_clock"), str):
        return
    try:
        budget["wall_clock"] = seconds(budget["wall_clock"])
    except ValueError:
        node = tree.entries["budget"].node
        assert isinstance(node, Mapping)
        place = node.entries["wall_clock"].node
        problems.add(
            place.mark,
            f"budget.wall_clock cannot be {describe(place)}; allowed: 2h, 90m, 30s, 1h30m, or a number of seconds",
        )
        budget["wall_clock"] = None


def _limits(tree: Mapping, problems: Problems) -> None:
    for section, metrics in LIMITS.items():
        entry = tree.entries.get(section)
        if entry is None or not isinstance(entry.node, Mapping):
            continue
        for metric, key in metrics.items():
            limit = entry.node.entries.get(metric)
            if limit is None or not isinstance(limit.node, Mapping):
                continue
            given = {name: entry for name, entry in limit.node.entries.items() if name != "rule"}
            if set(given) <= {"max_regression", "min_gain"} and set(given) != {key}:
                said = " and ".join(given) or "nothing"
                problems.add(
                    limit.node.mark, f"{section}.{metric} needs exactly {key} (WER points, absolute), not {said}"
                )
            elif key in given and plain(given[key].node) is None:
                problems.add(given[key].mark, f"{section}.{metric}.{key} has no value; write a number of WER points")


def _confirm_data(tree: Mapping, problems: Problems) -> None:
    """Confirm sets are two manifests, or a split; nothing of both and nothing by halves."""
    data = tree.entries.get("data")
    entry = data.node.entries.get("confirm") if data and isinstance(data.node, Mapping) else None
    if entry is None or not isinstance(entry.node, Mapping):
        return
    given = {key: each for key, each in entry.node.entries.items() if plain(each.node) is not None}
    manifests = [key for key in ("domain", "heldout") if key in given]
    if "split" in given:
        for key in manifests:
            problems.add(
                given[key].mark,
                f"data.confirm has {key} and split; give split alone, or the two manifests domain and heldout, and "
                f"write `{key}:` without a value where another file is extended",
            )
        return
    missing = " and ".join(show(key) for key in ("domain", "heldout") if key not in given)
    if missing:
        problems.add(
            entry.node.mark,
            f"data.confirm lacks {missing}; give both manifests, or split: 0.3 to split them off by speaker",
        )
    elif "seed" in given:
        problems.add(given["seed"].mark, "data.confirm.seed belongs to a split; remove it, the manifests are fixed")


def _explain(error: ValidationError, tree: Mapping, problems: Problems) -> None:
    wanted: dict[tuple[str, ...], list[str]] = {}
    found: dict[tuple[str, ...], tuple[Mark, Node]] = {}
    for item in error.errors(include_url=False):
        path, entry, rest = _follow(tree, item["loc"])
        name = ".".join(path)
        if item["type"] == "missing":
            missing = str(rest[0])
            owner = f"{name} lacks" if name else "the sweep file lacks"
            problems.add(entry.node.mark, f"{owner} {show(missing)}; add {_example(path, missing)}")
        elif item["type"] == "extra_forbidden" or rest == ("[key]",):
            _unknown(path, entry, problems)
        else:
            text = _WANTED.get(item["type"], item["msg"].removeprefix("Value error, "))
            wanted.setdefault(path, []).append(text.format(**item.get("ctx", {})))
            found[path] = (entry.node.mark, entry.node)
    for path, texts in wanted.items():
        mark, node = found[path]
        words = re.findall(r"'([^']+)'", " ".join(texts))
        guess = nearest(node.text, words) if isinstance(node, Scalar) else ""
        allowed = " or ".join(dict.fromkeys(texts))
        problems.add(mark, f"{'.'.join(path)} cannot be {describe(node)}{guess or ';'} allowed: {allowed}")


def _follow(tree: Mapping, loc: tuple[Any, ...]) -> tuple[tuple[str, ...], Entry, tuple[Any, ...]]:
    """As far as pydantic's location exists in the tree: the path, the entry there, and what remains."""
    entry = Entry(tree.mark, tree)
    path: list[str] = []
    for index, part in enumerate(loc):
        node = entry.node
        if isinstance(node, Mapping) and part in node.entries:
            entry = node.entries[part]
        elif isinstance(part, int) and not isinstance(node, (Mapping, Scalar)) and part < len(node.items):
            entry = Entry(node.items[part].mark, node.items[part])
        else:
            return tuple(path), entry, loc[index:]
        path.append(str(part))
    return tuple(path), entry, ()


def fields_at(path: tuple[str, ...]) -> tuple[str, ...]:
    """The keys allowed under a path of the sweep file."""
    if len(path) == 1 and path[0] in LIMITS:
        return tuple(LIMITS[path[0]])
    if len(path) == 2 and path[0] in LIMITS:
        return LIMITS[path[0]].get(path[1], "max_regression"), "rule"
    model: type[BaseModel] = SweepSpec
    for part in path:
        annotation = model.model_fields[part].annotation
        options = (annotation, *get_args(annotation))
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return (*(("extends",) if not path else ()), *model.model_fields)


def _unknown(path: tuple[str, ...], entry: Entry, problems: Problems) -> None:
    allowed = fields_at(path[:-1])
    where = f" in {'.'.join(path[:-1])}" if path[:-1] else ""
    problems.add(
        entry.mark,
        f"unknown key {show(path[-1])}{where}{nearest(path[-1], allowed) or ';'} allowed: {', '.join(allowed)}",
    )


def _example(path: tuple[str, ...], key: str) -> str:
    examples = {
        "version": "version: 1",
        "name": "name: my-sweep, which is also its folder under studies/",
        "model": "model: {id: a hub id or a local folder}",
        "data": "data: {train: ..., domain: ..., heldout: ...}",
        "budget": "budget: {trials: 24}",
        "trials": "trials: 24",
        "id": "a hub id or a local folder",
        "study": "study: the name of a finished study",
    }
    return examples.get(key, "the path of a manifest") if path[:1] != ("metric",) else key
