"""The command line. Exit codes: 0 accepted or finished, 2 bad input, 3 study and sweep file disagree, 4 rejected,
5 inconclusive or no feasible trial, 75 interrupted.

Nothing heavy is imported until a command needs it: `validate`, `plan`, `status` and `report` know neither torch nor
optuna.
"""

from __future__ import annotations

import gc
import json
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.atomic import FULL
from orchestrator.commands import manifest
from orchestrator.commands.diagnose import diagnose
from orchestrator.commands.init import init
from orchestrator.commands.opening import (
    FORKED,
    Opened,
    Overrides,
    Spec,
    Studies,
    Study,
    open_study,
    open_sweep,
    own_name,
)
from orchestrator.commands.plan import plan
from orchestrator.commands.repair import repair
from orchestrator.commands.transcribe import transcribe
from orchestrator.errors import OrchestrateError, SpecError, StudyError
from orchestrator.planning.sweep_plan import warm_up_text
from orchestrator.reporting import terminal
from orchestrator.reporting.escape import plain
from orchestrator.reporting.logs import logged
from orchestrator.sweepfile.loading import check_inputs, project_root

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.records.worker import Worker
    from orchestrator.reporting.document import Document
    from orchestrator.reporting.live import LiveReporter
    from orchestrator.running.observer import NullObserver
    from orchestrator.running.session import MakeWorker
    from orchestrator.sweepfile.sweep import SweepSpec

