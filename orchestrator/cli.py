"""The command line. Exit codes: 0 accepted or finished, 2 bad input, 3 study and sweep file
disagree, 4 rejected, 5 inconclusive or no feasible trial, 75 interrupted.

Each command has a file of its own under `commands/`. Nothing heavy is imported until a command
needs it: `validate`, `plan`, `status` and `report` know neither torch nor optuna.
"""

from __future__ import annotations

import re
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.atomic import system_error
from orchestrator.commands import manifest
from orchestrator.commands.clean import clean
from orchestrator.commands.compare import compare
from orchestrator.commands.dashboard import dashboard
from orchestrator.commands.diagnose import diagnose
from orchestrator.commands.export import export
from orchestrator.commands.init import init
from orchestrator.commands.listen import listen
from orchestrator.commands.plan import plan
from orchestrator.commands.repair import repair
from orchestrator.commands.report import report
from orchestrator.commands.run import run
from orchestrator.commands.status import status, watch
from orchestrator.commands.stop import stop
from orchestrator.commands.table import table
from orchestrator.commands.transcribe import transcribe
from orchestrator.commands.trial import trial
from orchestrator.commands.validate import validate
from orchestrator.commands.verify import verify
from orchestrator.errors import OrchestrateError
from orchestrator.reporting.escape import plain
from orchestrator.reporting.logs import debug_logging

if TYPE_CHECKING:
    from orchestrator.running.pack_sizes import MakeWorker

_FUNCTIONS = (
    *(run, validate, plan, diagnose, status, watch, report, trial),
    *(export, verify, repair, transcribe, dashboard, init),
    *(compare, table, stop, clean, listen),
)
COMMANDS = (*(function.__name__ for function in _FUNCTIONS), "manifest")
_ALONE = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Options without a command."""
_PRINTING = tuple(
    "validate plan diagnose status watch report export transcribe manifest compare table stop".split()
)
"""Commands that hold no study open: a reader that has seen enough may end them."""

app = typer.Typer(
    name="orchestrate",
    help="Declarative LoRA sweeps for small speech recognisers. `orchestrate SPEC` runs or continues a sweep.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SAFE = (
    "  What was written before is safe. End other programs or raise the limit of this one, then run the same command "
    "again."
)
_LACKING = {
    "cannot allocate memory": "out of memory",
    "failed to map segment": "out of memory",
    "error return without exception set": "out of memory",  # CPython's own, in an import
    "can't start new thread": "this machine allows no further thread, for want of memory or by a limit",
}
"""Of messages: what they mean."""

VERBOSE, TRACEBACK = "--verbose", "--traceback"


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestrate {version('orchestrator')}")
        raise typer.Exit


@app.callback()
def _accept_common_options(
    verbose: Annotated[
        bool, typer.Option(VERBOSE, help="Log what is done, to stderr; at any place.")
    ] = False,
    full: Annotated[
        bool, typer.Option(TRACEBACK, help="Show where an error was raised; at any place.")
    ] = False,
    told: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """`main` has read both by now: they hold for what goes wrong before and after the command,
    too.
    """


for function in _FUNCTIONS:
    app.command()(function)
app.add_typer(manifest.app, name="manifest")


def main(arguments: Sequence[str] | None = None, make_worker: MakeWorker | None = None) -> None:
    """Run a command and exit with its code; every error a person can act on is one message, without
    a traceback.

    A first word that is no command is a sweep file: `orchestrate SPEC` is `orchestrate run SPEC`.
    """
    options, words = _split_common_options(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in (*COMMANDS, *_ALONE):
        words.insert(0, "run")
    if arguments is None and hasattr(signal, "SIGPIPE") and words and words[0] in _PRINTING:
        # end as the writers of other pipes do: quietly, 141 in a shell
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with debug_logging(VERBOSE in options):
        try:
            if arguments is None and signal.getsignal(signal.SIGINT) not in (
                signal.SIG_IGN,
                signal.SIG_DFL,
            ):
                # from here on a command answers
                signal.signal(signal.SIGINT, signal.default_int_handler)
            app(args=[*options, *words], obj=make_worker)
        except OrchestrateError as error:
            _exit_with_message(str(error), error.exit_code, TRACEBACK in options)
        except OSError as error:
            told = system_error(error)
            _exit_with_message(str(told), told.exit_code, TRACEBACK in options)
        except (MemoryError, RuntimeError, ImportError, SystemError) as error:
            lacking = _lacking_resource(error)
            if lacking is None or TRACEBACK in options:
                raise
            sys.stderr.write(f"{lacking}\n{_SAFE}\n")  # there may be no room for more than that
            sys.exit(OrchestrateError.exit_code)


def _lacking_resource(error: Exception) -> str | None:
    """What the machine has no more of, outside of any trial; None for another error."""
    if isinstance(error, MemoryError):
        return "out of memory"
    said = str(error).lower()
    return next((means for words, means in _LACKING.items() if words in said), None)


_LONG = re.compile(r"[^\s/]{200,}")
"""What was typed or read in; a path is of shorter parts."""


def _shortened_path(found: re.Match[str]) -> str:
    return f"{found[0][:60]}..."


def _split_common_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options of every command, wherever they stand before a `--`, and the other words."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = [word for word in arguments[:end] if word in (VERBOSE, TRACEBACK)]
    return options, [word for word in arguments[:end] if word not in options] + list(
        arguments[end:]
    )


def _exit_with_message(message: str, code: int, full: bool) -> None:
    """Print the message, below the traceback of the error in hand where that is asked for, and
    exit.
    """
    shown = f"{traceback.format_exc()}{message}" if full else message
    lines = "\n".join(plain(_LONG.sub(_shortened_path, line)) for line in shown.split("\n"))
    Console(stderr=True, highlight=False).print(Text(lines), soft_wrap=True)
    sys.exit(code)
