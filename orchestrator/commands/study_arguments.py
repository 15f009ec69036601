"""The arguments and options by which commands name a sweep file or a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC", help="A sweep file, or the name of a study.", show_default=False
    ),
]
AnyStudy = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SPEC]",
        help="A sweep file, or the name of a study. Without it: all studies.",
        show_default=False,
    ),
]
TrialNumber = Annotated[
    int,
    typer.Argument(
        metavar="N",
        min=0,
        help="Number of the trial, as `orchestrate status` shows it.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Values that replace those of the sweep file, such as budget.trials=4.",
        show_default=False,
    ),
]
ForkName = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="name=NAME for a study that was begun with --fork NAME. Other values cannot be "
        "changed here.",
        show_default=False,
    ),
]
"""Of commands that show a study as it was run."""
Studies = Annotated[
    Path | None,
    typer.Option(
        "--studies",
        help="Folder that holds the studies. Default: studies/ beside sweeps/, or else ./studies.",
    ),
]
Port = Annotated[
    int,
    typer.Option("--port", min=0, max=65535, help="Port of the web server; 0 takes a free one."),
]
