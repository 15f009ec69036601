"""`orchestrate export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from orchestrator.commands.opening import Studies, Study, open_study
from orchestrator.commands.output import say, told
from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from orchestrator.records.shipping import Form, Quantized
    from orchestrator.sweepfile.sweep import EncoderWindows


def export(
    spec: Study,
    rest: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[N] [KEY=VALUE]...", help="Trial; by default the best feasible one."
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="A folder that does not exist yet.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="adapter, merged, onnx or moonshine.")
    ] = "adapter",
    final: Annotated[
        bool, typer.Option("--final", help="Of the trial's last measurement, not of its best.")
    ] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Short for --format merged.")] = False,
    quantize: Annotated[
        str, typer.Option("--quantize", help="Of graphs: none, or dynamic int8.")
    ] = "none",
    windows: Annotated[
        str | None,
        typer.Option(
            "--encoder-windows", help="Of graphs: stock or inclusive; the study's unless given."
        ),
    ] = None,
    changed_only: Annotated[
        bool,
        typer.Option(
            "--changed-only", help="Of moonshine: only the graphs that the adapter changes."
        ),
    ] = False,
    studies: Studies = None,
) -> None:
    """Write a trial's model in the form it is used in, with its model card."""
    from orchestrator.running.exporting import ExportForm
    from orchestrator.running.exporting import export as write

    words = rest or []
    number = trial_number(words)
    if to is None:
        raise SpecError("export needs --to DIR, a folder that does not exist yet")
    if merged and form not in ("adapter", "merged"):
        raise SpecError(
            f"--merged is short for --format merged, and --format {form} was given\n  Give one of them."
        )
    form = "merged" if merged else form
    _check_options(form, quantize, windows, changed_only)
    opened = open_study(spec, words, studies)
    sweep, folder = told(opened)
    wanted = ExportForm(
        cast("Form", form),
        cast("Quantized", quantize),
        cast("EncoderWindows | None", windows),
        changed_only,
    )
    kept = write(sweep, folder, number, to, opened.root, final=final, form=wanted)
    scale = (
        ""
        if kept.adapter_scale is None
        else f", step {kept.step}, adapter scale {kept.adapter_scale:g},"
    )
    say(f"trial {kept.result.number} of study {folder.name}{scale} is in {to}")


def trial_number(words: list[str]) -> int | None:
    """The number that the words begin with, taken from them; None where they begin with none."""
    return int(words.pop(0)) if words and words[0].isascii() and words[0].isdigit() else None


def _check_options(form: str, quantize: str, windows: str | None, changed_only: bool) -> None:
    """Raise SpecError for a value that is not known, and for one that does not go with the form."""
    from orchestrator.records.shipping import FORMS, GRAPH_FORMS

    known = (("--format", form, FORMS), ("--quantize", quantize, ("none", "int8")))
    for option, value, allowed in (
        *known,
        ("--encoder-windows", windows or "stock", ("stock", "inclusive")),
    ):
        if value not in allowed:
            raise SpecError(f"{option} {value} is not known\n  Allowed: {', '.join(allowed)}.")
    given = {"--quantize": quantize != "none", "--encoder-windows": windows is not None}
    for option, is_given in given.items():
        if is_given and form not in GRAPH_FORMS:
            raise SpecError(
                f"{option} is for graphs: give it with --format {' or '.join(GRAPH_FORMS)}"
            )
    if changed_only and form != "moonshine":
        raise SpecError(
            "--changed-only is for the five graphs of the authors' runtime: give it with --format moonshine"
        )
