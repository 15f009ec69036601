"""`orchestrate stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import say, told
from orchestrator.commands.study_arguments import ForkName, Studies, Study, TrialNumber


def stop(
    spec: Study,
    number: TrialNumber,
    overrides: ForkName = None,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", help="Why you end it: kept with the trial and shown in the report."
        ),
    ] = "",
    studies: Studies = None,
) -> None:
    """End one trial at its next evaluation, by your own decision. The sweep goes on."""
    from orchestrator.reporting.rendering.escape import plain
    from orchestrator.running.stop_requests import ask_to_stop

    _, folder = told(open_study(spec, overrides or [], studies))
    ask_to_stop(folder, number, plain(reason))
    running = folder.holder()
    when = (
        f"at its next evaluation, by {running}"
        if running
        else "at its next evaluation, once the sweep continues"
    )
    say(f"trial {number} of study {folder.name} ends {when}")
