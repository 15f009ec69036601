"""Conversion of pydantic's validation errors of a sweep file to sentences that say where the
problem is, what was written there, and what is allowed.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Mark,
    Node,
    Problems,
    Scalar,
    describe_node,
    did_you_mean,
    in_backticks,
)
from orchestrator.sweepfile.sweep import NAME_FORM

_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text; quote it if it looks like a number",
    "string_unicode": "text in UTF-8; a folder whose name has other bytes must be renamed",
    "is_instance_of": "a path",
    "tuple_type": "a list, such as {example}",
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_too_short": "non-empty text",
    "string_pattern_mismatch": NAME_FORM,
    "too_short": "a list with at least one value",
    "finite_number": "a finite number",
}

_LISTS: dict[tuple[str, ...], str] = {
    ("confirm", "seeds"): "[101, 102]",
    ("take", "parameters"): "[learning_rate, rank]",
    ("checks", "ignore"): "[speaker-overlap]",
    ("execution", "devices"): "[cuda:0, cuda:1]",
}
"""Examples of the lists that a sweep file may have."""


def explain_refusals(error: ValidationError, tree: Mapping, problems: Problems) -> None:
    """Record a problem for each of pydantic's errors; those about the same value, such as the
    members of a union, become one.
    """
    wanted: dict[tuple[str, ...], list[ErrorDetails]] = {}
    found: dict[tuple[str, ...], tuple[Mark, Node]] = {}
    for item in error.errors(include_url=False):
        path, entry, rest = _follow_location(tree, item["loc"])
        name = ".".join(path)
        if item["type"] == "missing":
            missing = str(rest[0])
            owner = f"{name} lacks" if name else "the sweep file lacks"
            problems.add(
                entry.node.mark,
                f"{owner} {in_backticks(missing)}; add {_example_of(path, missing)}",
            )
        elif item["type"] == "extra_forbidden" or rest == ("[key]",):
            continue  # a key of what is no limit, or the name of a set, of which enough was said
        else:
            wanted.setdefault(path, []).append(item)
            found[path] = (entry.node.mark, entry.node)
    for path, items in wanted.items():
        mark, node = found[path]
        words = [word for item in items for word in _literal_words(item)]
        guess = did_you_mean(node.text, words) if isinstance(node, Scalar) else ""
        allowed = " or ".join(dict.fromkeys(_allowed_text(item, path) for item in items))
        problems.add(
            mark,
            f"{'.'.join(path)} cannot be {describe_node(node)}{guess or ';'} allowed: {allowed}",
        )


def _allowed_text(item: ErrorDetails, path: tuple[str, ...]) -> str:
    """Say what is allowed, from the type and context of an error. pydantic's own sentences are not
    used where this is known, because they change with its version.
    """
    context = item.get("ctx", {})
    if item["type"] == "value_error":  # one of our own validators says what is allowed
        return str(context["error"])
    if item["type"] not in _WANTED:
        return item["msg"]
    return _WANTED[item["type"]].format(**context, example=_LISTS.get(path, "[first, second]"))


def _literal_words(item: ErrorDetails) -> list[str]:
    """Return the allowed words of a Literal; none for an error of another type."""
    return (
        re.findall(r"'([^']+)'", item["ctx"]["expected"]) if item["type"] == "literal_error" else []
    )


def _follow_location(
    tree: Mapping, loc: tuple[Any, ...]
) -> tuple[tuple[str, ...], Entry, tuple[Any, ...]]:
    """Follow pydantic's location in the tree as far as it exists; return the path, the entry there,
    and the rest of the location.
    """
    entry = Entry(tree.mark, tree)
    path: list[str] = []
    for index, part in enumerate(loc):
        node = entry.node
        if isinstance(node, Mapping) and part in node.entries:
            entry = node.entries[part]
        elif (
            isinstance(part, int)
            and not isinstance(node, (Mapping, Scalar))
            and part < len(node.items)
        ):
            entry = Entry(node.items[part].mark, node.items[part])
        else:
            return tuple(path), entry, loc[index:]
        path.append(str(part))
    return tuple(path), entry, ()


def _example_of(path: tuple[str, ...], key: str) -> str:
    examples = {
        "version": "version: 1",
        "name": "name: my-sweep, which is also its folder under studies/",
        "model": "model: {id: a hub id or a local folder}",
        "data": "data: {train: ..., domain: ..., heldout: ...}",
        "budget": "budget: {trials: 24}",
        "trials": "trials: 24",
        "id": "a hub id or a local folder",
        "study": "study: the name of a finished study",
        "url_env": "url_env: ORCHESTRATE_STORAGE, a variable that holds the server's address",
    }
    if path == ("take",) and key == "parameters":
        return f"parameters: {_LISTS[(*path, key)]}"
    return examples.get(key, "the path of a manifest") if path[:1] != ("metric",) else key
