"""`orchestrate export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.opening import Studies, Study, open_study
from orchestrator.commands.output import say, told
from orchestrator.errors import SpecError


def export(
    spec: Study,
    rest: Annotated[
        list[str] | None, typer.Argument(metavar="[N] [KEY=VALUE]...", help="Trial; by default the best feasible one.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="A folder that does not exist yet.")] = None,
    final: Annotated[bool, typer.Option("--final", help="Of the trial's last measurement, not of its best.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="The whole model with the adapter merged in.")] = False,
    studies: Studies = None,
) -> None:
    """Write an adapter that stock PEFT loads, with its model card."""
    from orchestrator.running.exporting import export as write

    words = rest or []
    number = int(words.pop(0)) if words and words[0].isascii() and words[0].isdigit() else None
    if to is None:
        raise SpecError("export needs --to DIR, a folder that does not exist yet")
    opened = open_study(spec, words, studies)
    sweep, folder = told(opened)
    kept = write(sweep, folder, number, to, opened.root, final=final, merged=merged)
    scale = "" if kept.adapter_scale is None else f", step {kept.step}, adapter scale {kept.adapter_scale:g},"
    say(f"trial {kept.result.number} of study {folder.name}{scale} is in {to}")
