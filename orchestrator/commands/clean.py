"""`orchestrate clean`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.opening_study import all_studies, open_study
from orchestrator.commands.output import show, warn
from orchestrator.commands.study_arguments import AnyStudy, Studies
from orchestrator.typed_words import path_word

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder


def clean(
    spec: AnyStudy = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Remove what no study needs. Without it, it is only shown."),
    ] = False,
    studies: Studies = None,
) -> None:
    """Show the disk space that studies take; with --yes remove what none needs any more.

    Without SPEC: of all studies, and of the cache that they share.
    A study that runs or is not finished keeps its caches and checkpoints.
    """
    from orchestrator.errors import OrchestrateError
    from orchestrator.reporting.documents import disk_usage
    from orchestrator.running.cleaning import clean as remove_unneeded
    from orchestrator.running.cleaning import clean_shared, shared_usage, usage_of

    found, folders = [], _folders_to_clean(spec, studies)
    for folder, project in folders:
        usage = usage_of(folder, project)
        if yes:
            try:
                usage = remove_unneeded(folder, project)
            except OrchestrateError as error:
                warn(str(error))
        found.append(usage)
    if spec is None:
        found.append(clean_shared(folders) if yes else shared_usage(folders))
    words = [] if spec is None else [path_word(spec)]
    words += [] if studies is None else ["--studies", str(studies)]
    show(disk_usage.build(found, yes, words))


def _folders_to_clean(spec: Path | None, studies: Path | None) -> list[tuple[StudyFolder, Path]]:
    if spec is None:
        return all_studies(studies)
    opened = open_study(spec, [], studies)
    return [(opened.folder, opened.root)]
