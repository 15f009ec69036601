"""The dashboard over real HTTP: it shows, to this machine only, and changes nothing."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import StudyError
from orchestrator.search.dashboard import _read_only, open_server
from orchestrator.search.study import Study
from tests.search_helpers import MIXED, fast_folder, make_result, make_spec


@pytest.fixture(name="database", scope="module")
def _database() -> Iterator[Path]:
    with fast_folder() as folder:
        path = folder / "study.db"
        study = Study.open(path, make_spec("random", MIXED))
        asked = study.ask()
        assert asked
        study.tell(0, make_result(0, asked.params, 42.0))
        study.ask()
        study.commit()
        yield path  # the study stays open: a sweep may be running
        study.close()


@pytest.fixture(name="port", scope="module")
def _port(database: Path) -> Iterator[int]:
    with open_server(database, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def request(port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_it_shows_the_study(port: int) -> None:
    assert request(port, "GET", "/dashboard")[0] == 200
    status, body = request(port, "GET", "/api/studies")
    [study] = json.loads(body)["study_summaries"]
    assert status == 200 and study["study_name"] == "small"
    trials = json.loads(request(port, "GET", f"/api/studies/{study['study_id']}")[1])["trials"]
    assert [(trial["state"], trial.get("values")) for trial in trials] == [
        ("Complete", [42.0]),
        ("Running", None),
    ]
    assert request(port, "GET", "/api/studies", Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost:1", "127.0.0.1.evil", ""]
)
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    status, body = request(port, "GET", "/api/studies", Host=host)
    assert (status, body) == (
        403,
        f"Open http://127.0.0.1:{port}/ at the machine that runs the dashboard.\n",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/studies/1"),
        ("POST", "/api/studies"),
        ("POST", "/api/trials/2/tell"),
        ("PUT", "/api/studies/1/note"),
        ("PATCH", "/"),
        ("OPTIONS", "/"),
        ("get", "/"),
    ],
)
def test_nothing_can_be_changed(port: int, database: Path, method: str, path: str) -> None:
    before = list(sqlite3.connect(database).iterdump())
    status, body = request(port, method, path)
    assert (status, body) == (
        403,
        "This dashboard only shows the study. Changes are made by the sweep.\n",
    )
    assert list(sqlite3.connect(database).iterdump()) == before


def test_even_past_the_guard_the_database_refuses_to_change(database: Path) -> None:
    with (
        _read_only(database).engine.connect() as connection,
        pytest.raises(Exception, match="readonly database"),
    ):
        connection.exec_driver_sql("DELETE FROM studies")


def test_it_listens_on_loopback_only_and_names_a_taken_port(database: Path, port: int) -> None:
    with open_server(database, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(StudyError) as caught:
        open_server(database, port)
    assert (
        str(caught.value)
        == f"port {port} cannot be used: Address already in use\n  Choose another with --port."
    )


def test_no_study_yet(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        open_server(tmp_path / "study.db", 0)
    assert (
        str(caught.value)
        == f"there is no study at {tmp_path}/study.db yet\n  Start the sweep first."
    )
    assert not list(tmp_path.iterdir())
