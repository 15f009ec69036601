"""`orchestrate plan`: what would run, what the data can resolve, and how long it would take."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from orchestrator.commands.study_arguments import Overrides, Spec, Studies


def plan(
    spec: Spec,
    overrides: Overrides = None,
    show: Annotated[int, typer.Option("--show", min=0, help="How many first points to list.")] = 8,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Load the model and measure how long the sweep would take."),
    ] = False,
    studies: Studies = None,
) -> None:
    """What would run, what the data can resolve, and how long it would take."""
    from orchestrator.cpu_cores import machine_cores
    from orchestrator.errors import SpecError
    from orchestrator.planning.cost import recorded_cost
    from orchestrator.planning.shares import share_of
    from orchestrator.planning.sweep_plan import sweep_plan
    from orchestrator.records.reading_sets import read_sets
    from orchestrator.records.search_times import spent_before
    from orchestrator.records.store import StudyFolder
    from orchestrator.reporting import plan_report, terminal
    from orchestrator.reporting.sweep_diagnosis import checks_blocks
    from orchestrator.running.chained_spec import load_chained_spec
    from orchestrator.running.preflight import find_before_decoding
    from orchestrator.sweepfile.loading import check_inputs, studies_root

    studies = studies or studies_root(spec)
    sweep = load_chained_spec(spec, overrides or [], studies)
    folder = StudyFolder(studies, sweep.name)
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
    planned_sweep, wall_clock = sweep_plan(sweep, sizes, show), sweep.budget.wall_clock
    work = planned_sweep.work
    costs = [recorded_cost(work, spent_before(sweep, folder), wall_clock)]
    if probe:
        from orchestrator.planning.kinds_of_trials import kinds_of_trials
        from orchestrator.planning.probed_cost import probed_cost
        from orchestrator.running.pack_sizes import with_recorded_pack

        began = time.perf_counter()
        from orchestrator.tuning.throughput import measure_pace

        importing = time.perf_counter() - began
        used = with_recorded_pack(sweep, folder)
        kinds = kinds_of_trials(sweep, sizes, planned_sweep.trained)
        pace = measure_pace(used, kinds, cache, screen.print, importing)
        packs = share_of(used.execution, pace.device, machine_cores()).at_once
        costs.insert(0, probed_cost(work, kinds, pace, wall_clock, packs))
    document = plan_report.build(
        planned_sweep,
        missing,
        sweep.execution,
        folder.read_pack(),
        [cost for cost in costs if cost is not None],
        () if missing else checks_blocks(sweep, findings),
        clock_lost=bool(folder.results()) and folder.seconds_spent() is None,
    )
    terminal.show(document, screen)
