"""All of the sweep file but its search space: a tree becomes a SweepSpec, and pydantic's refusals
become sentences.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.set_names import is_confirm
from orchestrator.sweepfile.data import ALSO_NAME, RESERVED, AlsoSet
from orchestrator.sweepfile.limits import (
    ANY,
    EVERY,
    SHIPPED,
    TERMS,
    Limit,
    limit_keys,
    metrics,
    questions_of,
    set_of,
)
from orchestrator.sweepfile.reading import (
    Entry,
    Mapping,
    Mark,
    Node,
    Problems,
    Scalar,
    describe,
    nearest,
    plain,
    show,
)
from orchestrator.sweepfile.sweep import SearchSpace, SweepSpec

SECTIONS = ("guardrails", "acceptance")
"""Of limits."""

_PATHS = (
    ("data", "train"),
    ("data", "replay"),
    ("data", "domain"),
    ("data", "heldout"),
    ("data", "confirm", "domain"),
    ("data", "confirm", "heldout"),
    ("evaluation", "terms"),
)
DURATION = r"^([0-9]+(\.[0-9]+)?[dhms])+$"
"""Such as 2h, 90m, 30s, 1h30m."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text; quote it if it looks like a number",
    "is_instance_of": "a path",
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
    return sum(
        float(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", text)
    )


def build(
    tree: Mapping, space: SearchSpace, points: tuple[Any, ...], root: Path, problems: Problems
) -> SweepSpec | None:
    """The spec, or None with the problems recorded."""
    raw = {key: plain(entry.node) for key, entry in tree.entries.items()}
    _resolve_paths(raw, root)
    _wall_clock(raw, tree, problems)
    _also_names(tree, problems)
    _limits(tree, problems)
    _confirm_data(tree, problems)
    raw |= {"parameters": space, "start_with": points}
    if "parameters" not in tree.entries:
        problems.add(
            tree.mark, "the sweep file lacks `parameters`; add what to fix and what to search"
        )
    try:
        return SweepSpec.model_validate(raw).located(root)
    except ValidationError as error:
        _explain(error, tree, problems)
        return None


def _resolve_paths(raw: dict[str, Any], root: Path) -> None:
    for *sections, key in _PATHS:
        _resolve(_section(raw, *sections), key, root)
    for also in (_section(raw, "data", "also"), _section(raw, "data", "confirm", "also")):
        for name, value in also.items():
            _resolve(
                value if isinstance(value, dict) else also,
                "manifest" if isinstance(value, dict) else name,
                root,
            )
    model = _section(raw, "model")
    if isinstance(model.get("id"), str) and model["id"].strip():
        model["id"] = _model_id(model["id"], root)


def _section(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    """The mapping under these keys; an empty one where there is none."""
    section: Any = raw
    for name in names:
        section = section.get(name) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}


def _resolve(section: dict[str, Any], key: str, root: Path) -> None:
    """The path under `key`, where there is one, becomes absolute."""
    if isinstance(section.get(key), str) and section[key].strip():
        section[key] = Path(os.path.abspath(root / os.path.expanduser(section[key])))


def _model_id(text: str, root: Path) -> str:
    """A hub id as it is; a folder, or what lies beside existing files of the project, as an
    absolute path.
    """
    path = Path(os.path.abspath(root / os.path.expanduser(text)))
    explicit = text.startswith(("/", "~", "./", "../"))
    # unlike Path.is_dir, never raises on a hostile name
    beside = path.parent != root and os.path.isdir(path.parent)
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
    """Every limit is set on a rate that the sweep measures, and asks something of it that makes
    sense.
    """
    allowed = _metrics(tree)
    confirmed = _confirmed_sets(tree)
    for section in SECTIONS:
        node = _mapping(tree, section)
        for metric, entry in (node.entries if node else {}).items():
            if plain(entry.node) is None:
                continue
            if metric == SHIPPED:
                _asks_for_shipped(section, entry, problems)
                continue
            if metric not in allowed:
                problems.add(entry.mark, _no_such_metric(tree, section, metric, allowed))
                continue
            _questions(section, metric, entry, problems)
            for name in _unconfirmed(tree, set_of(metric), confirmed):
                problems.add(
                    entry.mark,
                    f"{section}.{metric} is judged on the confirm sets, and data.confirm.also lacks {name}; add its "
                    "manifest there, one that the search does not read",
                )


def _asks_for_shipped(section: str, entry: Entry, problems: Problems) -> None:
    """`shipped` is true, or as a study keeps it: asks, with its rule; and it is no guardrail."""
    if section != "acceptance":
        problems.add(
            entry.mark,
            f"{section} cannot have shipped, which is asked of the winner; move it to acceptance",
        )
        return
    given = plain(entry.node)
    long_form = (
        isinstance(given, dict) and given.get("asks") == "kept" and set(given) <= {"asks", "rule"}
    )
    if given is not True and not long_form:
        problems.add(
            entry.node.mark,
            f"acceptance.shipped cannot be {describe(entry.node)}; allowed: true, or remove it",
        )


def _also_names(tree: Mapping, problems: Problems) -> None:
    """Names of sets that nothing else means."""
    data = _mapping(tree, "data")
    for owner in (data, _mapping(data, "confirm")):
        also = _mapping(owner, "also")
        for name, entry in (also.entries if also else {}).items():
            if name in RESERVED or is_confirm(name) or not re.fullmatch(ALSO_NAME, name):
                problems.add(
                    entry.mark,
                    f"a set cannot be named {show(name)}; allowed: lower-case letters, digits and underscores, but not "
                    f"{', '.join(RESERVED)} or confirm_...",
                )
    declared = _mapping(data, "also")
    confirmed = _mapping(_mapping(data, "confirm"), "also")
    for name, entry in (confirmed.entries if confirmed else {}).items():
        if declared is None or name not in declared.entries:
            problems.add(
                entry.mark,
                f"data.confirm.also has {show(name)}, which data.also lacks; add it there too",
            )


def _metrics(tree: Mapping) -> tuple[str, ...]:
    """The metrics of a sweep file as far as it says its sets."""
    data, evaluation = _mapping(tree, "data"), _mapping(tree, "evaluation")
    sets = [name for name in ("domain", "heldout") if name == "domain" or _has(data, name)]
    also = _mapping(data, "also")
    return metrics(sets, also.entries if also else (), _has(evaluation, "terms"))


def _confirmed_sets(tree: Mapping) -> tuple[str, ...] | None:
    """The sets that are measured again in confirmation, where manifests say which; None where all
    are, or none.
    """
    confirm = _mapping(_mapping(tree, "data"), "confirm")
    if confirm is None or _has(confirm, "split") or not _has(tree, "confirm"):
        return None
    also = _mapping(confirm, "also")
    return ("domain", "heldout", *(also.entries if also else ()))


def _unconfirmed(tree: Mapping, name: str, confirmed: tuple[str, ...] | None) -> tuple[str, ...]:
    """The sets that a limit on this one needs in confirmation and that are not measured there."""
    if confirmed is None or not name:
        return ()
    also = _mapping(_mapping(tree, "data"), "also")
    declared = tuple(also.entries) if also else ()
    if name == ANY:  # one of them is enough
        return () if set(declared) & set(confirmed) else declared[:1]
    return tuple(
        wanted for wanted in (declared if name == EVERY else (name,)) if wanted not in confirmed
    )


def _no_such_metric(tree: Mapping, section: str, metric: str, allowed: tuple[str, ...]) -> str:
    if metric in ("heldout_wer", "heldout_cer"):
        return (
            f"{section}.{metric} needs data.heldout, which the sweep file lacks; "
            f"add the manifest or remove the limit"
        )
    if metric in TERMS:
        return f"{section}.{metric} needs evaluation.terms, a file with a word or phrase a line; add it"
    if metric.startswith((f"{ANY}_", f"{EVERY}_")):
        return f"{section}.{metric} needs data.also, which the sweep file lacks; add sets there or remove the limit"
    where = f"unknown key {show(metric)} in {section}"
    return f"{where}{nearest(metric, allowed) or ';'} allowed: {', '.join(allowed)}"


def _questions(section: str, metric: str, entry: Entry, problems: Problems) -> None:
    """The keys of one limit: at least one that asks something, none that does not fit the
    metric.
    """
    keys, node = limit_keys(metric), entry.node
    name = f"{section}.{metric}"
    asked: Node | None = node
    if isinstance(node, Mapping):
        for key, given in node.entries.items():
            if key not in (*keys, "rule") and key in Limit.model_fields:
                problems.add(given.mark, f"{name} cannot have {key}; allowed: {', '.join(keys)}")
            elif key in keys and plain(given.node) is None:
                problems.add(given.mark, f"{name}.{key} has no value; write one, or remove the key")
            elif (
                metric in TERMS
                and isinstance(given.node, Scalar)
                and str(given.node.value).endswith("%")
            ):
                problems.add(
                    given.mark,
                    f"{name}.{key} cannot be {describe(given.node)}; allowed: a number of points",
                )
        if not set(node.entries) & set(Limit.model_fields) - {"rule"}:
            problems.add(node.mark, f"{name} asks nothing; give {' or '.join(keys)}")
        asked = node.entries["asks"].node if "asks" in node.entries else None
    words = questions_of(metric)
    if isinstance(asked, Scalar) and asked.value is not None and asked.value not in words:
        guess = nearest(asked.text, words)
        problems.add(
            asked.mark,
            f"{name} cannot be {describe(asked)}{guess or ';'} allowed: {', '.join(words)}",
        )


def _mapping(node: Node | None, key: str) -> Mapping | None:
    """The mapping under a key; None where there is none."""
    inner = node.entries[key].node if isinstance(node, Mapping) and key in node.entries else None
    return inner if isinstance(inner, Mapping) else None


def _has(node: Node | None, key: str) -> bool:
    """Whether there is a value under a key."""
    return (
        isinstance(node, Mapping)
        and key in node.entries
        and plain(node.entries[key].node) is not None
    )


def _confirm_data(tree: Mapping, problems: Problems) -> None:
    """Confirm sets are two manifests, or a split; nothing of both and nothing by halves."""
    data = tree.entries.get("data")
    entry = data.node.entries.get("confirm") if data and isinstance(data.node, Mapping) else None
    if entry is None or not isinstance(entry.node, Mapping):
        return
    given = {
        key: child
        for key, child in entry.node.entries.items()
        if plain(child.node) not in (None, {})
    }
    wanted = [
        key
        for key in ("domain", "heldout")
        if key == "domain" or _has(data.node if data else None, key)
    ]
    manifests = [
        key
        for key in ("domain", "heldout", "also")
        if key in given and plain(given[key].node) != {}
    ]
    if "split" in given:
        for key in manifests:
            problems.add(
                given[key].mark,
                f"data.confirm has {key} and split; give split alone, or the manifests {' and '.join(wanted)}, and "
                f"write `{key}:` without a value where another file is extended",
            )
        return
    missing = " and ".join(show(key) for key in wanted if key not in given)
    if missing:
        both = "both manifests" if len(wanted) > 1 else "its manifest"
        problems.add(
            entry.node.mark,
            f"data.confirm lacks {missing}; give {both}, or split: 0.3 to split them off by speaker",
        )
    elif "seed" in given:
        problems.add(
            given["seed"].mark,
            "data.confirm.seed belongs to a split; remove it, the manifests are fixed",
        )


def _explain(error: ValidationError, tree: Mapping, problems: Problems) -> None:
    wanted: dict[tuple[str, ...], list[ErrorDetails]] = {}
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
            wanted.setdefault(path, []).append(item)
            found[path] = (entry.node.mark, entry.node)
    for path, items in wanted.items():
        mark, node = found[path]
        words = [word for item in items for word in _words(item)]
        guess = nearest(node.text, words) if isinstance(node, Scalar) else ""
        allowed = " or ".join(dict.fromkeys(map(_allowed, items)))
        problems.add(
            mark, f"{'.'.join(path)} cannot be {describe(node)}{guess or ';'} allowed: {allowed}"
        )


def _allowed(item: ErrorDetails) -> str:
    """What is allowed, from the type of an error and its context: pydantic's sentences change with
    its version.
    """
    context = item.get("ctx", {})
    if item["type"] == "value_error":  # one of our own validators says what is allowed
        return str(context["error"])
    return _WANTED[item["type"]].format(**context) if item["type"] in _WANTED else item["msg"]


def _words(item: ErrorDetails) -> list[str]:
    """The words of a literal; none where something else is wanted."""
    return (
        re.findall(r"'([^']+)'", item["ctx"]["expected"]) if item["type"] == "literal_error" else []
    )


def _follow(tree: Mapping, loc: tuple[Any, ...]) -> tuple[tuple[str, ...], Entry, tuple[Any, ...]]:
    """As far as pydantic's location exists in the tree: the path, the entry there, and what
    remains.
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


def fields_at(path: tuple[str, ...]) -> tuple[str, ...]:
    """The keys allowed under a path of the sweep file."""
    if len(path) == 2 and path[0] in SECTIONS:
        return (*limit_keys(path[1]), "rule")
    model: type[BaseModel] = SweepSpec
    for part in path:
        if part not in model.model_fields:  # the name of a set
            model = AlsoSet
            continue
        annotation = model.model_fields[part].annotation
        options = (annotation, *get_args(annotation))
        model = next(
            (
                option
                for option in options
                if isinstance(option, type) and issubclass(option, BaseModel)
            ),
            model,
        )
    return (*(("extends",) if not path else ()), *model.model_fields)


FORMER = {
    (
        "execution",
        "launcher",
    ): "where packs run is said by execution.devices and execution.processes",
    ("execution", "workers"): "several packs at once are execution.packs",
}
"""Keys that sweep files had, and what is written today."""


def _unknown(path: tuple[str, ...], entry: Entry, problems: Problems) -> None:
    if path in FORMER:
        problems.add(entry.mark, f"{'.'.join(path)} is no key any more; remove it: {FORMER[path]}")
        return
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
