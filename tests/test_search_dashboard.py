"""The dashboard over real HTTP: it shows a copy, to this machine only, and changes nothing."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

import pytest
from optuna.trial import FrozenTrial

from orchestrator.errors import StudyError
from orchestrator.search.dashboard import open_server
from orchestrator.search.dashboard_copy import copy_of
from orchestrator.search.dashboard_study import Attachment, DashboardStudy, DashboardTrial
from orchestrator.search.storage import Database, open_read_only, storage_errors
from orchestrator.search.study import Study
from tests.screenshots import served
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
    with open_at(database) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


REPORT = Attachment("report.html", "text/html", lambda: b"<p>report</p>")
GONE = Attachment("clip.mp3", "audio/mpeg", lambda: Path("/nowhere/clip.wav").read_bytes())


def shown() -> DashboardStudy:
    """What stands in no database."""
    trial = DashboardTrial(
        "**kept**", {"domain WER, %": 42.0, "keeps the guardrails": "yes"}, (-0.3,), True, (GONE,)
    )
    curve = {"data": [{"x": [1], "y": [2]}], "layout": {"title": {"text": "curve"}}}
    return DashboardStudy(
        "domain WER, %", "# Verdict", 0, {"untuned": 60.0}, {"steps": curve}, (REPORT,), {0: trial}
    )


def open_at(database: Path, port: int = 0) -> WSGIServer:
    """The server of the database."""
    return open_server(database, [database.with_name("journal.jsonl")], shown, port)


def request(port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
    answer = answered(port, method, path, **headers)
    return answer.status, answer.read().decode()


def answered(port: int, method: str, path: str, **headers: str) -> http.client.HTTPResponse:
    """The answer, unread."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def detail(port: int) -> dict[str, Any]:
    """All that the page asks of the one study."""
    found: dict[str, Any] = json.loads(request(port, "GET", "/api/studies/0")[1])
    return found


def test_it_shows_the_study(port: int) -> None:
    assert request(port, "GET", "/dashboard")[0] == 200
    status, body = request(port, "GET", "/api/studies")
    [study] = json.loads(body)["study_summaries"]
    assert status == 200 and study["study_name"] == "small"
    trials = detail(port)["trials"]
    assert [(trial["state"], trial.get("values")) for trial in trials] == [
        ("Complete", [42.0]),
        ("Running", None),
    ]
    assert request(port, "GET", "/api/studies", Host=f"localhost:{port}")[0] == 200


def test_names_notes_limits_curves_and_files_are_there(port: int) -> None:
    study = detail(port)
    assert study["objective_names"] == ["domain WER, %"]
    assert study["user_attrs"] == [{"key": "untuned", "value": "60.0"}]
    [curve] = study["plotly_graph_objects"]
    assert curve["id"] == "steps" and json.loads(curve["graph_object"])["data"][0]["y"] == [2]
    [report] = study["artifacts"]
    link = f"[report.html](/artifacts/0/{report['artifact_id']})"
    assert study["note"]["body"] == (
        f"# Verdict\n- [Trial 0](/dashboard/studies/0/trials?numbers=0) in this dashboard\n- {link}"
    )
    ended, running = study["trials"]
    assert ended["note"]["body"] == "**kept**" and running["note"]["body"] == ""
    assert ended["constraints"] == [-0.3]
    # of what the search keeps for itself nothing is left
    assert {each["key"] for each in ended["user_attrs"]} == {
        "domain WER, %",
        "keeps the guardrails",
    }


def test_a_file_is_sent_to_no_page_of_another_origin(port: int) -> None:
    [report] = detail(port)["artifacts"]
    answer = answered(port, "GET", f"/artifacts/0/{report['artifact_id']}")
    assert (answer.status, answer.read()) == (200, b"<p>report</p>")
    assert answer.getheader("Content-Type") == "text/html"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    # a script of the page cannot act as the dashboard
    assert answer.getheader("Content-Security-Policy") == "sandbox allow-scripts"


