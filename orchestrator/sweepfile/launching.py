"""What a sweep file must say where its packs run on the machines of a cluster."""

from __future__ import annotations

from orchestrator.sweepfile.limit_checks import mapping_at
from orchestrator.sweepfile.located_nodes import Mapping, Problems, describe_node, plain_value

_ASKED = {
    "packs": "2 or more, for one pack runs on the machine where the command is given",
    "cores": "a number: the cores that each pack asks of its machine",
    "device": "cpu, or cuda for a GPU of its own for each pack",
}
"""Key of execution -> what it may be there."""


def check_launcher(tree: Mapping, problems: Problems) -> None:
    """`launcher: ray` asks the cluster for what the file says, so the file says all of it, and
    nothing that means one machine.
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


def _value_of_key(execution: Mapping, key: str) -> object:
    return plain_value(execution.entries[key].node) if key in execution.entries else None


def _fits_a_cluster(key: str, value: object) -> bool:
    if key == "device":
        return value in ("cpu", "cuda")
    # what is no number is refused where the field is read
    return value != "auto" and not (key == "packs" and value == 1)
