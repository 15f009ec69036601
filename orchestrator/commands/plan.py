"""`orchestrate plan`: what would run, what the data can resolve, and how long it would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.study_arguments import Overrides, Studies, Study

if TYPE_CHECKING:
    from orchestrator.planning.cost import Cost
    from orchestrator.planning.sweep_plan import SweepPlan
    from orchestrator.records.json_files import PackRecord
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.execution import Execution
    from orchestrator.sweepfile.sweep import SweepSpec


_Show = Annotated[
    int,
    typer.Option("--show", min=0, help="How many of the first points (settings) to list."),
]
_Probe = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="Load the model, train a few steps and measure how long the sweep takes.",
    ),
]


def plan(
    spec: Study,
    overrides: Overrides = None,
    show: _Show = 8,
    probe: _Probe = False,
    studies: Studies = None,
) -> None:
    """Show what would run, which limits the data can resolve, and how long it would take."""
    from orchestrator.commands.opening_study import open_sweep
    from orchestrator.errors import SpecError
    from orchestrator.planning.cost import recorded_cost
    from orchestrator.planning.sweep_plan import sweep_plan
    from orchestrator.records.readiness.reading_sets import read_sets
    from orchestrator.records.search_times import spent_before
    from orchestrator.reporting.documents import plan_report
    from orchestrator.reporting.documents.sweep_diagnosis import checks_blocks
    from orchestrator.reporting.rendering import terminal
    from orchestrator.running.preflight import find_before_decoding
    from orchestrator.sweepfile.loading import check_inputs

    sweep, folder = open_sweep(spec, overrides or [], studies)
    if folder.exists:
        folder.check_format()
    screen, missing = terminal.console(), ""
    try:
        check_inputs(sweep)
    except SpecError as error:
        if probe:
            raise
        missing = str(error)
    cache = folder.project_cache
    sets = {} if missing else read_sets(sweep, cache)
    sizes = plan_report.set_sizes(sets, sweep.evaluation.normalizer, cache)
    findings = [] if missing else find_before_decoding(sweep, sets, cache)
    kept = folder.read_pack()
    execution = _execution(sweep, kept)
    planned_sweep = sweep_plan(sweep.model_copy(update={"execution": execution}), sizes, show)
    before = spent_before(sweep, folder, execution)
    costs = [recorded_cost(planned_sweep.work, before, sweep.budget.wall_clock)]
    if probe:
        costs.insert(0, _measured_cost(sweep, folder, planned_sweep, screen.print))
    document = plan_report.build(
        planned_sweep,
        missing,
        execution,
        kept,
        [cost for cost in costs if cost is not None],
        () if missing else checks_blocks(sweep, findings),
        clock_lost=bool(folder.results()) and folder.seconds_spent() is None,
    )
    terminal.show(document, screen)


def _execution(sweep: SweepSpec, kept: PackRecord | None) -> Execution:
    """Return the packs that a study keeps, or those that a new one would have on this machine."""
    from orchestrator.host.machine import this_machine
    from orchestrator.planning.shares import foreseen

    if kept is None:
        return foreseen(sweep, this_machine())
    return sweep.execution.model_copy(update={"packs": kept.packs, "pack": kept.slots})


def _measured_cost(
    sweep: SweepSpec, folder: StudyFolder, planned: SweepPlan, say: Callable[[str], None]
) -> Cost:
    """Load the model, measure its pace on this machine, and estimate the time of the sweep."""
    from orchestrator.host.machine import machine_cores
    from orchestrator.planning.kinds_of_trials import kinds_of_trials
    from orchestrator.planning.probed_cost import probed_cost
    from orchestrator.planning.shares import share_of
    from orchestrator.running.pack_sizes import with_recorded_pack

    began = time.perf_counter()
    from orchestrator.tuning.throughput import measure_pace

    importing = time.perf_counter() - began
    used = with_recorded_pack(sweep, folder)
    kinds = kinds_of_trials(sweep, planned.sets, planned.trained)
    pace = measure_pace(used, kinds, folder.project_cache, say, importing)
    packs = share_of(used.execution, pace.device, machine_cores()).at_once
    return probed_cost(planned.work, kinds, pace, sweep.budget.wall_clock, packs)
