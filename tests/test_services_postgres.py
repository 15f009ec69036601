"""Studies on a real PostgreSQL server: the same files, whatever becomes of the server, and nobody
else on them.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from orchestrator.cli import main
from orchestrator.errors import StudyError
from orchestrator.records.json_files import ServerRecord
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Event
from orchestrator.running.dashboard_contents import dashboard_study, watched_files
from orchestrator.search import postgres
from orchestrator.search.dashboard import open_server
from orchestrator.search.postgres import ServerDatabase
from orchestrator.search.postgres_connection import connect
from orchestrator.search.storage import database_of, open_read_only
from orchestrator.search.study import Study
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import Budget, EarlyStop, SweepSpec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, process
from tests.fake_worker import FakeWorker
from tests.postgres import PASSWORD, QUOTED, Server, running_server
from tests.running_support import RESAMPLES, make_spec

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.services

VARIABLE = "ORCHESTRATE_STORAGE"
SHORT = SWEEP.replace("confirm: {top: 1, seeds: [101, 102]}\n", "").replace(
    "trials: 5", "trials: 3"
)
ON_SERVER = SHORT + f"storage: {{url_env: {VARIABLE}}}\n"
AGAIN = "When the server answers, run the same command again: a run continues where it was."
UNEQUAL = {
    "study.db", "storage.json", "study.lock", "notes.md", "clock.json", "journal.jsonl", "report.md", "report.html",
}  # fmt: skip
"""Files that say when and where; the rest is compared, but for the seconds in results."""


@pytest.fixture(name="running", scope="module")
def _running() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(name="server")
def _server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Running before and after each test, and known to the process."""
    monkeypatch.setenv(VARIABLE, running.address)
    yield running
    if not running.runs:
        running.start()


@pytest.fixture(name="spec")
def _spec(server: Server, tmp_path: Path) -> Path:
    return make_project(tmp_path, ON_SERVER)


@pytest.fixture(name="expected", scope="module")
def _expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the same sweep in a file, never interrupted."""
    spec = make_project(tmp_path_factory.mktemp("file"), SHORT)
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    return files(folder_of(spec))


def files(folder: StudyFolder) -> dict[str, str]:
    found = {}
    for path in sorted(folder.path.rglob("*")):
        name = path.relative_to(folder.path).as_posix()
        apart = name in UNEQUAL or name.startswith(("checkpoint/", "cache/"))
        if path.is_file() and not apart:
            found[name] = re.sub(r'"seconds": ?[0-9.e-]+', "", path.read_text())
    return found


def refusal(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    capsys.readouterr()
    assert orchestrate(*arguments) == code
    return str(capsys.readouterr().err)


@contextmanager
def power_cut(server: Server, at: int | None = None) -> Iterator[list[int]]:
    """The server loses power in the middle of the `at`-th transaction, at its commit; yields their
    number.
    """
    count = [0]

    def committing(connection: sqlalchemy.Connection) -> None:
        count[0] += connection.dialect.name == "postgresql"
        if count[0] == at:
            server.stop()

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", committing)
    try:
        yield count
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", committing)


@pytest.fixture(name="transactions", scope="module")
def _transactions(running: Server, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many a run has, on a server that has Optuna's tables already: making them takes more."""
    spec = make_project(tmp_path_factory.mktemp("counted"), ON_SERVER)
    patch = pytest.MonkeyPatch()
    patch.setenv(VARIABLE, running.address)
    Study.open(
        ServerDatabase(ServerRecord(url_env=VARIABLE, study="first"), "s"), make_spec()
    ).close()
    with power_cut(running) as count:
        assert orchestrate(spec, "--quiet") in (0, 4, 5)
    patch.undo()
    return count[0]


def test_a_study_has_the_same_files_in_a_file_and_on_a_server(
    spec: Path, expected: dict[str, str]
) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    folder = folder_of(spec)
    assert files(folder) == expected
    assert not folder.database.exists() and "storage" not in folder.spec.read_text()
    record = json.loads((folder.path / "storage.json").read_text())
    assert record["url_env"] == VARIABLE and record["study"].startswith("demo-")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.98])
