"""Checks of the limits of a sweep file: each must be on a rate that the sweep measures and ask
something that makes sense for it.
"""

from __future__ import annotations

import re

from orchestrator.sweepfile.limits import (
    ANY,
    EVERY,
    PERCENT,
    SHIPPED,
    TERMS,
    Limit,
    limit_keys,
    metrics,
    questions_of,
    set_of,
)
from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Node,
    Problems,
    Scalar,
    describe_node,
    did_you_mean,
    has_value,
    in_backticks,
    plain_value,
)

SECTIONS = ("guardrails", "acceptance")
"""The sections of a sweep file that hold limits."""


def check_limits(tree: Mapping, problems: Problems) -> None:
    """Record a problem for every limit on a rate that the sweep does not measure, or that asks
    nothing that makes sense.
    """
    allowed = _metrics_of_file(tree)
    confirmed = _confirmed_sets(tree)
    for section in SECTIONS:
        node = mapping_at(tree, section)
        for metric, entry in (node.entries if node else {}).items():
            if metric == SHIPPED and plain_value(entry.node) is not None:
                _asks_for_shipped(section, entry, problems)
            if metric == SHIPPED:
                continue
            if metric not in allowed:
                if _sets_are_readable(tree):
                    problems.add(entry.mark, _no_such_metric(tree, section, metric, allowed))
                problems.drop_later(entry.node.mark)  # whatever it asks
                continue
            if plain_value(entry.node) is None:
                continue
            _check_questions(section, metric, entry, problems)
            for name in _unconfirmed_sets(tree, set_of(metric), confirmed):
                problems.add(
                    entry.mark,
                    f"{section}.{metric} is judged on the confirm sets, and data.confirm.also lacks {name}; add its "
                    "manifest there, one that the search does not read",
                )


def check_verdict_is_asked_for(tree: Mapping, problems: Problems, of_study: bool) -> None:
    """Refuse what is asked of the verdict where nothing under acceptance makes one. Studies may have
    begun with that, so in the file of one (`of_study`) only what is asked on the command line is
    refused.
    """
    acceptance = mapping_at(tree, "acceptance")
    entries = acceptance.entries if acceptance else {}
    if any(
        key != SHIPPED and plain_value(entry.node) is not None for key, entry in entries.items()
    ):
        return
    asked = []
    if SHIPPED in entries and plain_value(entries[SHIPPED].node) is not None:
        asked.append(("acceptance.shipped", entries[SHIPPED].mark))
    confirm = mapping_at(tree, "confirm")
    if confirm and "agree" in confirm.entries:
        entry = confirm.entries["agree"]
        asked += [("confirm.agree: all", entry.mark)] * (plain_value(entry.node) == "all")
    for what, mark in asked:
        if not of_study or mark.line == 0:
            problems.add(
                mark,
                f"{what} needs a limit of acceptance to decide about; add one, such as domain_wer: {{min_gain: 1.0}}",
            )


def _asks_for_shipped(section: str, entry: Entry, problems: Problems) -> None:
    """Check `shipped`: only in acceptance, and either true or the long form that a study's own
    spec.yaml has, {asks: kept, rule: ...}.
    """
    if section != "acceptance":
        problems.add(
            entry.mark,
            f"{section} cannot have shipped, which is asked of the winner; move it to acceptance",
        )
        return
    given = plain_value(entry.node)
    long_form = (
        isinstance(given, dict) and given.get("asks") == "kept" and set(given) <= {"asks", "rule"}
    )
    if given is not True and not long_form:
        problems.add(
            entry.node.mark,
            f"acceptance.shipped cannot be {describe_node(entry.node)}; allowed: true, or remove it",
        )


def _metrics_of_file(tree: Mapping) -> tuple[str, ...]:
    """Return the metrics that limits may be set on, by the sets that the file declares."""
    data, evaluation = mapping_at(tree, "data"), mapping_at(tree, "evaluation")
    sets = [name for name in ("domain", "heldout") if name == "domain" or has_value(data, name)]
    also = mapping_at(data, "also")
    return metrics(sets, also.entries if also else (), has_value(evaluation, "terms"))


