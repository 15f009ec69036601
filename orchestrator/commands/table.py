"""`orchestrate table`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.choices import choice_of
from orchestrator.commands.opening_study import open_study
from orchestrator.commands.output import told
from orchestrator.commands.study_arguments import ForkName, Studies, Study
from orchestrator.errors import SpecError

KINDS = ("trials", "measurements", "utterances")


def table(
    spec: Study,
    overrides: ForkName = None,
    of: Annotated[
        str, typer.Option("--of", help="What the rows are: trials, measurements or utterances.")
    ] = "trials",
    form: Annotated[
        str,
        typer.Option("--format", help="Format of the table: csv, or parquet, which needs --to."),
    ] = "csv",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="File to write, which must not exist yet. Default: standard output.",
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--every-measurement",
            help="With --of utterances: those of all measurements, not only of the ones that gave "
            "the trials their results.",
        ),
    ] = False,
    studies: Studies = None,
) -> None:
    """Write a study's trials, measurements or utterances as one table for other programs."""
    from orchestrator.records.writing import written_whole
    from orchestrator.reporting.rendering.utf8_output import in_utf8
    from orchestrator.reporting.tables import dataframes, spreadsheet, study_tables

    _check_options(of, every, form, to)
    sweep, folder = told(open_study(spec, overrides or [], studies))
    found = study_tables.table(sweep, folder, of, every)
    if to is None:
        spreadsheet.write_csv(found, in_utf8(sys.stdout))
        return
    with written_whole(to) as aside:
        if form == "parquet":
            dataframes.write_parquet(found, aside)
        else:
            with open(aside, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                spreadsheet.write_csv(found, file)


def _check_options(of: str, every: bool, form: str, to: Path | None) -> None:
    choice_of("--of", of, KINDS)
    if every and of != "utterances":
        raise SpecError(
            f"--every-measurement goes with --of utterances, and this is --of {of}\n  Leave it out."
        )
    choice_of("--format", form, ("csv", "parquet"))
    if form == "parquet" and to is None:
        raise SpecError("--format parquet needs --to FILE, a file that does not exist yet")
    if to is not None and to.exists():
        raise SpecError(f"{to} exists\n  Name a file that does not; nothing is overwritten.")
