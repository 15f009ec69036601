"""Checks of `execution:` where packs run on several devices, or on the machines of a cluster."""

from __future__ import annotations

from orchestrator.sweepfile.limit_checks import mapping_at
from orchestrator.sweepfile.located_nodes import Mapping, Problems, describe_node, plain_value

_ASKED = {
    "packs": "2 or more, for one pack runs on the machine where the command is given",
    "cores": "a number: the cores that each pack asks of its machine",
    "device": "cpu, or cuda for a GPU of its own for each pack",
}
"""Keys of `execution` that `launcher: ray` needs -> what their value may be."""


def check_launcher(tree: Mapping, problems: Problems) -> None:
    """Check that a file with `launcher: ray` sets all keys that are asked of the cluster, and none
    that concerns a single machine only.
    """
    execution = mapping_at(tree, "execution")
    if execution is None or _value_of_key(execution, "launcher") != "ray":
        return
    for key, allowed in _ASKED.items():
        value = _value_of_key(execution, key)
        if value is None:
            mark = execution.entries["launcher"].mark
            problems.add(mark, f"launcher: ray needs execution.{key}; add it: {allowed}")
        elif not _fits_a_cluster(key, value):
            node = execution.entries[key].node
            text = f"execution.{key} cannot be {describe_node(node)} with launcher: ray; allowed: "
            problems.add(node.mark, text + allowed)
    for key, default in (("devices", ()), ("processes", "auto")):
        if _value_of_key(execution, key) not in (None, default):
            problems.add(
                execution.entries[key].mark,
                f"execution.{key} is of one machine, and launcher: ray has others; remove it",
            )


def check_devices(tree: Mapping, problems: Problems) -> None:
    """Check `devices`: all of one kind, and none of them in vain."""
    execution = mapping_at(tree, "execution")
    named = None if execution is None else _value_of_key(execution, "devices")
    if execution is None or not isinstance(named, (list, tuple)) or not named:
        return
    names = sorted({str(name) for name in named})
    kinds = sorted({name.partition(":")[0] for name in names})
    packs = _value_of_key(execution, "packs")
    text = ""
    if len(kinds) > 1:
        text = (
            f"execution.devices are of several kinds, {' and '.join(kinds)}; name those of one kind"
        )
    elif len(names) > 1 and _value_of_key(execution, "processes") is False:
        text = (
            "execution.processes: false keeps all packs in one process, on one device, and execution.devices names "
            f"{len(names)}; remove one of the two"
        )
    elif len(names) > 1 and packs in range(1, len(named)):
        text = (
            f"execution.devices names {len(named)}, and execution.packs is {packs}: a pack trains on one device; "
            f"write packs: auto, or at least {len(named)}"
        )
    if text:
        problems.add(execution.entries["devices"].mark, text)


def _value_of_key(execution: Mapping, key: str) -> object:
    return plain_value(execution.entries[key].node) if key in execution.entries else None


def _fits_a_cluster(key: str, value: object) -> bool:
    if key == "device":
        return value in ("cpu", "cuda")
    # values of a wrong type are refused where the field is read
    return value != "auto" and not (key == "packs" and value == 1)
