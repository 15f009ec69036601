"""Output that several commands share, and the worker of those that train."""

from __future__ import annotations

import gc
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.opening_study import Opened, own_name
from orchestrator.host.garbage_collection import no_garbage_collection
from orchestrator.reporting.rendering.escape import plain
from orchestrator.typed_words import path_word

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.records.worker_protocol import Worker
    from orchestrator.reporting.progress.json_lines import JsonReporter
    from orchestrator.reporting.progress.live import LiveReporter
    from orchestrator.reporting.rendering.report_blocks import Document
    from orchestrator.running.observer import NullObserver
    from orchestrator.sweepfile.sweep import SweepSpec


def told(opened: Opened) -> tuple[SweepSpec, StudyFolder]:
    """Return the study. Where studies were forked from it, and one of them may have been meant, say
    so on stderr.
    """
    if opened.beside:
        names = ", ".join(opened.beside)
        message = f"study {opened.folder.name}; beside it were begun with --fork: {names}. Each opens by its name."
        warn(message)
    return opened.sweep, opened.folder


def naming_words(spec: Path, name: str, studies: Path | None) -> tuple[str, ...]:
    """Return the words that name a study on the command line: the sweep file where there is one,
    with `name=NAME` where the file alone means another study; else the study's name, also where the
    file is not valid without what was overridden.
    """
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.loading import studies_root

    place = ("--studies", str(studies)) if studies else ()
    if not spec.is_file():
        return (name, *place)
    if own_name(spec) == name:
        return (path_word(spec), *place)
    if own_name(spec, [f"name={name}"]):
        return (path_word(spec), f"name={name}", *place)
    return tuple(shlex.split(StudyFolder(studies or studies_root(spec), name).named))


def observer_of(
    sweep: SweepSpec,
    folder: StudyFolder,
    silent: NullObserver | None,
    *,
    json: bool = False,
    again: bool = False,
) -> AbstractContextManager[LiveReporter | JsonReporter | NullObserver]:
    """Return the observer of a run as a context manager: `silent` if there is one, else JSON lines
    for programs, or a live table or lines for people. `again`: one trial is run again, alone.
    """
    from orchestrator.reporting.progress.json_lines import JsonReporter
    from orchestrator.reporting.progress.live import LiveReporter
    from orchestrator.reporting.progress.sweep_standing import Budgeted
    from orchestrator.reporting.rendering import terminal

    if silent is not None:
        return nullcontext(silent)
    if json:
        return JsonReporter(folder.path, Budgeted.of(sweep))
    varied = tuple(dimension.name for dimension in sweep.parameters.searched)
    return LiveReporter(terminal.console(), varied, Budgeted.of(sweep), again=again)


def pack_worker(sweep: SweepSpec, folder: StudyFolder) -> Worker:
    """Make the worker of commands that train."""
    with no_garbage_collection():
        from orchestrator.tuning.worker import start_worker
    # what torch and transformers made lives to the end
    gc.freeze()
    return start_worker(sweep, folder.project_cache)


def show(document: Document) -> None:
    """Print a document on the terminal."""
    from orchestrator.reporting.rendering import terminal

    terminal.show(document, terminal.console())


def print_document(text: str) -> None:
    """Print a document in a format that programs read, such as HTML or JSON, on stdout."""
    from orchestrator.reporting.rendering.utf8_output import in_utf8

    in_utf8(sys.stdout)
    typer.echo(text, nl=False)


def say(text: str) -> None:
    """Print one line on stdout; characters that a terminal could interpret are replaced."""
    from rich.text import Text

    from orchestrator.reporting.rendering import terminal

    terminal.console().print(Text(plain(text)), soft_wrap=True)


def warn(text: str) -> None:
    """Print lines on stderr; characters that a terminal could interpret are replaced."""
    typer.echo("\n".join(map(plain, text.split("\n"))), err=True)
