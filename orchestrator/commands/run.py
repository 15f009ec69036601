"""`orchestrate run`, and `orchestrate SPEC`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands import running_command
from orchestrator.commands.opening_study import FORKED, open_sweep, own_name
from orchestrator.commands.output import naming_words, observer_of, pack_worker, warn
from orchestrator.commands.study_arguments import Overrides, Studies, Study
from orchestrator.errors import SpecError
from orchestrator.typed_words import path_word

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.reporting.rendering.report_blocks import Document
    from orchestrator.sweepfile.sweep import SweepSpec
    from orchestrator.tracking.runs import Ending
    from orchestrator.verdicts.conclusion import Conclusion


_Fork = Annotated[
    str | None,
    typer.Option(
        "--fork", metavar="NAME", help="Begin a new study of this name beside the existing one."
    ),
]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the report.")]
_Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print every event for programs, one JSON object a line, and nothing else.",
    ),
]
_Bad = Annotated[
    float | None,
    typer.Option(
        "--max-bad-fraction",
        help="Skip bad lines of a training set if they are at most this share of it, such as "
        "0.01. Default: data.max_bad_fraction of the sweep file.",
    ),
]
_Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Markdown file for the finished sweep's row, made if missing. Default: "
        "docs/experiment_plan.md, if the project has it.",
    ),
]


def run(
    context: typer.Context,
    spec: Study,
    overrides: Overrides = None,
    studies: Studies = None,
    fork: _Fork = None,
    quiet: _Quiet = False,
    json: _Json = False,
    bad: _Bad = None,
    record: _Record = None,
) -> None:
    """Run a sweep, or continue it where it stopped. A finished one is only reported.

    Exit code 0: ACCEPT, or finished without acceptance criteria. 4: REJECT.
    5: INCONCLUSIVE, or no trial keeps the guardrails.
    75: interrupted; the same command continues.
    """
    from orchestrator.reporting.progress.json_lines import JsonReporter
    from orchestrator.reporting.record.experiment_plan import check_record
    from orchestrator.reporting.rendering import terminal
    from orchestrator.running.completion import is_finished
    from orchestrator.running.observer import NullObserver
    from orchestrator.running.session import run_study
    from orchestrator.running.signals import GracefulShutdown, continues_later
    from orchestrator.sweepfile.loading import check_inputs
    from orchestrator.tracking.sending import tracked

    _check_options(spec, fork, bad, quiet and json)
    overrides = _with_options(overrides, {"name": fork, "data.max_bad_fraction": bad})
    sweep, folder = open_sweep(spec, overrides, studies)
    if record is not None:
        check_record(record, folder.path.parent)
    check_inputs(sweep)
    own = own_name(spec)
    first_note = FORKED.format(own) if own not in (sweep.name, "") else ""
    with continues_later(), tracked(sweep, folder, warn) as trackers:
        with observer_of(sweep, folder, NullObserver() if quiet else None, json=json) as observer:
            with GracefulShutdown(observer.say) as drain:
                maker = context.obj or pack_worker
                conclusion = run_study(sweep, folder, maker, observer, drain, first_note)
            done = is_finished(sweep, folder)
            words = naming_words(spec, sweep.name, studies)
            document = _write_report(sweep, folder, conclusion, words, done)
            if isinstance(observer, JsonReporter):
                observer.finished(conclusion, document.headline, folder.report_html, done)
        if not json:
            terminal.show(document, terminal.console())
        if done:
            command = _typed_command(spec, overrides, {"--studies": studies, "--record": record})
            _keep_row(sweep, folder, conclusion, command, record, in_project=studies is None)
        for line in trackers.finish(_ending_of(conclusion, document.headline, done)):
            warn(line)
    raise typer.Exit(conclusion.exit_code)


def _check_options(spec: Path, fork: str | None, bad: float | None, both_outputs: bool) -> None:
    """Raise SpecError for options that contradict one another or the sweep file, or whose value the
    field that they set cannot have.
    """
    from orchestrator.sweepfile.sweep import NAME, NAME_FORM

    if both_outputs:
        raise SpecError("--quiet and --json exclude each other\n  Give one of them.")
    if fork is not None and not re.fullmatch(NAME, fork):
        raise SpecError(f"--fork {fork} is no name of a study\n  Allowed: {NAME_FORM}.")
    if bad is not None and not 0 <= bad < 1:
        raise SpecError(f"--max-bad-fraction {bad:g} is no share\n  Allowed: at least 0, below 1.")
    if fork is not None and fork == own_name(spec):
        raise SpecError(
            f"--fork {fork} names the sweep file's own study, and begins no other\n  Give it another name."
        )


def _with_options(
    overrides: Sequence[str] | None, options: Mapping[str, str | float | None]
) -> list[str]:
    """Append options that set a field of the sweep file, such as --fork, as overrides."""
    given = [f"{field}={value}" for field, value in options.items() if value is not None]
    return [*(overrides or ()), *given]


def _keep_row(
    sweep: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    command: str,
    record: Path | None,
    in_project: bool,
) -> None:
    """Write the finished study to the project's record of runs, and warn where that fails."""
    from orchestrator.reporting.record.experiment_plan import keep_record

    root = sweep.project
    if said := keep_record(sweep, folder, conclusion, command, root, record, in_project):
        warn(said)


def _write_report(
    sweep: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    words: tuple[str, ...],
    done: bool,
) -> Document:
    """Write report.md and report.html, unless the study is read-only, and return the report."""
    from orchestrator.reporting.documents import report, report_files
    from orchestrator.reporting.page import report_page

    document = report.build(sweep, folder, conclusion, words, done)
    page = report_page.render(sweep, folder, conclusion, document, words, done)
    if not folder.read_only:
        report_files.write(folder, document, page)
    return document


def _ending_of(conclusion: Conclusion, headline: str, done: bool) -> Ending:
    """Return what trackers are told at the end of a run."""
    from orchestrator.tracking.runs import Ending

    best = conclusion.best.number if conclusion.best else None
    verdict = str(conclusion.shown_decision(done) or "none")
    return Ending({"verdict": verdict, "headline": headline}, best)


def _typed_command(spec: Path, overrides: Sequence[str], places: Mapping[str, Path | None]) -> str:
    """Return the command that was given, for the record of runs."""
    named = [word for option, value in places.items() if value for word in (option, str(value))]
    return running_command(path_word(spec), *overrides, *named)
