"""`orchestrate repair`: whether a study is as it was written, and what can be made again where it
is not.
"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.study_arguments import Overrides, Studies, Study


def repair(
    spec: Study,
    overrides: Overrides = None,
    only_check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only say whether all files are as they were written; change nothing."
        ),
    ] = False,
    studies: Studies = None,
) -> None:
    """Make lost or damaged files of a study again, as far as they follow from the rest."""
    from orchestrator.commands.opening_study import no_study, open_sweep
    from orchestrator.reporting.rendering.escape import plain
    from orchestrator.running.repairing import check_sealed
    from orchestrator.running.repairing import repair_study as make_again

    sweep, folder = open_sweep(spec, overrides or [], studies)
    if not folder.exists:
        raise no_study(folder, spec, overrides or [], studies)
    if only_check:
        typer.echo(
            plain(
                f"study {folder.name}: all {check_sealed(folder, sweep.project)} sealed files are as "
                "they were written"
            )
        )
        return
    with folder.lock():
        done = make_again(sweep, folder)
    for line in done.made:
        typer.echo(plain(f"made again: {line}"))
    typer.echo(
        plain(f"study {folder.name}: all {done.sealed} sealed files are as they were written")
    )
