"""The packs of a study: how many, with how many slots and cores each. This is decided once and
kept; the worker is made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from orchestrator.errors import StudyError
from orchestrator.fleet.hosts import Template
from orchestrator.fleet.placement import fleet_of
from orchestrator.host.machine import this_machine
from orchestrator.planning.shares import decided
from orchestrator.records.json_files import PackRecord
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import MakeWorker, Worker
from orchestrator.sweepfile.execution import Execution
from orchestrator.sweepfile.sweep import SweepSpec


def with_recorded_pack(spec: SweepSpec, folder: StudyFolder) -> SweepSpec:
    """Return the sweep with the packs that its study began with, whatever `auto` would give on this
    machine today; a study without a trial yet gets them decided for this machine.

    Raises StudyError where the record does not hold, or the sweep file asks for other packs. How
    many trials train at once decides what the search asks next, and the number of cores decides how
    sums are rounded, so a study with other packs is another study.
    """
    if not folder.began:
        return spec.model_copy(update={"execution": decided(spec, this_machine())})
    kept = folder.read_pack()
    assert kept is not None, "the pack is written before the first plan"
    execution = spec.execution
    for name, of_study, asked, text in (
        ("pack", kept.slots, execution.pack, f"{kept.slots} adapters at once"),
        (
            "packs",
            kept.packs,
            execution.packs,
            f"{kept.packs} {'pack' if kept.packs == 1 else 'packs'}",
        ),
        ("cores", kept.cores or "auto", execution.cores, f"each pack on {_cores_text(kept.cores)}"),
        ("kernel", kept.kernel, execution.kernel, f"with the matrix kernel {kept.kernel}"),
    ):
        if asked not in ("auto", of_study):
            allowed = "auto" if of_study == "auto" else f"{of_study} or auto"
            raise StudyError(
                f"study {folder.name} trains {text}, the sweep file says execution.{name}: {asked}\n"
                f"  Write {allowed} there, or begin a new study with --fork NAME."
            )
    recorded = {
        "pack": kept.slots,
        "packs": kept.packs,
        "cores": kept.cores or "auto",
        "kernel": kept.kernel,
    }
    return spec.model_copy(update={"execution": execution.model_copy(update=recorded)})


def with_found_packs(spec: SweepSpec, worker: Worker) -> SweepSpec:
    """Return the sweep with the packs that a new study's worker settled on after looking at its
    device and memory.
    """
    found = getattr(worker, "execution", spec.execution)
    return spec.model_copy(update={"execution": found})


def _cores_text(cores: int | None) -> str:
    if cores is None:
        return "all cores"
    return "1 core" if cores == 1 else f"{cores} cores"


def pack_record(execution: Execution, template: Worker) -> PackRecord:
    """Return the record of a new study's packs. Fields at their default (one pack, all cores,
    torch's own kernel) are left unset, and so out of the file.
    """
    assert execution.packs != "auto", "decided before"
    why = getattr(template, "pack_reason", "") or f"execution.pack: {execution.pack}"
    record = PackRecord(
        slots=template.capacity, why=why, device=template.evaluation.get("device", "unknown")
    )
    more: dict[str, object] = {"packs": execution.packs} if execution.packs > 1 else {}
    more |= {"cores": execution.cores} if execution.cores != "auto" else {}
    if "kernel" in template.evaluation:
        more |= {"kernel": template.evaluation["kernel"]}
    return record.model_copy(update=more)


@contextmanager
def in_packs(
    worker: Worker,
    spec: SweepSpec,
    folder: StudyFolder,
    make_worker: MakeWorker,
    trials: int,
    say: Callable[[str], None],
    check_stop: Callable[[], None],
) -> Iterator[Worker]:
    """Yield the worker itself where there is one pack; else a fleet of packs made from it, which is
    closed with the context. `trials` is how many are left to train. `say` is called at once with
    what a person should know of the machines, `check_stop` while a call waits for one, or for a
    pack that is made again; it raises where the run is to stop.
    """
    if spec.execution.packs == 1:
        yield worker
        return
    fleet = fleet_of(cast(Template, worker), spec, folder, make_worker, trials, say, check_stop)
    try:
        yield fleet
    finally:
        fleet.close()
