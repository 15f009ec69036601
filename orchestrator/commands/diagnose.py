"""`orchestrate diagnose`: what is known of data, model and training before a sweep is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.sweepfile.loading import check_inputs, studies_root


def diagnose(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep file.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the sweep file.", show_default=False),
    ] = None,
    studies: Annotated[
        Path | None, typer.Option("--studies", help="Folder of all studies; by default studies/ beside sweeps/.")
    ] = None,
    train: Annotated[bool, typer.Option("--train", help="Load and check the model, and train 50 steps.")] = False,
    sample: Annotated[
        int, typer.Option("--sample", min=1, metavar="N", help="With --train: utterances heard of each set.")
    ] = 100,
) -> None:
    """Durations, splits, leakage; with --train the checks of the model, headroom, and what 50 steps change."""
    from orchestrator.records.sets import decode_sets
    from orchestrator.records.store import StudyFolder
    from orchestrator.reporting import diagnosed, short_run, terminal
    from orchestrator.running.chaining import load_chained
    from orchestrator.running.preflight import find_all
    from orchestrator.verdicts.conclusion import conclude

    sweep = load_chained(spec, overrides or [], studies or studies_root(spec))
    folder = StudyFolder(studies or studies_root(spec), sweep.name)
    check_inputs(sweep)
    screen = terminal.console()
    known = conclude(sweep, folder) if folder.exists else None
    ready = decode_sets(sweep, folder.audio)
    sets = {name: manifest for name, (manifest, _) in ready.items()}
    terminal.show(diagnosed.build(sweep, sets, find_all(sweep, ready, folder), known, folder), screen)
    if train:
        from orchestrator.tuning.short_run import train_shortly

        terminal.show(short_run.build(sweep, train_shortly(sweep, folder.cache, sample, screen.print)), screen)
