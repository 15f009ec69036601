"""The arguments and options by which commands name a sweep file or a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC", help="The sweep file, or the name of a study.", show_default=False
    ),
]
AnyStudy = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SPEC]",
        help="The sweep file, or the name of a study; without it all.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Overrides of the sweep file.", show_default=False
    ),
]
Studies = Annotated[
    Path | None,
    typer.Option("--studies", help="Folder of all studies; by default studies/ beside sweeps/."),
]