def _sets_are_readable(tree: Mapping) -> bool:
    """Whether the file says which sets there are; if not, that is the one problem of all limits."""
    data = mapping_at(tree, "data")
    return data is not None and (
        not has_value(data, "also") or mapping_at(data, "also") is not None
    )


def _confirmed_sets(tree: Mapping) -> tuple[str, ...] | None:
    """Return the sets that have a confirm manifest; None where the confirm sets are a split, which
    has all of them, and where there is no confirmation.
    """
    confirm = mapping_at(mapping_at(tree, "data"), "confirm")
    if confirm is None or has_value(confirm, "split") or not has_value(tree, "confirm"):
        return None
    also = mapping_at(confirm, "also")
    return ("domain", "heldout", *(also.entries if also else ()))


def _unconfirmed_sets(
    tree: Mapping, name: str, confirmed: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the sets that a limit on set `name` needs in confirmation and that are not measured
    there.
    """
    if confirmed is None or not name:
        return ()
    also = mapping_at(mapping_at(tree, "data"), "also")
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
    where = f"unknown key {in_backticks(metric)} in {section}"
    return f"{where}{did_you_mean(metric, allowed) or ';'} allowed: {', '.join(allowed)}"


def _check_questions(section: str, metric: str, entry: Entry, problems: Problems) -> None:
    """Check the keys of one limit: at least one asks something, and all fit the metric."""
    keys, node = limit_keys(metric), entry.node
    name = f"{section}.{metric}"
    asked: Node | None = node
    if isinstance(node, Mapping):
        for key, given in node.entries.items():
            if key not in (*keys, "rule") and key in Limit.model_fields:
                problems.add(given.mark, f"{name} cannot have {key}; allowed: {', '.join(keys)}")
            elif key in keys and plain_value(given.node) is None:
                problems.add(given.mark, f"{name}.{key} has no value; write one, or remove the key")
            elif key == "min_gain" and _is_beyond_all_errors(given.node):
                problems.add(
                    given.mark,
                    f"{name}.{key} cannot be {describe_node(given.node)}; allowed: at most 100%, after which no error "
                    "is left",
                )
            elif (
                metric in TERMS
                and isinstance(given.node, Scalar)
                and str(given.node.value).endswith("%")
            ):
                problems.add(
                    given.mark,
                    f"{name}.{key} cannot be {describe_node(given.node)}; allowed: a number of points",
                )
        if not set(node.entries) & set(Limit.model_fields) - {"rule"}:
            problems.add(node.mark, f"{name} asks nothing; give {' or '.join(keys)}")
        asked = node.entries["asks"].node if "asks" in node.entries else None
    words = questions_of(metric)
    if isinstance(asked, Scalar) and asked.value is not None and asked.value not in words:
        guess = did_you_mean(asked.text, words)
        allowed = ", ".join(words)
        if asked is node and "min_gain" in keys:
            # without a sign: an amount is at least 0
            points = asked.text.lstrip("+-") if type(asked.value) in (int, float) else "0.2"
            allowed = f"{{max_regression: {points}}}, {{min_gain: {points}}}, or {allowed}"
        problems.add(
            asked.mark,
            f"{name} cannot be {describe_node(asked)}{guess or ';'} allowed: {allowed}",
        )


def _is_beyond_all_errors(node: Node) -> bool:
    """Whether a gain is above 100 % of the baseline's rate."""
    text = str(node.value) if isinstance(node, Scalar) else ""
    return re.fullmatch(PERCENT, text) is not None and float(text.removesuffix("%")) > 100


def mapping_at(node: Node | None, key: str) -> Mapping | None:
    """Return the mapping under a key; None where there is none."""
    inner = node.entries[key].node if isinstance(node, Mapping) and key in node.entries else None
    return inner if isinstance(inner, Mapping) else None