def test_stopped_in_the_middle_it_goes_on_to_the_same_study(
    spec: Path,
    server: Server,
    transactions: int,
    expected: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    share: float,
) -> None:
    at = max(1, round(share * transactions))
    with power_cut(server, at) as count:
        said = refusal(capsys, 3, spec, "--quiet")
    assert count[0] >= at, "the server was not stopped"
    lines = [line for line in said.splitlines() if line != "tick"]
    assert len(lines) == 2 and lines[0].startswith(f"could not use the database of {VARIABLE}: ")
    assert re.fullmatch(rf"  (Nothing was changed|.* safe in .*)\. {AGAIN}", lines[1])
    again = refusal(capsys, 3, spec, "--quiet")
    assert again.startswith(f"could not use the database of {VARIABLE}: Connection refused\n")
    server.start()
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    assert files(folder_of(spec)) == expected
    assert orchestrate("repair", spec, "--check") == 0


def test_a_server_that_comes_back_between_two_statements_is_not_missed(
    server: Server, tmp_path: Path
) -> None:
    spec, folder = make_spec(budget=Budget(trials=2)), StudyFolder(tmp_path, "s")
    database = ServerDatabase(ServerRecord(url_env=VARIABLE, study="away"), "s")
    study = Study.open(database, spec)

    def ask() -> None:
        assert study.ask()
        study.commit()

    ask()
    server.stop("fast")
    server.start()
    ask()
    server.stop("fast")
    server.start()
    other = Study.open(ServerDatabase(database.record, "s"), spec)
    assert len(other.trials()) == 2
    with pytest.raises(StudyError, match="study s is in use by process"):
        ask()
    other.close()
    with pytest.raises(StudyError) as caught:
        ask()
    assert str(caught.value) == (
        f"while the database of {VARIABLE} was away another process went on with study s\n"
        "  Wait until it has finished, then run the same command again."
    )
    study.close()
    assert not folder.path.exists()


