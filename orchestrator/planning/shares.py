"""How many trials a machine trains at once, and how several packs share the machine: where each
computes, how many at the same time, and how they divide the memory for encoder frames.

Pure functions: the facts about the machine are arguments.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from orchestrator.host.machine import Machine, shares_of
from orchestrator.planning.points import count_points
from orchestrator.sweepfile.execution import MOST_PACKS, Execution
from orchestrator.sweepfile.sweep import SweepSpec

AT_ONCE = 4
"""Most trials that one pack on a CPU trains at once by default; more gain next to nothing."""
MEMORY_A_PACK = 4_000_000_000
"""Bytes of the machine's memory that `auto` reckons for each pack on a CPU; what a pack really
takes is known when the model is loaded.
"""
GENERATIONS = 3
"""How often a search that learns from results should fill all slots; one with fewer rounds has
learnt little when it asks for its last points.
"""

Where = Literal["inline", "fork", "spawn", "ray"]


@dataclass(frozen=True)
class Share:
    """What one pack has of the machine; equal for all packs of a study."""

    where: Where
    """Where a pack computes: in this process (inline), in one forked from it, in a new process that
    loads the model itself (spawn), or in an actor of a Ray cluster.
    """
    at_once: int
    """Number of packs that compute at the same time; the others wait for them."""
    holders: int
    """Number of processes on one machine that keep encoder frames of their own; the memory for
    frames is divided among them. Inline and forked packs share one cache. Spawned packs have one
    each, and so has the process that starts them. Of packs on a cluster, it is as many as a machine
    has cores for.
    """
    holders_a_device: int
    """The largest number of these processes that share one device."""


def share_of(execution: Execution, device: str, cores: int) -> Share:
    """Return the share of each pack. `device` is the kind that was chosen, `cores` are those of the
    machine. While `packs` is still `auto`, it is the share of a single pack.
    """
    packs = 1 if execution.packs == "auto" else execution.packs
    each = cores if execution.cores == "auto" else execution.cores
    fit = max(1, min(packs, cores // each))
    where = _where(execution, device, cores)
    if where == "ray":
        return Share(where, at_once=packs, holders=fit, holders_a_device=1)
    if where == "spawn":
        turns = -(-packs // max(1, len(execution.devices)))
        on_one = turns * max(Counter(execution.devices).values(), default=1)
        return Share(where, min(packs, _devices(execution)), packs + 1, on_one + 1)
    return Share(where, at_once=fit if where == "fork" else 1, holders=1, holders_a_device=1)


def learns(spec: SweepSpec) -> bool:
    """Whether the points that the search asks for depend on earlier results."""
    return spec.method in ("tpe", "gp")


def decided(spec: SweepSpec, machine: Machine) -> Execution:
    """Return the execution of a sweep with `packs` decided, and `cores` too where there are several
    packs. What the sweep file says is kept.

    `auto` is one pack for each of `devices`, if these are not all the same one. Without those, on a
    CPU where packs can be forked (no GPU), it is up to one pack for each core: packs do not wait
    for each other, and each has an interpreter of its own to start its operations. It is a single
    pack where the sweep file sets `pack` or `cores`. A single pack keeps `cores: auto`.
    """
    execution = spec.execution
    packs, each = execution.packs, execution.cores
    if packs == "auto":
        several = len(execution.devices) if _devices(execution) > 1 else 1
        packs = several if execution.devices else _packs_of_cpu(spec, machine)
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
    """Return how many trials each pack on a CPU trains at once, where the sweep file leaves that
    open and the number of packs is decided; `cores` are the machine's.
    """
    execution = spec.execution
    packs = 1 if execution.packs == "auto" else execution.packs
    theirs = cores if execution.cores == "auto" else packs * execution.cores
    return max(1, min(AT_ONCE, _at_once(spec, theirs) // packs))


def _at_once(spec: SweepSpec, cores: int) -> int:
    """Return how many trials that many cores train at once: at most one a core, at most all trials
    there are, and in a search that learns at most a third of them; but always `AT_ONCE`, what a
    single pack has, where there are as many trials.
    """
    points = count_points(spec.parameters)
    trials = spec.budget.trials if points is None else min(points, spec.budget.trials)
    most = trials // GENERATIONS if learns(spec) else trials
    return min(trials, max(AT_ONCE, min(cores, most)))


def foreseen(spec: SweepSpec, machine: Machine) -> Execution:
    """Return `decided`, with `pack` a number too where the sweep computes on a CPU; on a GPU it is
    measured at the start. The run takes fewer slots where the memory does not hold them.
    """
    execution = decided(spec, machine)
    if execution.pack != "auto" or not _computes_on_cpu(execution, machine):
        return execution
    slots = slots_of_each(spec.model_copy(update={"execution": execution}), machine.cores)
    return execution.model_copy(update={"pack": slots})


def _computes_on_cpu(execution: Execution, machine: Machine) -> bool:
    """Whether it is certain, without asking torch, that a sweep computes on the CPU and can fork.

    Not where there is a GPU: `auto` may choose it, and processes that use torch cannot be forked
    then. Only Linux forks here.
    """
    return execution.first_device in ("auto", "cpu") and not machine.gpu and sys.platform == "linux"


def cores_of_all(execution: Execution, cores: int) -> int:
    """Return how many of the machine's `cores` this process and the packs forked from it use
    together; where packs load the model themselves, the cores of one pack.
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
    # several processes on a single GPU only wait for each other
    if device == "cuda" and (asked or _devices(execution) > 1):
        return "spawn"
    if device == "cpu" and sys.platform == "linux" and (asked or cores > 1):
        return "fork"
    return "inline"


def _devices(execution: Execution) -> int:
    return max(1, len(set(execution.devices)))
