"""Merging of a sweep file with the files that it extends and with the overrides of the command
line. Every value keeps the place where it was written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence as SequenceABC
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import SpecError
from orchestrator.sweepfile.evaluation import Precisions
from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Mark,
    Node,
    Problems,
    Scalar,
    Sequence,
    Unreadable,
    describe_node,
    did_you_mean,
    in_backticks,
)
from orchestrator.sweepfile.parameters import NAMES
from orchestrator.sweepfile.unknown_keys import EXTENDS, fields_at
from orchestrator.sweepfile.yaml_reading import MAX_BYTES, read_text
from orchestrator.typed_words import without_credentials

_SHORT_FORMS = {("evaluation", "precision"): tuple(Precisions.model_fields)}
"""Fields in which one word is short for a mapping, with the keys that it stands for."""
_IN_EVERY_SWEEP = ("parameters", EXTENDS)
"""Keys of which every sweep file has one."""
_OF_STUDIES = ("study.json", "journal.jsonl", "study.db")
"""Files of a study, of which at least one lies beside its spec.yaml."""


def read_layers(path: Path, problems: Problems) -> Mapping:
    """Return the tree of `path`, merged over the files that it extends. Raises Unreadable when
    nothing can be read, and SpecError where `path` itself is no file that could be a sweep.
    """
    return _read_file(path, None, (), problems)


def is_kept_by_study(path: Path) -> bool:
    """Whether this is the spec.yaml of a study, and no sweep file of that name."""
    beside = (path.parent / name for name in _OF_STUDIES)
    return path.name == "spec.yaml" and any(map(os.path.lexists, beside))


def holds_sweep(path: Path) -> bool:
    """Whether a file is a sweep file by what it holds, however it is called: fields of one and
    nothing else, `parameters` or `extends` among them.
    """
    problems = Problems()
    try:
        text = _file_text(path, None, problems)
        if not any(
            key in text for key in _IN_EVERY_SWEEP
        ):  # a list of much else takes long to parse
            return False
        tree = read_text(text, Mark(str(path), 1, 1), problems)
    except (SpecError, Unreadable):
        return False
    keys = set(tree.entries) if isinstance(tree, Mapping) else set()
    return not keys.isdisjoint(_IN_EVERY_SWEEP) and keys <= set(fields_at(()))


def overridden(tree: Mapping, overrides: SequenceABC[str], problems: Problems) -> Mapping:
    """Return the tree with the overrides applied in turn; one that cannot be read changes nothing
    but is a problem.
    """
    for text in overrides:
        try:
            tree = _apply_override(tree, text, problems)
        except Unreadable:
            continue
    return tree


def _read_file(
    path: Path, asked: Mark | None, above: tuple[str, ...], problems: Problems
) -> Mapping:
    """Read a file, merged over those that it extends. `asked` is where its name was written, None
    for the command line; `above` the real paths of the files that extend it, to refuse a circle.
    """
    text = _file_text(path, asked, problems)
    tree = read_text(text, Mark(str(path), 1, 1), problems)
    if not isinstance(tree, Mapping):
        problems.abort(
            tree.mark, f"a sweep file is a mapping of keys to values, not {describe_node(tree)}"
        )
    extends = tree.entries.get("extends")
    if extends is None or _is_null(extends.node):
        return tree
    rest = Mapping(
        tree.mark, {key: entry for key, entry in tree.entries.items() if key != "extends"}
    )
    mark = extends.node.mark
    if (
        not isinstance(extends.node, Scalar)
        or not isinstance(extends.node.value, str)
        or not extends.node.value
    ):
        problems.abort(
            mark, f"extends must name one other sweep file, not {describe_node(extends.node)}"
        )
    other = Path(os.path.normpath(path.parent / extends.node.value))
    chain = (*above, os.path.realpath(path))
    if os.path.realpath(other) in chain:
        problems.abort(
            mark,
            f"extends {in_backticks(extends.node.value)} comes back to a file of the same chain; cut the circle",
        )
    return _merge_mappings(_read_file(other, mark, chain, problems), rest, ())


def _file_text(path: Path, asked: Mark | None, problems: Problems) -> str:
    fault, data = "", b""
    try:
        if not path.exists():
            fault = _missing_text(path, asked)
        elif not path.is_file():
            fault = (
                f"{in_backticks(path)} is not a regular file; name a sweep file; "
                f"{_files_text(_sweep_files(path if path.is_dir() else path.parent, asked))}"
            )
        elif path.stat().st_size > MAX_BYTES and not is_kept_by_study(path):
            fault = f"{in_backticks(path)} has {path.stat().st_size} bytes, the limit is {MAX_BYTES}; is it a sweep?"
        else:
            data = path.read_bytes()
    except (OSError, ValueError) as error:
        fault = f"{in_backticks(path)} cannot be read ({error}); check its name and permissions"
    if fault and asked is None:
        raise SpecError(fault)
    if fault and asked is not None:
        problems.abort(asked, fault)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problems.abort(
            Mark(str(path), line, column),
            f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8",
        )


def _missing_text(path: Path, asked: Mark | None) -> str:
    """Say that there is no such file, and which sweep files there are near it."""
    shown = _sweep_files(path.parent, asked)
    near = did_you_mean(path.name, shown, shown)
    return f"there is no file {in_backticks(path)}{near or ';'} {_files_text(shown)}"


def _sweep_files(folder: Path, asked: Mark | None) -> dict[str, str]:
    """Map the names of the sweep files in a folder, and in sweeps/ there, to what is written for
    them: in a file that extends them their path from its folder, on the command line any path.
    """
    found = [
        file for each in (folder, folder / "sweeps") for file in sorted(each.glob("[!.]*.y*ml"))
    ]
    start = None if asked is None else Path(asked.source).parent
    return {
        file.name: str(file) if start is None else os.path.relpath(file, start) for file in found
    }


def _files_text(shown: MappingABC[str, str]) -> str:
    if not shown:
        return "no sweep files there either"
    return f"files there: {', '.join([*shown.values()][:12])}"


def _merge_mappings(base: Mapping, over: Mapping, path: tuple[str, ...]) -> Mapping:
    """Merge `over` into `base`: mappings are merged key by key, anything else is replaced. A word
    that is short for a mapping is merged with one as the mapping that it stands for.

    Each entry of `parameters` is replaced as a whole, so that a parameter is never a mixture of two
    files; one without a value is removed.
    """
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        old, new, place = entries.get(key), entry.node, (*path, key)
        if path == ("parameters",):
            if old is not None and _is_null(new):
                del entries[key]
                continue
        elif old is not None and isinstance(new, Mapping):
            full = _in_full(old.node, place)
            if isinstance(full, Mapping):
                new = _merge_mappings(full, new, place)
        entries[key] = Entry(entry.mark, new)
    return Mapping(over.mark, entries)


def _in_full(node: Node, path: tuple[str, ...]) -> Node:
    """Return the mapping that a word is short for, each part where the word is written; any other
    node as it is.
    """
    if path not in _SHORT_FORMS or not isinstance(node, Scalar) or _is_null(node):
        return node
    return Mapping(node.mark, {key: Entry(node.mark, node) for key in _SHORT_FORMS[path]})


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _apply_override(tree: Mapping, text: str, problems: Problems) -> Mapping:
    """Return the tree with an override `key.path=value` applied; the value is read as YAML, but for
    the study's name, which is text: a folder may be called 2026.
    """
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    # the address of a database does not belong here, and may hold a password that must not be shown
    shown = f"{path}=..." if keys[0] == "storage" and "://" in value else without_credentials(text)
    place = Mark(f"override {shown if shown.isprintable() else ascii(shown)}")
    if not equals or not all(keys):
        problems.abort(place, "an override has the form key.path=value, such as budget.trials=10")
    if keys[0] == "extends":
        problems.abort(
            place, "extends cannot be overridden; name the other file on the command line instead"
        )
    node = Scalar(place, value, value) if keys == ["name"] else read_text(value, place, problems)
    if isinstance(node, Mapping) and not node.entries and not value.strip().startswith("{"):
        node = Scalar(place, None, "")
    result = _put_at_key(tree, tuple(keys), 0, node, place, problems)
    assert isinstance(result, Mapping)
    return result


def _put_at_key(
    old: Node, keys: tuple[str, ...], at: int, new: Node, place: Mark, problems: Problems
) -> Node:
    """Return `old` with the node at the path keys[at:] replaced by `new`."""
    if at == len(keys):
        return new
    key = keys[at]
    old = _in_full(old, keys[:at])
    if isinstance(old, Sequence):
        if not (key.isascii() and key.isdigit() and len(key) < 7 and int(key) < len(old.items)):
            problems.abort(
                place,
                f"{'.'.join(keys[:at])} is a list; {in_backticks(key)} is not an index from 0 to {len(old.items) - 1}",
            )
        items = list(old.items)
        items[int(key)] = _put_at_key(items[int(key)], keys, at + 1, new, place, problems)
        return replace(old, items=tuple(items))
    if isinstance(old, Scalar) and not _is_null(old):
        problems.abort(
            place,
            f"{'.'.join(keys[:at])} is the value {describe_node(old)}, which has no {in_backticks(key)} inside",
        )
    entries = dict(old.entries) if isinstance(old, Mapping) else {}
    inner = entries[key].node if key in entries else Mapping(place, {})
    if keys[:at] == ("parameters",) and at + 1 == len(keys) and key in NAMES and _is_null(new):
        entries.pop(key, None)
    else:
        entries[key] = Entry(place, _put_at_key(inner, keys, at + 1, new, place, problems))
    return Mapping(old.mark, entries)
