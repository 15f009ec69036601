"""Refusal of keys that the sweep file does not know, before its sections are read. A key that is
taken for another, misspelt one stands for that one from then on, so that what is missed without it
is no second problem.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel

from orchestrator.sweepfile.data import AlsoSet
from orchestrator.sweepfile.limit_checks import SECTIONS
from orchestrator.sweepfile.limits import SHIPPED, TERMS, TRAIN_LOSS, Limit, limit_keys
from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Node,
    Problems,
    Unreadable,
    did_you_mean,
    in_backticks,
    nearest,
)
from orchestrator.sweepfile.sweep import SweepSpec

EXTENDS = "extends"
"""The key of the whole file that is read with the file, and so no field of a sweep."""
FORMER = {("execution", "workers"): "several packs at once are execution.packs"}
"""Keys that sweep files had in former versions -> what is written instead."""
_OTHERS = (*TERMS, TRAIN_LOSS, SHIPPED)
"""Keys of limits that are no error rates."""
_READ_APART = ("parameters", "start_with")
"""Sections whose keys are names of parameters."""


def with_known_keys(tree: Mapping, problems: Problems) -> Mapping:
    """Record a problem for every key that there is not, and return the tree without these: each is
    left out, or stands under the key that it was taken for. Raises Unreadable where that is
    `extends`.
    """
    return _known_keys(tree, (), SweepSpec, problems)


def fields_at(path: tuple[str, ...], model: type[BaseModel] = SweepSpec) -> tuple[str, ...]:
    """Return the keys that are allowed under a path of the sweep file, at which `model` stands."""
    if model is Limit:
        return (*limit_keys(path[1]), "rule")
    return (*((EXTENDS,) if not path else ()), *model.model_fields)


def _known_keys(
    node: Mapping, path: tuple[str, ...], model: type[BaseModel], problems: Problems
) -> Mapping:
    entries: dict[str, Entry] = {}
    allowed = fields_at(path, model)
    for key, entry in node.entries.items():
        if key in allowed or key in model.model_fields:
            entries[key] = entry
            continue
        problems.add(entry.mark, _refusal((*path, key), allowed))
        meant = nearest(key, allowed)
        if meant == EXTENDS:
            raise Unreadable  # what the other file has is not known
        if meant and meant not in node.entries and (*path, key) not in FORMER:
            entries.setdefault(meant, entry)
            problems.drop_later(entry.mark)
            problems.drop_later(entry.node.mark)
    if path and len(entries) < len(node.entries):
        problems.drop_later(node.mark)  # what is lacking is likely what was written so
    return Mapping(
        node.mark,
        {
            key: Entry(entry.mark, _inner(entry.node, (*path, key), model, problems))
            for key, entry in entries.items()
        },
    )


def _inner(node: Node, path: tuple[str, ...], model: type[BaseModel], problems: Problems) -> Node:
    """Return the value of a field of `model` without unknown keys."""
    if not isinstance(node, Mapping) or path[0] in _READ_APART:
        return node
    annotation = model.model_fields[path[-1]].annotation
    options = (annotation, *get_args(annotation))
    inner = next((each for each in options if _is_section(each)), None)
    if inner is not None:
        return _known_keys(node, path, inner, problems)
    entries = {
        name: Entry(entry.mark, _known_keys(entry.node, (*path, name), named, problems))
        for name, entry in node.entries.items()
        if isinstance(entry.node, Mapping) and (named := _model_of_name((*path, name)))
    }
    return Mapping(node.mark, node.entries | entries)


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _model_of_name(path: tuple[str, ...]) -> type[BaseModel] | None:
    """Return what stands under a name that the file chooses: a set, or what may be a limit."""
    if path[:-1] == ("data", "also"):
        return AlsoSet
    limits = path[0] in SECTIONS and (path[1].endswith(("_wer", "_cer")) or path[1] in _OTHERS)
    return Limit if limits else None


def _refusal(path: tuple[str, ...], allowed: Iterable[str]) -> str:
    if path in FORMER:
        return f"{'.'.join(path)} is no key any more; remove it: {FORMER[path]}"
    where = f" in {'.'.join(path[:-1])}" if path[:-1] else ""
    return (
        f"unknown key {in_backticks(path[-1])}{where}{did_you_mean(path[-1], allowed) or ';'} allowed: "
        f"{', '.join(allowed)}"
    )
