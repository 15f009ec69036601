"""The command line. Exit codes: 0 accepted or finished, 2 bad input, 3 study and sweep file
disagree, 4 rejected or not reproduced, 5 inconclusive or no feasible trial, 75 interrupted.

Each command has a file of its own under `commands/`, which is imported only when that command was
typed. Nothing heavy is imported until a command needs it: `validate`, `plan`, `status` and
`report` import neither torch nor optuna, and `--help` imports no code that reads sweep files.
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
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestrator.commands import COMMAND_FILES, COMMANDS
from orchestrator.errors import Interrupted, OrchestrateError
from orchestrator.files.atomic import system_error
from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.rendering.lasting_output import open_closed_streams, outlive_terminal
from orchestrator.reporting.rendering.logs import debug_logging

if TYPE_CHECKING:
    from orchestrator.records.worker_protocol import MakeWorker

_ALONE = ("-h", "--help", "--version", "--install-completion", "--show-completion")
"""Options that may be the first word, in the place of a command."""
_PRINTING = tuple(
    "validate plan diagnose status watch report export transcribe manifest compare table stop".split()
)
"""Commands that only print and hold no study open, so a closed pipe (as of `| head`) may end them.
"""

_WRITING = ("export", "verify")
"""Commands that fill a folder for minutes, which must not stay half full."""
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
"""What a lower-case part of an error's message means for a person: which resource is short."""

_OBJECTS_BETWEEN_SEARCHES = 100_000
"""The garbage collector's threshold in commands that only print."""

VERBOSE, TRACEBACK = "--verbose", "--traceback"


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestrate {version('orchestrator')}")
        raise typer.Exit


