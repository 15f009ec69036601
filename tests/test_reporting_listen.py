"""The player over real HTTP: the page of the study, every trial, the recordings; to this machine only."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.corpus.utterance import Utterance
from orchestrator.host.loopback import guarded, guarded_server
from orchestrator.records.content_digests import stored_spec
from orchestrator.reporting.page.listen import asked_range
from orchestrator.reporting.page.sound import original_sound, packed_mp3
from orchestrator.reporting.page.utterances import utterance_sets
from orchestrator.verdicts.concluding import conclude
from tests.page_study import SWEEP_TEXT, folder_of, make_study, played


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(
        tmp_path_factory.mktemp("project"), SWEEP_TEXT.replace("trials: 5", "trials: 2")
    )


@pytest.fixture(name="port", scope="module")
def _port(sweep: Path) -> Iterator[int]:
    with played(sweep) as (host, port):
        assert host == "127.0.0.1"
        yield port


def test_no_name_server_is_asked_for_the_name_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that does not answer would be waited for."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked"))
    with guarded_server(lambda *_: [], 0, "player") as server:
        assert server.server_name == "127.0.0.1" and server.server_port > 0
        assert server.base_environ["SERVER_PORT"] == str(server.server_port)


def request(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def asked(port: int, path: str) -> Any:
    status, _, body = request(port, path)
    assert status == 200, body
    return json.loads(body)


def test_the_page_asks_for_what_it_shows(port: int) -> None:
    status, headers, body = request(port, "/")
    assert status == 200 and b'"live":true' in body and b'"clips"' not in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "media-src 'self'" in policy and "unsafe" not in policy
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_every_model_of_every_set_is_there(port: int, sweep: Path) -> None:
    folder = folder_of(sweep)
    spec = stored_spec(folder, sweep.parents[1])
    for each in utterance_sets(spec, folder, conclude(spec, folder)):
        described = asked(port, f"/sets/{each.name}")
        assert described["ids"] == list(each.measured.utterance_ids) and all(described["playable"])
        assert [model["key"] for model in described["models"]] == [m.key for m in each.models]
        before = asked(port, f"/sets/{each.name}/heard/baseline")["rows"]
        for model in each.models:
            part = asked(port, f"/sets/{each.name}/heard/{model.key}")["rows"]
            letters = [(row or before[place])[1] for place, row in enumerate(part)]
            errors = tuple(len(own) - own.count("=") for own in letters)
            assert errors == each.errors(model.key)


def test_what_hides_or_turns_text_is_shown_as_a_mark(port: int) -> None:
    written = asked(port, "/sets/domain")["written"]
    assert written[3].startswith("red \ufffd[31m alert and \ufffd turned")
    for end in ("", "/heard/baseline"):
        texts = json.dumps(asked(port, f"/sets/domain{end}"), ensure_ascii=False)
        assert "\\u001b" not in texts and "\u202e" not in texts


def test_a_recording_is_sent_as_it_lies_on_disk(port: int, sweep: Path) -> None:
    status, headers, body = request(port, "/sets/domain/audio/3")
    assert (status, headers["Content-Type"]) == (200, "audio/wav")
    file = sweep.parents[1] / "data" / "domain-3.wav"
    assert hashlib.sha256(body).digest() == hashlib.sha256(file.read_bytes()).digest()
    assert soundfile.info(io.BytesIO(body)).duration == 1.5
    status, headers, part = request(port, "/sets/domain/audio/3", Range="bytes=100-199")
    assert status == 206 and part == body[100:200]
    assert headers["Content-Range"] == f"bytes 100-199/{len(body)}"
    status, headers, nothing = request(port, "/sets/domain/audio/3", "HEAD")
    assert (status, nothing, headers["Content-Length"]) == (200, b"", str(len(body)))


def test_a_segment_of_a_longer_file_is_sent_alone(sweep: Path) -> None:
    file = sweep.parents[1] / "data" / "domain-3.wav"
    found = original_sound(Utterance(id="a", text="b", audio=file, offset=0.5, duration=0.25))
    assert found.kind == "audio/wav" and isinstance(found.data, bytes)
    samples, rate = soundfile.read(io.BytesIO(found.data))
    whole, _ = soundfile.read(file)
    assert rate == 16000 and samples == pytest.approx(whole[8000:12000], abs=1e-4)


@pytest.mark.parametrize("coding", ["GSM610", "IMA_ADPCM", "DOUBLE"])
def test_a_coding_that_browsers_do_not_play_is_sent_as_samples(tmp_path: Path, coding: str) -> None:
    """Recordings of telephones were sent as they are, and were silent."""
    utterance = clip(tmp_path / "a.wav", 8000, coding)
    found = original_sound(utterance)
    assert isinstance(found.data, bytes)
    assert soundfile.info(io.BytesIO(found.data)).subtype == "PCM_16"
    expected, _ = soundfile.read(tmp_path / "a.wav")
    assert soundfile.read(io.BytesIO(found.data))[0] == pytest.approx(expected, abs=1e-4)
    assert original_sound(clip(tmp_path / "b.wav", 8000, "ULAW")).data == tmp_path / "b.wav"


@pytest.mark.parametrize(("rate", "packed"), [(96_000, 16_000), (44_100, 44_100), (18_900, 16_000)])
def test_clips_of_a_page_have_a_rate_of_mp3(tmp_path: Path, rate: int, packed: int) -> None:
    """Of other rates the page had no sound, without a word."""
    sound = soundfile.info(io.BytesIO(packed_mp3(clip(tmp_path / "a.wav", rate, "PCM_24"))))
    assert (sound.samplerate, sound.duration) == (packed, pytest.approx(1, abs=0.1))


def clip(path: Path, rate: int, coding: str) -> Utterance:
    """One second of a tone."""
    soundfile.write(path, np.sin(np.arange(rate) * 2000 / rate) / 3, rate, subtype=coding)
    return Utterance(id="a", text="b", audio=path, duration=soundfile.info(path).duration)


@pytest.mark.parametrize(
    "path",
    [
        "/sets/train",
        "/sets/train/audio/0",
        "/sets/domain/audio/12",
        "/sets/domain/audio/-1",
        "/sets/domain/audio/..%2f..%2fsweeps%2fdemo.yaml",
        "/sets/../spec.yaml",
        "/sets/domain/heard/99",
        "/spec.yaml",
        "/sets",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_sent(port: int, path: str) -> None:
    status, _, body = request(port, path)
    assert (status, body) == (404, b"There is no such thing here.\n")


@pytest.mark.parametrize(
    ("port", "host", "status"),
    [
        (80, "127.0.0.1", "200 OK"),
        (80, "localhost", "200 OK"),
        (80, "localhost:80", "200 OK"),
        (80, "evil.example", "403 Forbidden"),
        (8080, "127.0.0.1", "403 Forbidden"),
    ],
)
def test_a_host_without_a_port_means_port_80(port: int, host: str, status: str) -> None:
    found: list[str] = []

    def application(environ: Any, respond: Any) -> list[bytes]:
        respond("200 OK", [])
        return []

    request = {"HTTP_HOST": host, "REQUEST_METHOD": "GET"}
    guarded(application, port, "player")(request, lambda status, headers: found.append(status))
    assert found == [status]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil", ""])
def test_a_foreign_host_is_refused(port: int, host: str) -> None:
    status, _, body = request(port, "/", Host=host)
    address = f"http://127.0.0.1:{port}/"
    assert (status, body.decode()) == (
        403,
        f"Open {address} at the machine that runs the player.\n",
    )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    status, _, body = request(port, "/", method)
    said = b"This player only shows the study. Changes are made by the sweep.\n"
    assert (status, body) == (403, said)


@given(st.text(max_size=20) | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True))
def test_a_range_lies_within_the_file(header: str) -> None:
    start, end = asked_range(header, 100)
    assert 0 <= start < end <= 100


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", (0, 100)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-999", (10, 100)),
        ("bytes=100-", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("", (0, 100)),
    ],
)
def test_a_range_is_what_was_asked_for(header: str, expected: tuple[int, int]) -> None:
    assert asked_range(header, 100) == expected
