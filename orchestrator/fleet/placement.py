"""Makes the fleet from the numbers of packs and cores, and decides where its packs run."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.fleet.fleet import Fleet
from orchestrator.fleet.hosts import Hosts, InlineHosts, Template
from orchestrator.fleet.machine_identity import identity_of
from orchestrator.fleet.processes import ForkHosts, SpawnHosts
from orchestrator.fleet.ray_hosts import RayHosts
from orchestrator.host.machine import machine_cores
from orchestrator.planning.shares import cores_of_all, share_of
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.sweep import SweepSpec


def fleet_of(
    template: Template,
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: Callable[[SweepSpec, StudyFolder], Worker],
    trials: int,
    say: Callable[[str], None],
    check_stop: Callable[[], None],
) -> Fleet:
    """Return the packs of a sweep whose numbers are decided, none of them started yet.

    `trials` is how many are left to train. `say` is called at once with what a person should know
    of the machines, `check_stop` while a call waits for one, or for a pack that is made again; it
    raises where the run is to stop.
    """
    packs = spec.execution.packs
    assert packs != "auto", "decided before"
    spec = as_measured(spec, template)
    hosts = _hosts(template, spec, folder, make_worker, min(packs, trials), say)
    return Fleet(hosts, packs, template.capacity, folder.logs, check_stop=check_stop)


def as_measured(spec: SweepSpec, template: Worker) -> SweepSpec:
    """Return the sweep with what the template found out by timing, because packs that load the
    model themselves, here or elsewhere, time nothing.
    """
    kernel = template.evaluation.get("kernel", "aten")
    measured = {"pack": template.capacity, "kernel": kernel}
    execution = spec.execution.model_copy(update=measured)
    return spec.model_copy(update={"execution": execution})


def _hosts(
    template: Template,
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: Callable[[SweepSpec, StudyFolder], Worker],
    most: int,
    say: Callable[[str], None],
) -> Hosts:
    device = template.evaluation.get("device", "cpu")
    cores = machine_cores()
    where = share_of(spec.execution, device, cores).where
    if where == "ray":
        wanted = identity_of(template, spec, folder)
        return RayHosts(template, spec, make_worker, wanted, most, say)
    if where == "spawn":
        return SpawnHosts(template, spec, folder, make_worker, most)
    if where == "fork":
        return ForkHosts(template, folder.logs, cores_of_all(spec.execution, cores))
    return InlineHosts(template)