def _accept_common_options(
    verbose: Annotated[
        bool,
        typer.Option(VERBOSE, help="Log to stderr what is done. May stand anywhere in the line."),
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            TRACEBACK,
            help="Show above an error message where in the program it comes from. May stand "
            "anywhere in the line.",
        ),
    ] = False,
    told: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options of every command, so that they appear in `--help`; do nothing.

    `main` has read `--verbose` and `--traceback` by now, because they also apply to errors before
    and after the command itself.
    """


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the command line for the commands `names`, importing the modules of those only, so that
    one command does not wait for the imports of the others.
    """
    app = typer.Typer(
        name="orchestrate",
        help="Fine-tune small speech recognisers: train the LoRA adapters that a sweep file asks "
        "for, and judge the best one. `orchestrate SPEC` runs or continues a sweep.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_accept_common_options)
    for name in names:
        module = import_module(f"orchestrator.commands.{COMMAND_FILES[name]}")
        if name == "manifest":
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def main(arguments: Sequence[str] | None = None, make_worker: MakeWorker | None = None) -> None:
    """Run a command and exit with its code; an error that a person can act on is printed as one
    message, without a traceback.

    A first word that is no command is a sweep file: `orchestrate SPEC` is `orchestrate run SPEC`.
    `arguments` are given by programs that call this, such as tests and benchmarks: signals, pipes
    and the terminal are then left as they are. `make_worker` makes another worker than the real
    one.
    """
    options, words = _split_common_options(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in (*COMMANDS, *_ALONE):
        words.insert(0, "run")
    if arguments is None:
        open_closed_streams()
        outlive_terminal()
        _escape_what_cannot_be_printed()
        _forget_no_size()
    if arguments is None and words and words[0] in _PRINTING:
        _prepare_to_print()
    with debug_logging(VERBOSE in options):
        try:
            app = build_app(words[:1] if words and words[0] in COMMANDS else COMMANDS)
            if arguments is None and signal.getsignal(signal.SIGINT) not in (
                signal.SIG_IGN,
                signal.SIG_DFL,
            ):
                # from here on the command itself handles KeyboardInterrupt, no longer __main__
                signal.signal(signal.SIGINT, signal.default_int_handler)
            if arguments is None and words and words[0] == "run":
                _answer_where_no_run_does()
            elif arguments is None and words and words[0] in _WRITING:
                _answer_as_interrupted()
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
            with suppress(OSError):
                sys.stderr.write(f"{lacking}\n{_SAFE}\n")  # there may be no room for more than that
            sys.exit(OrchestrateError.exit_code)


def _exit_stopped(error: Interrupted, full: bool) -> None:
    """Print why the run was stopped and exit with its code, whatever signals come meanwhile: people
    often type Ctrl+C once more than it takes.
    """
    _answer_signals(signal.SIG_IGN)
    _tell(str(error), full)
    # during Python's own shutdown a signal may end the process at once, with the same exit code
    _answer_signals(lambda number, frame: os._exit(error.exit_code))
    # at the very end Python restores the default handlers, under which a signal would end the
    # process with another exit code; ignored signals stay ignored
    atexit.register(_answer_signals, signal.SIG_IGN)
    sys.exit(error.exit_code)


def _answer_where_no_run_does() -> None:
    """Handle SIGTERM and SIGHUP with a message and exit code 75 while no run handles them: before
    it installs its own handlers and after it removes them. SIGINT has Python's own handler there.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        with suppress(OSError):  # the terminal may be gone
            os.write(2, f"Stopped by {name}. The same command begins or continues.\n".encode())
        os._exit(Interrupted.exit_code)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _answer_as_interrupted() -> None:
    """Let SIGTERM and SIGHUP end a command as an exception does, so that a folder that it has not
    finished is removed.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(f"Stopped by {signal.Signals(number).name}.")

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)


def _answer_signals(answer: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, answer)


def _escape_what_cannot_be_printed() -> None:
    """Print characters that the terminal's encoding lacks, as in the locale C, as escapes: without
    this the UnicodeEncodeError would end a sweep.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_no_size() -> None:
    """Forget a size of the terminal that is none, as some programs that start others give it: rich
    would print nothing at all, where Python itself asks the terminal then.
    """
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "") == "0":
            del os.environ[name]


def _prepare_to_print() -> None:
    """Set up the process of a command that reads, prints and ends: pipes and garbage collection."""
    if hasattr(signal, "SIGPIPE"):
        # end as the writers of other pipes do: quietly, 141 in a shell
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # modules and utterances live to the end: searching them for garbage at every 700 new objects,
    # the default, and once more at exit took a tenth of the time
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)


def _lacking_resource(error: Exception) -> str | None:
    """Name the resource that the machine has run out of, for an error outside of any trial; None
    for any other error.
    """
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return "out of memory"
    said = str(error).lower()
    return next((means for words, means in _LACKING.items() if words in said), None)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is torch's own about memory, that of a GPU among it."""
    faults = sys.modules.get("orchestrator.tuning.trial_faults")  # there where torch has computed
    return faults is not None and bool(faults.is_out_of_memory(error))


_LONG = re.compile(r"[^\s/]{200,}")
"""A run of text too long for a message. Parts of a path are shorter, so paths are kept whole."""


def _shortened_path(found: re.Match[str]) -> str:
    return f"{found[0][:60]}..."


def _split_common_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into the options of every command, wherever they stand before a `--`, and
    all other words.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = [word for word in arguments[:end] if word in (VERBOSE, TRACEBACK)]
    return options, [word for word in arguments[:end] if word not in options] + list(
        arguments[end:]
    )


def _exit_with_message(message: str, code: int, full: bool) -> None:
    _tell(message, full)
    sys.exit(code)


def _tell(message: str, full: bool) -> None:
    """Print the message on stderr, below the traceback of the current error where `full`."""
    from rich.console import Console
    from rich.text import Text

    shown = f"{traceback.format_exc()}{message}" if full else message
    lines = "\n".join(plain(_LONG.sub(_shortened_path, line)) for line in shown.split("\n"))
    with suppress(OSError):  # stderr may be a file on the disk that is full: the code still tells
        Console(stderr=True, highlight=False).print(Text(lines), soft_wrap=True)
