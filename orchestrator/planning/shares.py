"""How many trials a machine trains at once, and what each of several packs has of it: where it
computes, beside how many others, and what part of the memory for frames. Pure; no machine is asked
here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from orchestrator.machine import Machine, shares_of
from orchestrator.planning.points import count_points
from orchestrator.sweepfile.sweep import MOST_PACKS, Execution, SweepSpec

AT_ONCE = 4
"""Trials that one pack on a CPU trains at once: more gain next to nothing."""
MEMORY_A_PACK = 4_000_000_000
"""Bytes of the machine for each pack that `auto` makes on a CPU; what a pack really takes is seen
when the model is loaded.
"""
GENERATIONS = 3
"""A search that fills all slots less often than this has learnt little when it asks its last."""

Where = Literal["inline", "fork", "spawn", "ray"]


@dataclass(frozen=True)
class Share:
    """Of one pack; the same of all packs of a study."""

    where: Where
    """In this process, in one forked from it, in one that loads the model itself, or in an
    actor.
    """
    at_once: int
    """Packs that compute at the same time; the others wait for them."""
    holders: int
    """Processes of one machine that keep frames of their own: the memory for frames is divided
    among them. Packs inline and forked ones have them in common; with packs that load the model
    themselves, the process that they are started from is one more.
    """
    holders_a_device: int
    """Those of them that have one device in common, at the most."""


def share_of(execution: Execution, device: str, cores: int) -> Share:
    """`device` is the kind that was chosen, `cores` are those of the machine. With `packs` to be
    decided yet it is the share of one.
    """
    packs = 1 if execution.packs == "auto" else execution.packs
    each = cores if execution.cores == "auto" else execution.cores
    fit = max(1, min(packs, cores // each))
    where = _where(execution, device, cores)
    if where == "ray":
        return Share(where, at_once=packs, holders=fit, holders_a_device=1)
    if where == "spawn":
        devices = _devices(execution)
        return Share(where, min(packs, devices), packs + 1, -(-packs // devices) + 1)
    return Share(where, at_once=fit if where == "fork" else 1, holders=1, holders_a_device=1)


def learns(spec: SweepSpec) -> bool:
    """Whether what the search asks depends on results."""
    return spec.method in ("tpe", "gp")


def decided(spec: SweepSpec, machine: Machine) -> Execution:
    """With `packs` a number, and `cores` too where there are several packs.

    One pack a device. Where packs are forked, on a CPU without a GPU beside it, one a core: they
    do not wait for each other, and one interpreter starts the operations of one pack alone. A pack
    whose slots or cores are written is the only one. One pack is left as it is.
    """
    execution = spec.execution
    packs, each = execution.packs, execution.cores
    if packs == "auto":
        packs = _devices(execution) if execution.devices else _packs_of_cpu(spec, machine)
    if packs > 1 and each == "auto":
        each = max(1, machine.cores // packs)
    return execution.model_copy(update={"packs": packs, "cores": each})


def _packs_of_cpu(spec: SweepSpec, machine: Machine) -> int:
    execution, cores = spec.execution, machine.cores
    forked = share_of(execution, "cpu", cores).where == "fork"
    if not _computes_on_cpu(execution, machine) or not forked:
        return 1
    if (execution.pack, execution.cores) != ("auto", "auto"):
        return 1
    most = min(_at_once(spec, cores), machine.memory // MEMORY_A_PACK, MOST_PACKS)
    return shares_of(cores, max(1, most))


def slots_of_each(spec: SweepSpec, cores: int) -> int:
    """Trials that each pack of a CPU trains at once, where the sweep file leaves that open and the
    packs are decided; `cores` are the machine's.
    """
    execution = spec.execution
    packs = 1 if execution.packs == "auto" else execution.packs
    theirs = cores if execution.cores == "auto" else packs * execution.cores
    return max(1, min(AT_ONCE, _at_once(spec, theirs) // packs))


def _at_once(spec: SweepSpec, cores: int) -> int:
    """Trials that so many cores train at once: no more than there are, and of a search that learns
    from them no more than a third, but for the few that a single pack has.
    """
    points = count_points(spec.parameters)
    trials = spec.budget.trials if points is None else min(points, spec.budget.trials)
    most = trials // GENERATIONS if learns(spec) else trials
    return min(trials, max(AT_ONCE, min(cores, most)))


def foreseen(spec: SweepSpec, machine: Machine) -> Execution:
    """As `decided`, and `pack` a number too where it is not a GPU that is measured for it; the run
    takes fewer where the memory does not hold them.
    """
    execution = decided(spec, machine)
    if execution.pack != "auto" or not _computes_on_cpu(execution, machine):
        return execution
    slots = slots_of_each(spec.model_copy(update={"execution": execution}), machine.cores)
    return execution.model_copy(update={"pack": slots})


def _computes_on_cpu(execution: Execution, machine: Machine) -> bool:
    """For certain, without asking torch. A GPU beside the CPU may be the one that `auto` takes, and
    processes that torch computes in cannot be forked where there is one.
    """
    return execution.first_device in ("auto", "cpu") and not machine.gpu and sys.platform == "linux"


def cores_of_all(execution: Execution, cores: int) -> int:
    """Of the machine's `cores`, those of all packs that are made of one process on its CPU; of packs
    that load the model themselves, of one.
    """
    each = cores if execution.cores == "auto" else execution.cores
    if execution.packs == "auto" or _where(execution, "cpu", cores) not in ("fork", "inline"):
        return each
    return max(each, min(cores, each * execution.packs))


def _where(execution: Execution, device: str, cores: int) -> Where:
    if execution.launcher == "ray":
        return "ray"
    if execution.processes is False:
        return "inline"
    asked = execution.processes is True
    # several processes on one GPU only wait for each other
    if device == "cuda" and (asked or _devices(execution) > 1):
        return "spawn"
    if device == "cpu" and sys.platform == "linux" and (asked or cores > 1):
        return "fork"
    return "inline"


def _devices(execution: Execution) -> int:
    return max(1, len(set(execution.devices)))
