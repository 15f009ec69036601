"""Real signals to a real process: the study ends as if there had been none."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import _answer_as_interrupted
from orchestrator.errors import Interrupted
from orchestrator.files.atomic import new_folder
from orchestrator.records.store import StudyFolder
from orchestrator.running import session, verifying
from orchestrator.running.signals import GracefulShutdown, continues_later
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import SweepSpec
from tests.cli_project import ROOT, make_project, orchestrate, process
from tests.fake_worker import FakeWorker
from tests.run_fake import make_worker
from tests.running_support import history


def wait_for_ticks(started: subprocess.Popen[str], count: int) -> None:
    assert started.stderr
    for _ in range(count):
        assert started.stderr.readline() == "tick\n"


def numbers(spec: Path) -> list[Any]:
    studies = spec.parents[1] / "studies"
    confirmed = [
        c.model_copy(update={"seconds": 0.0}) for c in StudyFolder(studies, "demo").confirmations()
    ]
    return [*history(load_spec(spec), studies), confirmed]


@pytest.fixture(autouse=True)
def _terminal_may_close() -> Iterator[None]:
    """Whoever runs the tests under nohup has SIGHUP ignored in all that they start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    spec = make_project(tmp_path_factory.mktemp("straight"))
    assert orchestrate(spec, "-q") == 0
    return numbers(spec)


@pytest.mark.parametrize(
    ("after", "workers"),
    [("check_data", 0), ("_run_search", 1), ("_worker_for", 2), ("_run_confirmation", 2)],
)
def test_a_stop_waits_for_no_long_work_that_has_not_begun(
    after: str,
    workers: int,
    tmp_path: Path,
    straight: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Loading the model, the baseline of the confirmation, hearing what ships."""
    spec, act, made = make_project(tmp_path), getattr(session, after), list[FakeWorker]()

    def making(sweep: SweepSpec, folder: StudyFolder) -> FakeWorker:
        made.append(make_worker(sweep, folder))
        return made[-1]

    def ending_in_a_signal(*arguments: Any) -> Any:
        done = act(*arguments)
        if len(made) == workers:
            os.kill(os.getpid(), signal.SIGTERM)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(session, after, ending_in_a_signal)
        patched.setattr(session, "asks_for_shipped", lambda spec: True)
        patched.setattr(verifying, "verify_study", lambda *_: pytest.fail("heard what ships"))
        assert orchestrate(spec, "-q", worker=making) == 75
    assert "Stopped by SIGTERM" in capsys.readouterr().err and len(made) == workers
    if after == "_worker_for":
        assert made[1].baselines == 0
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


# SIGINT by default as the first of two, below.
@pytest.mark.parametrize(
    ("number", "ticks"),
    [
        pytest.param(signal.SIGINT, 3, marks=pytest.mark.slow),
        (signal.SIGTERM, 5),
        (signal.SIGHUP, 5),
    ],
)
def test_a_signal_drains_and_says_how_to_go_on(
    number: signal.Signals, ticks: int, tmp_path: Path, straight: list[Any]
) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=0.3)
    wait_for_ticks(started, ticks)
    started.send_signal(number)
    out, error = started.communicate(timeout=60)
    assert started.returncode == 75, error
    assert f"{number.name}: stopping after the present step" in out
    assert "The same command continues" in error and "Traceback" not in error
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


def test_a_second_signal_stops_at_once(tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=20)
    wait_for_ticks(started, 1)
    started.send_signal(signal.SIGINT)
    assert started.stdout
    while "stopping after the present step" not in started.stdout.readline():
        pass
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=15)
    assert (started.returncode, "stopped at once" in error) == (75, True)
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


@pytest.mark.parametrize(
    "ticks",
    [pytest.param(2, marks=pytest.mark.slow), 6, pytest.param(9, marks=pytest.mark.slow)],
)
def test_kill_9_leaves_no_trace(ticks: int, tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=0.02)
    wait_for_ticks(started, ticks)
    started.kill()
    started.communicate()
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


def on_terminal(spec: Path, prepare: Callable[[], object]) -> tuple[subprocess.Popen[bytes], int]:
    """The command at a terminal of its own, whose other end is returned, when it trains."""
    ours, theirs = pty.openpty()

    def sit_at_terminal() -> None:
        prepare()
        os.setsid()
        os.close(os.open(os.ttyname(theirs), os.O_RDWR))  # the first one opened is controlling

    started = subprocess.Popen(
        [sys.executable, "-m", "tests.run_fake", "0.2", str(spec)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=sit_at_terminal,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    seen = b""
    while b"tick" not in seen:
        seen += os.read(ours, 4096)
    return started, ours


def test_a_closed_terminal_is_an_orderly_stop(tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started, terminal = on_terminal(spec, lambda: None)
    os.close(terminal)
    assert started.wait(timeout=60) == 75
    left = StudyFolder(spec.parents[1] / "studies", "demo")
    assert (left.checkpoint / "000001.json").is_file() and not left.holder()
    assert orchestrate(spec, "-q") == 0
    assert numbers(spec) == straight


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path, straight: list[Any]) -> None:
    spec = make_project(tmp_path)
    started, terminal = on_terminal(spec, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    os.close(terminal)
    assert started.wait(timeout=60) == 0
    assert numbers(spec) == straight


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_writes_leaves_no_half_folder(tmp_path: Path, number: int) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    for each in before:
        signal.signal(each, signal.SIG_DFL)
    try:
        _answer_as_interrupted()
        with (
            pytest.raises(Interrupted, match="Stopped by SIG"),
            new_folder(tmp_path / "out") as aside,
        ):
            (aside / "half").write_text("x")
            os.kill(os.getpid(), number)
            time.sleep(5)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_beside_the_search_a_signal_says_what_is_kept(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with (
        pytest.raises(Interrupted, match=rf"Stopped by {number.name}\. What was measured is kept"),
        continues_later(),
    ):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_a_line_that_cannot_be_written_now_does_not_undo_the_stop() -> None:
    def held_back(_: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with GracefulShutdown(held_back) as drain:
        os.kill(os.getpid(), signal.SIGTERM)
        assert drain.requested == "SIGTERM"


def test_one_ctrl_c_more_takes_neither_the_message_nor_the_code(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    started = process(spec, pause=0.3)
    wait_for_ticks(started, 2)
    started.send_signal(signal.SIGTERM)
    assert started.stderr
    said = ""
    while "The same command continues" not in said:
        said = started.stderr.readline()
        assert said, "nothing was said"
    while started.poll() is None:
        started.send_signal(signal.SIGTERM)
    _, rest = started.communicate(timeout=30)
    assert (started.returncode, rest) == (75, "")


ENDS_THREE_TIMES = """
import os, signal
from orchestrator.running.signals import GracefulShutdown, continues_later
with {context}:
    try:
        for _ in range({before}):
            os.kill(os.getpid(), signal.SIGTERM)
    except BaseException as error:
        print(type(error).__name__, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(
    ("context", "before"), [("GracefulShutdown()", 2), ("continues_later()", 1)]
)
def test_a_signal_while_a_stop_is_under_way_ends_the_process_in_words(
    context: str, before: int
) -> None:
    code = ENDS_THREE_TIMES.format(context=context, before=before)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, "Interrupted\n")
    assert done.stderr == "SIGTERM: ended; the same command continues\n"


def test_sigterm_before_anything_was_begun_is_not_silent(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    code = (
        "import os, signal, sys, orchestrator.sweepfile.loading as loading\n"
        "from orchestrator.cli import main\n"
        "loading.check_inputs = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['orchestrate', {str(spec)!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "Stopped by SIGTERM. The same command begins or continues.\n"
