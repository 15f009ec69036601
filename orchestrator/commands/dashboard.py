"""`orchestrate dashboard`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.commands.opening import Overrides, Studies, Study, open_study
from orchestrator.commands.output import say, told


def dashboard(
    spec: Study,
    overrides: Overrides = None,
    studies: Studies = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8080,
) -> None:
    """optuna-dashboard on this study: read only, this machine only, until Ctrl+C."""
    from orchestrator.search.dashboard import serve
    from orchestrator.search.storage import database_of

    _, folder = told(open_study(spec, overrides or [], studies))
    serve(database_of(folder), port, lambda address: say(f"{address}  (Ctrl+C ends it)"))
