"""What several commands print, and the worker of those that train."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.opening_study import Opened, own_name
from orchestrator.reporting.escape import plain
from orchestrator.typed_words import path_word

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.records.worker_protocol import Worker
    from orchestrator.reporting.json_lines import JsonReporter
    from orchestrator.reporting.live import LiveReporter
    from orchestrator.reporting.report_blocks import Document
    from orchestrator.running.observer import NullObserver
    from orchestrator.sweepfile.sweep import SweepSpec


def told(opened: Opened) -> tuple[SweepSpec, StudyFolder]:
    """The study; on stderr, that studies were forked from it, where one of them may have been
    meant.
    """
    if opened.beside:
        names = ", ".join(opened.beside)
        message = f"study {opened.folder.name}; beside it were begun with --fork: {names}. Each opens by its name."
        warn(message)
    return opened.sweep, opened.folder


def naming_words(spec: Path, name: str, studies: Path | None) -> tuple[str, ...]:
    """What names a study on the command line: its name where it was opened by one, else the sweep
    file, and what else it takes where that means another one.
    """
    other = spec.is_file() and own_name(spec) != name
    return (
        path_word(spec) if spec.is_file() else name,
        *((f"name={name}",) if other else ()),
        *(("--studies", str(studies)) if studies else ()),
    )


def observer_of(
    sweep: SweepSpec, folder: StudyFolder, silent: NullObserver | None, *, json: bool = False
) -> AbstractContextManager[LiveReporter | JsonReporter | NullObserver]:
    """What a run says as it goes: a live table or lines, events for programs, or nothing where
    there is a `silent` one.
    """
    from orchestrator.reporting import terminal
    from orchestrator.reporting.json_lines import JsonReporter
    from orchestrator.reporting.live import LiveReporter
    from orchestrator.reporting.sweep_standing import Budgeted

    if silent is not None:
        return nullcontext(silent)
    if json:
        return JsonReporter(folder.path, Budgeted.of(sweep))
    varied = tuple(dimension.name for dimension in sweep.parameters.searched)
    return LiveReporter(terminal.console(), varied, Budgeted.of(sweep))


def pack_worker(sweep: SweepSpec, folder: StudyFolder) -> Worker:
    """The worker of every command that trains."""
    # what torch and transformers bring stays: to search it for garbage, again and again, only slows
    # their import
    gc.disable()
    try:
        from orchestrator.tuning.worker import start_worker
    finally:
        gc.enable()
    gc.freeze()
    return start_worker(sweep, folder.project_cache)


def show(document: Document) -> None:
    """Print a document on the terminal."""
    from orchestrator.reporting import terminal

    terminal.show(document, terminal.console())


def say(text: str) -> None:
    """Print one line, whatever characters came into it."""
    from rich.text import Text

    from orchestrator.reporting import terminal

    terminal.console().print(Text(plain(text)), soft_wrap=True)


def warn(text: str) -> None:
    """On stderr, whatever characters came into it."""
    typer.echo("\n".join(map(plain, text.split("\n"))), err=True)