def test_a_connection_that_breaks_without_the_server_noticing_is_not_missed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def noted(*given: Any, **named: Any) -> Any:
        made.append(connect(*given, **named))
        return made[-1]

    monkeypatch.setattr(postgres, "connect", noted)
    database = ServerDatabase(ServerRecord(url_env=VARIABLE, study="cut"), "s")
    study = Study.open(database, make_spec(budget=Budget(trials=4)))
    for _ in range(2):
        assert study.ask()
        study.commit()
        (locked,) = [each for each in made if not each.closed]
        end = os.dup(locked.fileno())  # what the server sees stays open
        here, there = socket.socketpair()
        there.close()
        with here:
            os.dup2(here.fileno(), locked.fileno())
        assert study.ask()
        study.commit()
        os.close(end)
    assert [trial.number for trial in study.trials()] == [0, 1, 2, 3]
    study.close()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (
            lambda address: address.replace(QUOTED, "wr0ng"),
            'FATAL:  password authentication failed for user "anna"',
        ),
        (
            lambda address: address.replace("/sweeps", "/nowhere"),
            'FATAL:  database "nowhere" does not exist',
        ),
        (lambda address: re.sub(":[0-9]+/", ":1/", address), "Connection refused"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line_with_its_cause(
    spec: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    cause: str,
) -> None:
    monkeypatch.setenv(VARIABLE, change(server.address))
    assert refusal(capsys, 3, spec, "--quiet") == (
        f"could not use the database of {VARIABLE}: {cause}\n  Nothing was changed. {AGAIN}\n"
    )


def test_a_name_that_is_nowhere_is_said_without_the_name(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql://anna:s3cret@db.invalid/sweeps")
    said = refusal(capsys, 3, spec, "--quiet")
    assert said.startswith(f"could not use the database of {VARIABLE}: ")
    assert "db.invalid" not in said and "host" in said


def test_a_server_on_which_no_table_may_be_made(
    spec: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.query("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    server.query("CREATE DATABASE others")
    address = f"postgresql://guest:guest@127.0.0.1:{server.port}/others"
    monkeypatch.setenv(VARIABLE, address)
    said = refusal(capsys, 3, spec, "--quiet")
    assert said.startswith(
        f"could not use the database of {VARIABLE}: permission denied for schema public\n"
    )


def test_one_process_has_the_study_and_its_death_frees_it(
    spec: Path, expected: dict[str, str], capsys: pytest.CaptureFixture[str], server: Server
) -> None:
    """A second folder of the same study, as on another host: only the server knows of both."""
    first = process(spec, "--quiet", pause=0.5)
    folder = folder_of(spec)
    assert first.stderr
    first.stderr.readline()  # it trains
    copy = make_project(spec.parents[1] / "copy", ON_SERVER)
    other = folder_of(copy)
    subprocess.run(["cp", "-r", folder.path.parent, other.path.parent], check=True)
    (other.path / "study.lock").unlink()
    said = refusal(capsys, 3, copy, "--quiet")
    assert re.match(
        rf"study demo is in use by process {first.pid} on \S+, which spoke to the server \d+ s ago\n"
        r"  Wait until .* If that host is dead, the server lets go of the study within a minute "
        r"\(at once: SELECT pg_terminate_backend\(\d+\)\)\.\n$",
        said,
    )
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    assert files(folder) == expected


def test_studies_of_one_name_do_not_meet(spec: Path, expected: dict[str, str]) -> None:
    other = make_project(spec.parents[1] / "other", ON_SERVER)
    both = [process(path, "--quiet") for path in (spec, other)]
    for each in both:
        assert each.communicate() and each.returncode in (0, 4, 5)
    assert files(folder_of(spec)) == files(folder_of(other)) == expected
    names = {database_of(folder_of(path)).record.study for path in (spec, other)}  # type: ignore[union-attr]
    assert len(names) == 2


def test_a_lost_study_and_one_with_other_numbers_are_made_again(
    spec: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    folder = folder_of(spec)
    name = folder.server().study  # type: ignore[union-attr]
    server.query(f"UPDATE studies SET study_name = 'gone' WHERE study_name = '{name}'")
    said = refusal(capsys, 3, spec, "--quiet", "budget.trials=4")
    assert said.startswith(f"the database of {VARIABLE} does not know study {name}, though trials")
    assert f"the database of {VARIABLE} is lost" in refusal(capsys, 3, "repair", spec, "--check")
    assert orchestrate("repair", spec) == 0
    assert f"made again: the database of {VARIABLE} from the files of 3 trials" in (
        capsys.readouterr().out
    )
    remade = folder.server().study  # type: ignore[union-attr]
    server.query("UPDATE trial_values SET value = value - 1 WHERE value_type = 'FINITE'")
    said = refusal(capsys, 3, spec, "--quiet", "budget.trials=4")
    assert (
        f"the database of {VARIABLE} says of trial" in said and "  Run `orchestrate repair" in said
    )
    assert orchestrate("repair", spec) == 0
    assert folder.server().study not in (name, remade)  # type: ignore[union-attr]
    server.query("CREATE DATABASE anew")  # the server was lost altogether
    monkeypatch.setenv(VARIABLE, server.address.replace("/sweeps", "/anew"))
    assert f"the database of {VARIABLE} is lost" in refusal(capsys, 3, "repair", spec, "--check")
    assert "there is no study demo-" in refusal(capsys, 3, "dashboard", spec, "--port", "0")
    assert orchestrate("repair", spec) == 0
    assert orchestrate(spec, "--quiet", "budget.trials=5") in (0, 4, 5)
    alone = make_project(spec.parents[1] / "alone", SHORT)
    assert orchestrate(alone, "--quiet") in (0, 4, 5)
    assert orchestrate(alone, "--quiet", "budget.trials=5") in (0, 4, 5)
    assert files(folder) == files(folder_of(alone))


def test_a_copy_of_a_study_does_not_go_on_in_the_database_of_the_other(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    folder = folder_of(spec)
    copy = StudyFolder(folder.path.parent, "copy")
    shutil.copytree(folder.path, copy.path)
    assert orchestrate(spec, "--quiet", "name=copy", "budget.trials=4") in (0, 4, 5)
    said = refusal(capsys, 3, spec, "--quiet", "budget.trials=3")
    assert said == (
        f"the database of {VARIABLE} knows how trial 2 ended, and this folder does not: a copy of the study went on "
        "there\n  Run `orchestrate repair SPEC`: it makes it again from the files of the trials. It then has a name "
        "of its own there.\n"
    )
    assert refusal(capsys, 3, "dashboard", spec) == said
    refusal(capsys, 3, "repair", spec, "--check")
    assert orchestrate("repair", spec) == 0
    assert orchestrate(spec, "--quiet", "budget.trials=3") in (0, 4, 5)
    assert orchestrate(spec, "--quiet", "name=copy", "budget.trials=5") in (0, 4, 5)
    assert (len(folder.results()), len(copy.results())) == (3, 5)


def test_a_study_moves_to_a_server_and_back_by_repair_alone(
    spec: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(spec)
    spec.write_text(SHORT)
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    spec.write_text(ON_SERVER)
    said = refusal(capsys, 3, spec, "--quiet")
    assert said.startswith(
        "the sweep file has the database of study demo on a server (`storage`), and it is in study.db\n"
    )
    assert orchestrate("repair", spec) == 0
    assert not folder.database.exists() and folder.server()
    assert folder.database.with_name("study.db.moved").exists()
    assert orchestrate(spec, "--quiet", "budget.trials=4") in (0, 4, 5)
    spec.write_text(SHORT)
    server.stop()  # for good: the way back does not need it
    said = refusal(capsys, 3, spec, "--quiet", "budget.trials=4")
    assert said.startswith(
        "the sweep file has the database of study demo in study.db, and it is on a server (`storage`)\n"
    )
    assert orchestrate("repair", spec, "budget.trials=4") == 0
    assert folder.database.exists() and folder.server() is None
    assert orchestrate(spec, "--quiet", "budget.trials=5") in (0, 4, 5)
    assert len(folder.results()) == 5


def test_the_dashboard_shows_the_study_on_the_server_and_cannot_change_it(
    spec: Path, server: Server
) -> None:
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    folder = folder_of(spec)
    record = folder.server()
    assert record
    show = partial(dashboard_study, load_spec(spec), folder, ("demo",))
    with open_server(database_of(folder), watched_files(folder), show, 0) as dashboard:
        thread = threading.Thread(target=dashboard.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", dashboard.server_port, timeout=20)
        connection.request("GET", "/api/studies")
        listed = json.loads(connection.getresponse().read())["study_summaries"]
        connection.request("GET", f"/api/studies/{listed[0]['study_id']}")
        trials = json.loads(connection.getresponse().read())["trials"]
        dashboard.shutdown()
        thread.join()
    assert [study["study_name"] for study in listed] == [record.study] and len(trials) == 3
    with (
        open_read_only(database_of(folder)) as storage,
        storage.engine.connect() as reading,
        pytest.raises(Exception, match="read-only transaction"),
    ):
        reading.exec_driver_sql("DELETE FROM studies")


def test_address_and_password_are_nowhere(spec: Path, server: Server) -> None:
    """In no file, no log and no message, whatever happens to the server."""
    secrets = (PASSWORD, QUOTED, "127.0.0.1", str(server.port))
    said: list[str] = []
    for trials, act in ((2, server.stop), (3, server.start), (3, lambda: None)):
        run = process("--verbose", "--traceback", spec, "--quiet", f"budget.trials={trials}")
        said += run.communicate()
        act()
    assert "Connection refused" in said[3] and f"database of {VARIABLE}" in said[3]
    folder = folder_of(spec)
    held = b"".join(path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
    for secret in secrets[:2]:
        assert secret not in "".join(said) and secret.encode() not in held
    for place in secrets[2:]:
        assert f"{place}" not in "".join(said).replace("tick", "")
    command_line = Path(f"/proc/{os.getpid()}/cmdline")
    assert not command_line.exists() or PASSWORD.encode() not in command_line.read_bytes()


def test_early_stops_of_a_server_are_those_of_a_file(server: Server, tmp_path: Path) -> None:
    spec = make_spec(
        budget=Budget(trials=8),
        early_stop=EarlyStop(method="median", startup_trials=1),
        scales=(0.5,),
    )
    record = ServerRecord(url_env=VARIABLE, study="median")
    places = (tmp_path / "file", None), (tmp_path / "server", ServerDatabase(record, "s"))
    found = [searched(spec, root, database) for root, database in places]
    assert found[0] == found[1]


def searched(spec: SweepSpec, root: Path, database: ServerDatabase | None) -> list[Any]:
    from orchestrator.running.sweep_loop import run_sweep

    folder = StudyFolder(root, "s")
    with folder.lock():
        study = Study.open(database or folder.database, spec)
        try:
            run_sweep(spec, folder, FakeWorker(), study, resamples=RESAMPLES)
            return [
                (trial.number, trial.state, trial.params, trial.value) for trial in study.trials()
            ]
        finally:
            study.close()


def dump_tables(server: Server) -> None:
    """Keep a copy of Optuna's tables, as a dump does."""
    for (table,) in server.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        server.query(f"CREATE TABLE IF NOT EXISTS dump.{table} AS TABLE public.{table}")


def restore_tables(server: Server) -> None:
    """Put that copy in the place of what the tables hold; their keys refer to each other."""
    tables = [
        str(table)
        for (table,) in server.query("SELECT tablename FROM pg_tables WHERE schemaname = 'dump'")
    ]
    copies = "".join(f"INSERT INTO public.{table} TABLE dump.{table};" for table in tables)
    emptied = ", ".join(f"public.{table}" for table in tables)
    server.query(
        f"BEGIN; SET session_replication_role = replica; TRUNCATE {emptied}; {copies} COMMIT"
    )


@pytest.mark.parametrize("under_a_run", [True, False])
def test_a_server_restored_from_an_older_dump_is_noticed_and_made_again(
    spec: Path,
    server: Server,
    expected: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    under_a_run: bool,
) -> None:
    """While a sweep runs, or between two runs of it."""
    server.query("DROP SCHEMA IF EXISTS dump CASCADE")
    server.query("CREATE SCHEMA dump")
    ticks: list[int] = []

    class Worker(FakeWorker):
        def advance(self) -> tuple[Event, ...]:
            ticks.append(len(ticks))
            if len(ticks) == 2:
                dump_tables(server)
            if len(ticks) == 6 and under_a_run:
                restore_tables(server)
            if len(ticks) == 4 and not under_a_run:  # two trials end here
                os.kill(os.getpid(), signal.SIGTERM)
            return super().advance()

    def make_worker(sweep: SweepSpec, of: StudyFolder) -> FakeWorker:
        return Worker(sets=sweep.data.evaluated["domain"].path.stem)

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(spec), "--quiet"], make_worker)
    said = capsys.readouterr().err
    advice = "Run `orchestrate repair SPEC`: it makes it again from the files of the trials.\n"
    if under_a_run:
        assert ended.value.code == 3
        assert said == (
            f"the database of {VARIABLE} is not as this run left it: an older copy was put in its "
            f"place, or something else writes to it\n  Every finished trial is safe in its "
            f"result.json. {advice}"
        )
    else:
        assert ended.value.code == 75
        restore_tables(server)
        said = refusal(capsys, 3, spec, "--quiet")
        assert said == (
            f"the database of {VARIABLE} is older than the checkpoint: it does not know that trial "
            f"0 has ended\n  {advice}"
        )
    assert orchestrate("repair", spec) == 0
    assert f"made again: the database of {VARIABLE}" in capsys.readouterr().out
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    assert files(folder_of(spec)) == expected
