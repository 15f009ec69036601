"""`orchestrate trial`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import observer_of, pack_worker, show, told
from orchestrator.commands.study_arguments import ForkName, Studies, Study, TrialNumber


def trial(
    context: typer.Context,
    spec: Study,
    number: TrialNumber,
    overrides: ForkName = None,
    studies: Studies = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the comparison.")
    ] = False,
) -> None:
    """Train one trial again, alone, and compare its numbers with the recorded ones.

    Exit code 0: they are the same. 4: they differ.
    2: the evaluation has changed, so that they cannot be compared.
    The study stays as it is.
    """
    from orchestrator.reporting.documents import rerun_report
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
    silent = NullObserver() if quiet else None
    with observer_of(sweep, folder, silent, again=True) as observer:
        again = rerun(trial_plan, folder, (context.obj or pack_worker)(sweep, folder), observer)
    show(rerun_report.build(sweep, trial_plan, again))
    raise typer.Exit(again.reproduction.value if again.reproduction else 0)
