"""`orchestrate status` and `orchestrate watch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.opening_study import all_studies, open_study
from orchestrator.commands.output import show, told
from orchestrator.commands.study_arguments import AnyStudy, ForkName, Studies, Study
from orchestrator.errors import OrchestrateError
from orchestrator.records.unreadable import reason

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.reporting.documents.studies import StudyRow
    from orchestrator.reporting.rendering.report_blocks import Document
    from orchestrator.sweepfile.sweep import SweepSpec


def status(
    spec: AnyStudy = None,
    overrides: ForkName = None,
    studies: Studies = None,
) -> None:
    """Show where a sweep stands. Without SPEC: all studies of a project in one table."""
    from orchestrator.records.disk_usage import size_of
    from orchestrator.reporting.documents import studies as overview
    from orchestrator.running.completion import is_finished

    if spec is None:
        faults: list[str] = []
        found = all_studies(studies)
        rows = [_standing_row(*study, faults) for study in found]
        words = () if studies is None else ("--studies", str(studies))
        show(overview.build(rows, faults, size_of(found[0][0].project_cache), words))
        return
    sweep, folder = told(open_study(spec, overrides or [], studies))
    show(_standing_document(sweep, folder, is_finished(sweep, folder)))


def watch(
    spec: Study,
    overrides: ForkName = None,
    studies: Studies = None,
    every: Annotated[
        float,
        typer.Option(
            "--every", min=0.1, max=86_400, help="Seconds between two looks, at most a day."
        ),
    ] = 5.0,
) -> None:
    """Show again and again where a sweep stands, until it is finished."""
    from orchestrator.reporting.rendering import terminal
    from orchestrator.running.completion import is_finished

    sweep, folder = told(open_study(spec, overrides or [], studies))
    console, before = terminal.console(), None
    while True:
        done = is_finished(sweep, folder)
        document = _standing_document(sweep, folder, done)
        if document != before:
            if console.is_terminal:
                console.clear()
            terminal.show(document, console)
            before = document
        if done:
            return
        time.sleep(every)


def _standing_row(folder: StudyFolder, project: Path, faults: list[str]) -> StudyRow:
    """Return the table's row of one study. Where it cannot be read, the reason is appended to
    `faults`, so that the other studies are still shown.
    """
    from orchestrator.records.content_digests import stored_spec
    from orchestrator.reporting.documents.studies import study_row, unreadable_row
    from orchestrator.running.completion import judged

    try:
        running = folder.holder()
        sweep = stored_spec(folder, project)
        return study_row(sweep, folder, *judged(sweep, folder), running)
    except (OrchestrateError, OSError) as error:
        faults.append(f"{folder.name}: {reason(error)}")
        return unreadable_row(folder.name, isinstance(error, OSError))


def _standing_document(sweep: SweepSpec, folder: StudyFolder, done: bool) -> Document:
    from orchestrator.records.fleet_file import read_fleet
    from orchestrator.reporting.documents import status as standing
    from orchestrator.running.checkpoints import Checkpoints
    from orchestrator.verdicts.concluding import conclude

    checkpoints = Checkpoints(folder.checkpoint)
    last = checkpoints.latest()
    fleet = None if last is None else read_fleet(checkpoints.worker_folder(last))
    running = bool(folder.holder())
    return standing.build(sweep, folder, conclude(sweep, folder), done, running, fleet)