COMMANDS = tuple(
    "run validate plan diagnose status watch report trial export repair transcribe manifest dashboard init".split()
)
_ALONE = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Options without a command."""
_PRINTING = tuple("validate plan diagnose status watch report export transcribe manifest".split())
"""Commands that hold no study open: a reader that has seen enough may end them."""

app = typer.Typer(
    name="orchestrate",
    help="Declarative LoRA sweeps for small speech recognisers. `orchestrate SPEC` runs or continues a sweep.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBOSE, TRACEBACK = "--verbose", "--traceback"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"orchestrate {version('orchestrator')}")
        raise typer.Exit


@app.callback()
def _everywhere(
    verbose: Annotated[bool, typer.Option(VERBOSE, help="Log what is done, to stderr; at any place.")] = False,
    full: Annotated[bool, typer.Option(TRACEBACK, help="Show where an error was raised; at any place.")] = False,
    told: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and end.")
    ] = False,
) -> None:
    """`main` has read both by now: they hold for what goes wrong before and after the command, too."""


@app.command()
def run(
    context: typer.Context,
    spec: Spec,
    overrides: Overrides = None,
    studies: Studies = None,
    fork: Annotated[str | None, typer.Option("--fork", metavar="NAME", help="Begin a new study of this name.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict alone.")] = False,
    bad: Annotated[
        float | None, typer.Option("--max-bad-fraction", help="Skip bad training lines up to this share.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Keep the record of runs here; made if missing.")
    ] = None,
) -> None:
    """Run or continue a sweep; a finished one is only reported."""
    from orchestrator.reporting import files, report
    from orchestrator.reporting.record import keep
    from orchestrator.running.observer import NullObserver
    from orchestrator.running.session import finished, run_study
    from orchestrator.running.signals import GracefulShutdown

    options = {"name": fork, "data.max_bad_fraction": bad}
    overrides = [*(overrides or []), *(f"{key}={value}" for key, value in options.items() if value is not None)]
    sweep, folder = open_sweep(spec, overrides, studies)
    check_inputs(sweep)
    if (own := own_name(spec)) not in (sweep.name, ""):
        folder.note_once(FORKED.format(own))
    with _observer(sweep, quiet, NullObserver()) as observer, GracefulShutdown(observer.say) as drain:
        conclusion = run_study(sweep, folder, context.obj or pack_worker, observer, drain)
    done = finished(sweep, folder)
    document = report.build(sweep, folder, conclusion, _words(spec, sweep.name, studies), done)
    files.write(folder, document)
    terminal.show(document, terminal.console())
    if done:
        places = {"--studies": studies, "--record": record}
        named = [word for option, value in places.items() if value for word in (option, str(value))]
        command = shlex.join(["orchestrate", str(spec), *overrides, *named])
        if said := keep(sweep, folder, conclusion, command, project_root(spec), record, studies is None):
            typer.echo("\n".join(map(plain, said.split("\n"))), err=True)
    raise typer.Exit(conclusion.exit_code)


@app.command()
def validate(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="The sweep file.", show_default=False)] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--json-schema", help="Print the JSON schema for editors.")] = False,
) -> None:
    """Check a sweep file and that what it names is there."""
    if schema:
        from orchestrator.sweepfile.loading import json_schema

        typer.echo(json.dumps(json_schema(), indent=2))
        return
    if spec is None:
        raise SpecError(
            "validate needs a sweep file\n  orchestrate validate SPEC, or orchestrate validate --json-schema"
        )
    sweep, _ = open_sweep(spec, overrides or [], None)
    check_inputs(sweep)
    searched = ", ".join(dimension.name for dimension in sweep.parameters.searched) or "nothing"
    taken = f"; {sweep.taken}" if sweep.taken else ""
    _say(f"{spec} is valid: sweep {sweep.name}, {sweep.method} over {searched}, {sweep.budget.trials} trials{taken}")
    if doubt := warm_up_text(sweep):
        _say(doubt)


app.command()(diagnose)


@app.command()
def status(spec: Study, overrides: Overrides = None, studies: Studies = None) -> None:
    """Where a sweep stands."""
    from orchestrator.running.session import finished

    sweep, folder = _told(open_study(spec, overrides or [], studies))
    _show(_status(sweep, folder, finished(sweep, folder)))


@app.command()
def watch(
    spec: Study,
    overrides: Overrides = None,
    studies: Studies = None,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between looks.")] = 5.0,
) -> None:
    """Show where a sweep stands, again and again, until it is finished."""
    from orchestrator.running.session import finished

    sweep, folder = _told(open_study(spec, overrides or [], studies))
    console, before = terminal.console(), None
    while True:
        done = finished(sweep, folder)
        document = _status(sweep, folder, done)
        if document != before:
            if console.is_terminal:
                console.clear()
            terminal.show(document, console)
            before = document
        if done:
            return
        time.sleep(every)


@app.command()
def report(
    spec: Study,
    overrides: Overrides = None,
    studies: Studies = None,
    form: Annotated[str, typer.Option("--format", help="terminal, md, html or json.")] = "terminal",
) -> None:
    """Verdict, tables and plots of a study, judged anew from its files."""
    from orchestrator.reporting import html, machine, markdown
    from orchestrator.reporting import report as reporting
    from orchestrator.running.session import finished
    from orchestrator.verdicts.conclusion import conclude

    if form not in ("terminal", "md", "html", "json"):
        raise SpecError(f"--format {form} is not known\n  Allowed: terminal, md, html, json.")
    opened = open_study(spec, overrides or [], studies, judging=True)
    sweep, folder = _told(opened)
    conclusion, done = conclude(sweep, folder), finished(sweep, folder)
    if form == "json":
        typer.echo(machine.render(sweep, conclusion, done, opened.other_limits), nl=False)
        return
    words = _words(spec, folder.name, studies)
    document = reporting.build(sweep, folder, conclusion, words, done, opened.other_limits)
    if form == "terminal":
        _show(document)
    else:
        typer.echo(markdown.render(document) if form == "md" else html.render(document), nl=False)


@app.command()
def trial(
    context: typer.Context,
    spec: Study,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="The trial's number.", show_default=False)],
    overrides: Overrides = None,
    studies: Studies = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
) -> None:
    """Run one trial again, alone, and set its numbers beside the recorded ones."""
    from orchestrator.reporting import compared
    from orchestrator.running.observer import NullObserver
    from orchestrator.running.preflight import check_rerun
    from orchestrator.running.rerun import rerun, stored_plan
    from orchestrator.running.session import with_recorded_pack

    sweep, folder = _told(open_study(spec, overrides or [], studies))
    trial_plan = stored_plan(folder, number)
    check_rerun(sweep, folder)
    sweep = with_recorded_pack(sweep, folder)
    with _observer(sweep, quiet, NullObserver()) as observer:
        again = rerun(trial_plan, folder, (context.obj or pack_worker)(sweep, folder), observer)
    _show(compared.build(trial_plan, again.recorded, again.again, again.failure))


@app.command()
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
    sweep, folder = _told(opened)
    kept = write(sweep, folder, number, to, opened.root, final=final, merged=merged)
    scale = "" if kept.adapter_scale is None else f", step {kept.step}, adapter scale {kept.adapter_scale:g},"
    _say(f"trial {kept.result.number} of study {folder.name}{scale} is in {to}")


app.command()(init)
app.command()(plan)
app.command()(repair)
app.command()(transcribe)
app.add_typer(manifest.app, name="manifest")


@app.command()
def dashboard(
    spec: Study,
    overrides: Overrides = None,
    studies: Studies = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> None:
    """optuna-dashboard on this study: read only, this machine only, until Ctrl+C."""
    from orchestrator.search.dashboard import serve

    _, folder = _told(open_study(spec, overrides or [], studies))
    serve(folder.database, port, lambda address: _say(f"{address}  (Ctrl+C ends it)"))


def main(arguments: Sequence[str] | None = None, make_worker: MakeWorker | None = None) -> None:
    """Run a command and exit with its code; every error a person can act on is one message, without a traceback.

    A first word that is no command is a sweep file: `orchestrate SPEC` is `orchestrate run SPEC`.
    """
    options, words = _split(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in (*COMMANDS, *_ALONE):
        words.insert(0, "run")
    if arguments is None and hasattr(signal, "SIGPIPE") and words and words[0] in _PRINTING:
        # end as the writers of other pipes do: quietly, 141 in a shell
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with logged(VERBOSE in options):
        try:
            if arguments is None and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL):
                signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on a command answers
            app(args=[*options, *words], obj=make_worker)
        except OrchestrateError as error:
            _fail(str(error), error.exit_code, TRACEBACK in options)
        except OSError as error:
            message = f"{error.filename or 'a file'}: {error.strerror or error}"
            full = error.errno in FULL
            again = "\n  What was written before is safe. Make room, then run the same command again." if full else ""
            code = StudyError.exit_code if full else OrchestrateError.exit_code
            _fail(f"{message}{again}", code, TRACEBACK in options)


_LONG = re.compile(r"[^\s/]{200,}")
"""What was typed or read in; a path is of shorter parts."""


def _shortened(found: re.Match[str]) -> str:
    return f"{found[0][:60]}..."


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of every command, wherever they stand before a `--`, and the other words."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = [word for word in arguments[:end] if word in (VERBOSE, TRACEBACK)]
    return options, [word for word in arguments[:end] if word not in options] + list(arguments[end:])


def _fail(message: str, code: int, full: bool) -> None:
    """Print the message, below the traceback of the error in hand where that is asked for, and exit."""
    shown = f"{traceback.format_exc()}{message}" if full else message
    lines = "\n".join(plain(_LONG.sub(_shortened, line)) for line in shown.split("\n"))
    Console(stderr=True, highlight=False).print(Text(lines), soft_wrap=True)
    sys.exit(code)


def _told(opened: Opened) -> tuple[SweepSpec, StudyFolder]:
    """The study; on stderr, that studies were forked from it, where one of them may have been meant."""
    if opened.beside:
        names = ", ".join(opened.beside)
        message = f"study {opened.folder.name}; beside it were begun with --fork: {names}. Each opens by its name."
        typer.echo(plain(message), err=True)
    return opened.sweep, opened.folder


def _words(spec: Path, name: str, studies: Path | None) -> tuple[str, ...]:
    """What names a study on the command line: the sweep file, and what else it takes where that means another one."""
    other = spec.is_file() and own_name(spec) != name
    return (str(spec), *((f"name={name}",) if other else ()), *(("--studies", str(studies)) if studies else ()))


def _status(sweep: SweepSpec, folder: StudyFolder, done: bool) -> Document:
    from orchestrator.reporting import status as standing
    from orchestrator.verdicts.conclusion import conclude

    return standing.build(sweep, folder, conclude(sweep, folder), done)


def _observer(
    sweep: SweepSpec, quiet: bool, silent: NullObserver
) -> AbstractContextManager[LiveReporter | NullObserver]:
    from orchestrator.reporting.live import LiveReporter
    from orchestrator.reporting.wording import rates_of

    varied = tuple(dimension.name for dimension in sweep.parameters.searched)
    return nullcontext(silent) if quiet else LiveReporter(terminal.console(), varied, rates=rates_of(sweep))


def pack_worker(sweep: SweepSpec, folder: StudyFolder) -> Worker:
    """The worker of every command that trains."""
    # what torch and transformers bring stays: to search it for garbage, again and again, only slows their import
    gc.disable()
    try:
        from orchestrator.tuning.worker import start_worker
    finally:
        gc.enable()
    gc.freeze()
    return start_worker(sweep, folder.cache)


def _show(document: Document) -> None:
    terminal.show(document, terminal.console())


def _say(text: str) -> None:
    terminal.console().print(Text(plain(text)), soft_wrap=True)
