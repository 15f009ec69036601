"""`orchestrate init`: a project to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import SpecError
from orchestrator.reporting.rendering.escape import plain
from orchestrator.typed_words import quoted_path

_IGNORED = "/studies/*\n!/studies/.gitkeep\n.venv\n"


def init(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder of the project, made if missing.", show_default=False
        ),
    ],
) -> None:
    """Write a project to start from: a commented sweep file in sweeps/, data/ and studies/.

    A .gitignore is written too. Nothing is overwritten.
    """
    template = files("orchestrator").joinpath("commands/start.yaml").read_text(encoding="utf-8")
    wanted = {
        "sweeps/mine.yaml": template,
        "data/.gitkeep": "",
        "studies/.gitkeep": "",
        ".gitignore": _IGNORED,
    }
    there = [name for name in wanted if (place / name).exists()]
    if there:
        raise SpecError(
            f"{place / there[0]} exists\n  Name another folder; nothing is overwritten."
        )
    for name, text in wanted.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    spec = place / "sweeps" / "mine.yaml"
    typer.echo(plain(f"{spec} is a sweep to start from; its manifests go to {place / 'data'}."))
    typer.echo(plain(f"Next: put them there, then orchestrate validate {quoted_path(spec)}"))
