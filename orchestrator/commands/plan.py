"""`orchestrate plan`: what would run, and what the data can resolve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plan(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep file.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the sweep file.", show_default=False),
    ] = None,
    show: Annotated[int, typer.Option("--show", min=0, help="How many first points to list.")] = 8,
) -> None:
    """What would run, and what the data can resolve."""
    from orchestrator.errors import SpecError
    from orchestrator.planning.sweep_plan import sweep_plan
    from orchestrator.records.store import StudyFolder
    from orchestrator.reporting import planned, terminal
    from orchestrator.running.chaining import load_chained
    from orchestrator.running.preflight import load_sets
    from orchestrator.spec.loading import check_inputs, studies_root

    studies = studies_root(spec)
    sweep = load_chained(spec, overrides or [], studies)
    folder = StudyFolder(studies, sweep.name)
    missing = ""
    try:
        check_inputs(sweep)
    except SpecError as error:
        missing = str(error)
    sizes = {} if missing else planned.set_sizes(load_sets(sweep), sweep.evaluation.normalizer)
    document = planned.build(sweep_plan(sweep, sizes, show), missing, sweep.execution.pack, folder.pack_choices())
    terminal.show(document, terminal.console())
