"""`orchestrate trial`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import observer_of, pack_worker, show, told
from orchestrator.commands.study_arguments import Overrides, Studies, Study


def trial(
    context: typer.Context,
    spec: Study,
    number: Annotated[
        int, typer.Argument(metavar="N", min=0, help="The trial's number.", show_default=False)
    ],
    overrides: Overrides = None,
    studies: Studies = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
) -> None:
    """Run one trial again, alone, and set its numbers beside the recorded ones: 0 where it gives
    them again, 4 where it does not, 2 where the evaluation is another one.
    """
    from orchestrator.reporting import rerun_report
    from orchestrator.running.observer import NullObserver
    from orchestrator.running.pack_sizes import with_recorded_pack
    from orchestrator.running.preflight import check_rerun
    from orchestrator.running.rerun import rerun, stored_plan

    sweep, folder = told(open_study(spec, overrides or [], studies))
    trial_plan = stored_plan(folder, number)
    check_rerun(sweep, folder)
    execution = with_recorded_pack(sweep, folder).execution
    # in a single pack, on the cores that its pack had in the study
    alone = execution.model_copy(update={"packs": 1})
    sweep = sweep.model_copy(update={"execution": alone})
    with observer_of(sweep, folder, NullObserver() if quiet else None) as observer:
        again = rerun(trial_plan, folder, (context.obj or pack_worker)(sweep, folder), observer)
    show(rerun_report.build(trial_plan, again))
    raise typer.Exit(again.reproduction.value if again.reproduction else 0)