def test_a_file_that_is_gone_is_said(port: int) -> None:
    [clip] = detail(port)["trials"][0]["artifacts"]
    status, body = request(port, "GET", f"/artifacts/0/0/{clip['artifact_id']}")
    assert status == 404 and "/nowhere/clip.wav" in body
    assert request(port, "GET", f"/artifacts/0/0/{clip['artifact_id'][:-1]}0")[0] == 404


def test_a_page_that_is_open_follows_the_study(tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study.db", make_spec("random", MIXED))
    study.ask()
    study.commit()
    with served(open_at(tmp_path / "study.db")) as address:
        port = int(address.rpartition(":")[2].rstrip("/"))
        assert len(detail(port)["trials"]) == 1
        study.ask()
        study.commit()
        assert len(detail(port)["trials"]) == 2
    study.close()


def test_a_page_that_is_open_makes_no_database_where_it_was_moved_away(tmp_path: Path) -> None:
    """As is advised before it is made again."""
    database = tmp_path / "study.db"
    Study.open(database, make_spec("random", MIXED)).close()
    with served(open_at(database)) as address:
        port = int(address.rpartition(":")[2].rstrip("/"))
        database.rename(tmp_path / "away.db")
        status, body = request(port, "GET", "/api/studies/0")
        assert status == 500 and f"there is no study at {database}" in body
        assert [path.name for path in tmp_path.iterdir()] == ["away.db"]
        with (
            pytest.raises(StudyError),
            storage_errors(database, ""),
            open_read_only(database) as held,
        ):
            held.get_all_studies()
        assert not database.exists()
        (tmp_path / "away.db").rename(database)
        assert request(port, "GET", "/api/studies/0")[0] == 200


@pytest.mark.parametrize("feasible", [True, False])
def test_what_breaks_a_guardrail_is_not_the_best(tmp_path: Path, feasible: bool) -> None:
    study = Study.open(tmp_path / "study.db", make_spec("gp"))
    asked = [study.ask() for _ in range(2)]
    results = [
        make_result(0, asked[0].params if asked[0] else {}, 30.0, feasible=feasible),
        make_result(1, asked[1].params if asked[1] else {}, 40.0),
    ]
    for result in results:
        study.tell(result.number, result)
    study.commit()
    study.close()
    trials = {r.number: DashboardTrial(r.reason, feasible=r.feasible) for r in results}
    shown = DashboardStudy("domain WER, %", "", None, trials=trials)
    with open_read_only(tmp_path / "study.db") as held:
        copy, _ = copy_of(held, shown, tmp_path / "study.db")
    assert copy.get_best_trial(0).number == (0 if feasible else 1)
    assert [trial.params for trial in copy.get_all_trials(0)] == [r.params for r in results]


def test_trials_that_are_not_those_of_the_files_are_not_shown(database: Path) -> None:
    def check(checked: Database, held: Collection[FrozenTrial]) -> None:
        raise StudyError(f"{checked} has {len(held)} trials")

    other = DashboardStudy("domain WER, %", "", None, check=check)
    with (
        open_read_only(database) as held,
        pytest.raises(StudyError, match=r"study\.db has 2 trials"),
    ):
        copy_of(held, other, database)


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
        ("DELETE", "/api/studies/0"),
        ("POST", "/api/studies"),
        ("POST", "/api/trials/2/tell"),
        ("PUT", "/api/studies/0/note"),
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
        open_read_only(database) as storage,
        storage.engine.connect() as connection,
        pytest.raises(Exception, match="readonly database"),
    ):
        connection.exec_driver_sql("DELETE FROM studies")


def test_it_listens_on_loopback_only_and_names_a_taken_port(database: Path, port: int) -> None:
    with open_at(database) as server:
        assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(StudyError) as caught:
        open_at(database, port)
    assert (
        str(caught.value)
        == f"port {port} cannot be used: Address already in use\n  Choose another with --port."
    )


def test_no_study_yet(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        open_at(tmp_path / "study.db")
    assert (
        str(caught.value)
        == f"there is no study at {tmp_path}/study.db yet\n  Start the sweep first."
    )
    assert not list(tmp_path.iterdir())
