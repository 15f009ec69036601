"""From what a sweep file says of packs to the fleet: how many, on how many cores each, and
where.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import psutil

from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import Hosts, InlineHosts, Template
from orchestrator.fleet.identity import identity_of
from orchestrator.fleet.processes import ForkHosts, SpawnHosts
from orchestrator.fleet.ray_hosts import RayHosts
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker import Worker
from orchestrator.sweepfile.sweep import Execution, SweepSpec


def machine_cores() -> int:
    """Cores that this process may use; OMP_NUM_THREADS says fewer where somebody set it."""
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    physical = psutil.cpu_count(logical=False) or usable
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(usable, physical, int(told) if told.isdigit() and int(told) else usable))


def decided(execution: Execution, cores: int) -> Execution:
    """With `packs` a number, and `cores` too where there are several packs; `cores` are the
    machine's.

    One pack a device; on a CPU alone one for so many cores as `cores` says, or one. One pack is
    left as it is.
    """
    packs, each = execution.packs, execution.cores
    if packs == "auto":
        on_cpu = (
            max(1, cores // (1 if each == "auto" else each)) if execution.device == "cpu" else 1
        )
        packs = len(execution.devices) or on_cpu
    if packs > 1 and each == "auto":
        each = max(1, cores // packs)
    return execution.model_copy(update={"packs": packs, "cores": each})


def fleet_of(
    template: Template,
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: Callable[[SweepSpec, StudyFolder], Worker],
    say: Callable[[str], None],
) -> Fleet:
    """The packs of a sweep whose numbers are decided, none of them started yet.

    `say` is told at once what a person should know of machines.
    """
    packs = spec.execution.packs
    assert packs != "auto", "decided before"
    hosts = _hosts(template, spec, folder, make_worker, say)
    return Fleet(hosts, packs, template.capacity, folder.logs)


def _hosts(
    template: Template,
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: Callable[[SweepSpec, StudyFolder], Worker],
    say: Callable[[str], None],
) -> Hosts:
    execution, device = spec.execution, template.evaluation.get("device", "cpu")
    if execution.launcher == "ray":
        wanted = identity_of(template, spec, folder)
        return RayHosts(template, spec, make_worker, wanted, say)
    if execution.processes is False:
        return InlineHosts(template)
    if device == "cuda":
        # several processes on one GPU only wait for each other
        gains = len(set(execution.devices)) > 1
        if gains or execution.processes is True:
            return SpawnHosts(template, spec, folder, make_worker)
        return InlineHosts(template)
    gains = machine_cores() > 1 or execution.processes is True
    if device == "cpu" and sys.platform == "linux" and gains:
        return ForkHosts(template, folder.logs)
    return InlineHosts(template)
