"""The command line. Exit codes: 0 accepted or finished, 2 bad input, 3 study and sweep file
disagree, 4 rejected or not reproduced, 5 inconclusive or no feasible trial, 75 interrupted.

Each command has a file of its own under `commands/`, which is imported when that command was
typed. Nothing heavy is imported until a command needs it: `validate`, `plan`, `status` and
`report` know neither torch nor optuna, and help knows no sweep file.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.atomic import system_error
from orchestrator.errors import Interrupted, OrchestrateError
from orchestrator.reporting.escape import plain
from orchestrator.reporting.lasting_output import outlive_terminal
from orchestrator.reporting.logs import debug_logging

if TYPE_CHECKING:
    from orchestrator.running.pack_sizes import MakeWorker

_COMMAND_FILES = {
    name: "status" if name == "watch" else name
    for name in (
        *("run", "validate", "plan", "diagnose", "status", "watch", "report", "trial"),
        *("export", "verify", "repair", "transcribe", "dashboard", "init"),
        *("compare", "table", "stop", "clean", "listen", "manifest"),
    )
}
"""Of every command, which file of `commands/` holds it."""
COMMANDS = tuple(_COMMAND_FILES)
_ALONE = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Options without a command."""
_PRINTING = tuple(
    "validate plan diagnose status watch report export transcribe manifest compare table stop".split()
)
"""Commands that hold no study open: a reader that has seen enough may end them."""

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

_OBJECTS_BETWEEN_SEARCHES = 100_000

VERBOSE, TRACEBACK = "--verbose", "--traceback"


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestrate {version('orchestrator')}")
        raise typer.Exit


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


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line of the commands `names`. What they alone import is imported here, so one
    command does not wait for the others.
    """
    app = typer.Typer(
        name="orchestrate",
        help="Declarative LoRA sweeps for small speech recognisers. `orchestrate SPEC` runs or continues a sweep.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_accept_common_options)
    for name in names:
        module = import_module(f"orchestrator.commands.{_COMMAND_FILES[name]}")
        if name == "manifest":
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def main(arguments: Sequence[str] | None = None, make_worker: MakeWorker | None = None) -> None:
    """Run a command and exit with its code; every error a person can act on is one message, without
    a traceback.

    A first word that is no command is a sweep file: `orchestrate SPEC` is `orchestrate run SPEC`.
    """
    options, words = _split_common_options(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in (*COMMANDS, *_ALONE):
        words.insert(0, "run")
    if arguments is None:
        outlive_terminal()
        _escape_what_cannot_be_printed()
    if arguments is None and words and words[0] in _PRINTING:
        _prepare_to_print()
    with debug_logging(VERBOSE in options):
        try:
            app = build_app(words[:1] if words and words[0] in COMMANDS else COMMANDS)
            if arguments is None and signal.getsignal(signal.SIGINT) not in (
                signal.SIG_IGN,
                signal.SIG_DFL,
            ):
                # from here on a command answers
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if arguments is None and words and words[0] == "run":
                _answer_where_no_run_does()
            app(args=[*options, *words], obj=make_worker)
        except OrchestrateError as error:
            _exit_with_message(str(error), error.exit_code, TRACEBACK in options)
        except Interrupted as error:
            if arguments is None:
                _exit_stopped(error, TRACEBACK in options)
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


def _exit_stopped(error: Interrupted, full: bool) -> None:
    """Tell the stop and exit with its code, whatever signals come now: Ctrl+C is often typed once
    more than it takes.
    """
    _answer_signals(signal.SIG_IGN)
    _tell(str(error), full)
    # what Python still does at its end may be cut short
    _answer_signals(lambda number, frame: os._exit(error.exit_code))
    # at last it forgets its own answers, and a signal would end the process with a code of its own
    atexit.register(_answer_signals, signal.SIG_IGN)
    sys.exit(error.exit_code)


def _answer_where_no_run_does() -> None:
    """SIGTERM and SIGHUP before a run answers them, and once it does no more, are not silent either;
    SIGINT has Python's own answer there.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"Stopped by {name}. The same command begins or continues.\n".encode())
        os._exit(Interrupted.exit_code)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _answer_signals(answer: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, answer)


def _escape_what_cannot_be_printed() -> None:
    """A name or a text beyond the terminal's encoding, as in the locale C, must end no sweep."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")


def _prepare_to_print() -> None:
    """For the process of a command that reads, prints and ends."""
    if hasattr(signal, "SIGPIPE"):
        # end as the writers of other pipes do: quietly, 141 in a shell
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # modules and utterances stay to the end: to search them for garbage at every 700 new ones, and
    # once more while Python ends, took a tenth of the time
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)


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
    _tell(message, full)
    sys.exit(code)


def _tell(message: str, full: bool) -> None:
    """Print the message, below the traceback of the error in hand where that is asked for."""
    from rich.console import Console
    from rich.text import Text

    shown = f"{traceback.format_exc()}{message}" if full else message
    lines = "\n".join(plain(_LONG.sub(_shortened_path, line)) for line in shown.split("\n"))
    Console(stderr=True, highlight=False).print(Text(lines), soft_wrap=True)
