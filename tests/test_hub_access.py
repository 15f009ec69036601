"""A hub that refuses, limits, fails or is somebody else: one sentence at once, with a next step.

A real server on this machine answers the hub's own client.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download

from orchestrator.errors import ManifestError, ModelError
from orchestrator.host.hub_access import hub_problem
from orchestrator.running.processor_files import copy_processor_files
from orchestrator.sweepfile.cached_model import cached_problems, unchecked_text
from orchestrator.sweepfile.sweep import ModelSpec
from tests.cli_project import make_project, orchestrate
from tests.embedded import DATA

PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>"
BAD_TOKEN = "Invalid credentials in Authorization header"
"""As huggingface_hub knows it (`hf_raise_for_status`)."""
ANSWERS = {
    "gated": (401, {"X-Error-Code": "GatedRepo"}, "open only to whom", "ask for access on that"),
    "not let in": (403, {"X-Error-Code": "GatedRepo"}, "open only to whom", "or set HF_TOKEN"),
    "expired": (401, {"X-Error-Message": BAD_TOKEN}, "refuses your access token", "log in anew"),
    "private": (401, {"X-Error-Code": "RepoNotFound"}, "not there, or is private", "hf auth login"),
    "missing": (404, {"X-Error-Code": "RepoNotFound"}, "not there, or is private", "the name"),
    "revision": (404, {"X-Error-Code": "RevisionNotFound"}, "no revision 'main'", "the revision"),
    "forbidden": (403, {}, "is forbidden (HTTP 403)", "a firewall says this too"),
    "limited": (429, {}, "HTTP 429, too many requests", "wait some minutes"),
    "broken": (500, {}, "fails (HTTP 500)", "try again later"),
    "away": (503, {}, "fails (HTTP 503)", "try again later"),
    "login page": (200, {}, "something that is not the hub", "open it in a browser"),
}


@contextmanager
def serving(
    status: int,
    headers: dict[str, str],
    certificate: Path | None = None,
    missing: str | tuple[str, ...] = "nothing",
    page: bytes = PAGE,
) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that answers everything so, but for paths that end in `missing`, and
    what it was asked.
    """
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            is_missing = self.path.endswith(missing)
            self.send_response(404 if is_missing else status)
            said = {"X-Error-Code": "EntryNotFound"} if is_missing else {}
            for key, value in {"Content-Length": str(len(page)), **headers, **said}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_GET = do_POST = do_CONNECT = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' * (certificate is not None)}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place))
    return place


def keep(cache: Path, *names: str) -> Path:
    """The shipped model's files as the cache of `x/y` keeps them."""
    place = cache / "models--x--y"
    folder = place / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    for name in names:
        (folder / name).symlink_to(DATA / "base-model" / name)
    return folder


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_the_hub_answers_is_one_sentence_for_a_model_and_a_data_set(
    answer: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.corpus.importing.hub import lines_of_dataset
    from orchestrator.corpus.importing.hub_rows import Wanted
    from orchestrator.tuning.model.hub import place_of

    status, headers, what, cure = ANSWERS[answer]
    with serving(status, headers) as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(ModelError) as model:
            place_of(ModelSpec(id="x/y"))
        assert len(asked) <= 2, "and no file six times"
        with pytest.raises(ManifestError) as data:
            lines_of_dataset(Wanted("x/y", split="train"), tmp_path / "m.jsonl")
    for said in (str(model.value), str(data.value)):
        assert what in said.partition("Next: ")[0] and cure in said.partition("Next: ")[2]
        assert "x/y" in said and len(said.splitlines()) <= 2
    assert not (tmp_path / "m.jsonl").exists()


def test_a_file_that_is_there_or_is_not_is_no_problem_of_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for status, headers in (
        (200, {"X-Repo-Commit": "0" * 40}),
        (404, {"X-Repo-Commit": "0" * 40, "X-Error-Code": "EntryNotFound"}),
    ):
        with serving(status, headers) as (address, _):
            monkeypatch.setattr(constants, "ENDPOINT", address)
            assert hub_problem("x/y", is_dataset=True) is None


HUB = {"X-Repo-Commit": "0" * 40, "ETag": '"1"'}


def test_an_adapter_of_the_hub_is_not_loaded_into_its_base_as_a_model(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers does that, and its level, token cap and windows would be the defaults."""
    from orchestrator.tuning.model.hub import PROCESSOR_CONFIGURATIONS, place_of

    with serving(200, HUB) as (address, _):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(ModelError) as caught:
            place_of(ModelSpec(id="x/y"))
    assert str(caught.value) == (
        "model 'x/y' cannot be loaded: it holds an adapter (adapter_config.json), which would be loaded into its "
        "base. Next: name the base; to transcribe with the adapter, download it (hf download x/y --local-dir DIR) and "
        "name its folder."
    )
    with serving(200, HUB, missing=("adapter_config.json", *PROCESSOR_CONFIGURATIONS)) as (
        address,
        _,
    ):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert place_of(ModelSpec(id="x/y")) == ("x/y", {"revision": "main"})


def test_the_feature_extractor_of_a_model_of_the_hub_is_there_for_its_exports(
    cache: Path, tmp_path: Path
) -> None:
    code = "from orchestrator.sweepfile.sweep import ModelSpec\n"
    code += "from orchestrator.tuning.model.hub import place_of\n"
    code += "print(place_of(ModelSpec(id='x/y')))"
    closed = tmp_path / "closed"
    closed.write_text("a file where the cache belongs")
    with serving(200, HUB, missing=("adapter_config.json", "/processor_config.json")) as (url, _):
        for place in (cache, closed):  # in which nothing can be written, but a model may be there
            said = printed(code, {"HF_ENDPOINT": url, "HF_HUB_CACHE": str(place)})
            assert said == "('x/y', {'revision': 'main'})\n"
    copy_processor_files(ModelSpec(id="x/y"), tmp_path)
    assert (tmp_path / "preprocessor_config.json").read_bytes() == PAGE
    assert not (tmp_path / "processor_config.json").exists()


@pytest.mark.parametrize("offline", ["", "1"])
def test_a_model_of_the_hub_is_heard_at_the_level_and_cap_that_lie_beside_it(
    offline: str, cache: Path
) -> None:
    kept = b'{"rms": null, "max_tokens_per_second": 9}'
    (keep(cache) / "transcription.json").write_bytes(kept)
    code = "from orchestrator.tuning.decoding.audio_files import settings_of; "
    code += "print(settings_of('x/y').model_dump_json(), settings_of('x/none').rms)"
    with serving(200, HUB, missing="none/resolve/main/transcription.json", page=kept) as (url, _):
        place = str(cache if offline else cache.parent / "empty")
        said = printed(code, {"HF_ENDPOINT": url, "HF_HUB_CACHE": place, "HF_HUB_OFFLINE": offline})
    expected = '{"rms":null,"max_tokens_per_second":9.0,"encoder_windows":"stock"}'
    assert said == f"{expected} 0.075\n"


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.tuning.model.hub import hub_file

    (tmp_path / "hub").write_text("a file where the cache belongs")
    with serving(200, HUB) as (address, _):
        page = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", page)
        monkeypatch.setattr(
            "orchestrator.tuning.model.hub.hf_hub_download",
            partial(hf_hub_download, cache_dir=tmp_path / "hub"),
        )
        said = r"transcription.json of model 'x/y' cannot be downloaded: .*Not a directory"
        with pytest.raises(ModelError, match=said):
            hub_file(ModelSpec(id="x/y"), "transcription.json")


def test_nobody_is_asked_to_convert_pickled_weights_of_the_hub(cache: Path) -> None:
    """transformers has a service do that, and loads its pull request in the place of `main`."""
    code = "from orchestrator.errors import ModelError\n"
    code += "from orchestrator.tuning.model.base_model import load_stock\n"
    code += "from orchestrator.sweepfile.sweep import ModelSpec\n"
    code += "try: load_stock(ModelSpec(id='x/y'))\nexcept ModelError as error: print(error)"
    missing = ("adapter_config.json", "model.safetensors", "model.safetensors.index.json")
    page = (DATA / "base-model" / "config.json").read_bytes()
    with serving(200, HUB, missing=missing, page=page) as (url, asked):
        said = printed(code, {"HF_ENDPOINT": url, "HF_HUB_CACHE": str(cache)})
    assert said == (
        "model 'x/y' cannot be loaded: x/y does not appear to have a file named model.safetensors or "
        "model.safetensors.index.json and thus cannot be loaded with `safetensors`. Next: check the name and the "
        "network, or download it and name the folder in place of the id.\n"
    )
    about = [path for path in asked if path.startswith("/api/models/x/y")]
    assert all("/revision/" in path for path in about), "what a conversion begins with"


def test_a_certificate_that_is_not_trusted_is_told_from_a_network_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", key, "-out", own], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + own.read_bytes())
    with serving(200, {"X-Repo-Commit": "0" * 40}, both) as (address, _):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        problem = hub_problem("x/y")
        assert problem is not None and problem.cure.endswith("export SSL_CERT_FILE=FILE.pem")
        assert problem.what.startswith(f"the certificate of {address} is not trusted (")
        code = "from orchestrator.host.hub_access import hub_problem; print(hub_problem('x/y'))"
        followed = printed(code, {"HF_ENDPOINT": address, "SSL_CERT_FILE": str(own)})
    assert followed == "None\n"


def test_a_proxy_that_refuses_is_named() -> None:
    code = "from orchestrator.host.hub_access import hub_problem; print(hub_problem('x/y'))"
    with serving(407, {}) as (proxy, _):
        said = printed(code, {"HF_ENDPOINT": "https://hub.invalid", "HTTPS_PROXY": proxy})
    assert "https://hub.invalid does not answer (407" in said
    assert "check HTTPS_PROXY, or go round it: export NO_PROXY=hub.invalid" in said


def printed(code: str, variables: dict[str, str]) -> str:
    """What a process prints that runs this code with these variables of its environment alone."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = {"PATH": path, "PYTHONPATH": ":".join(filter(None, sys.path))}
    return subprocess.run(
        ["python", "-c", code],
        env=variables | found,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_validate_says_that_a_model_of_the_hub_could_not_be_checked(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    assert orchestrate("validate", spec, "model.id=x/y") == 0
    said = capsys.readouterr().out
    assert "model.id: `x/y` is not in the cache, so neither its files nor what fits" in said
    assert "hf download x/y" in said
    keep(cache, *(path.name for path in (DATA / "base-model").iterdir()))
    roomy = "evaluation.max_tokens_per_second=40"
    assert orchestrate("validate", spec, "model.id=x/y", roomy) == 0
    assert "model.id" not in capsys.readouterr().out


def test_offline_a_model_that_is_not_in_the_cache_is_refused_with_the_command(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    spec = make_project(tmp_path)
    options = ("model.id=x/y", "model.revision=v2")
    assert orchestrate("validate", spec, *options) == 2
    said = capsys.readouterr().err
    assert f"model.id: `x/y`, in the cache at {cache}, is not there, and HF_HUB_OFFLINE" in said
    assert said.endswith("HF_HUB_OFFLINE=0 hf download x/y --revision v2\n")
    keep(cache, "config.json")
    (problem,) = cached_problems(ModelSpec(id="x/y"))
    assert "has no model.safetensors" in problem
    assert problem.endswith("HF_HUB_OFFLINE=0 hf download x/y")


def test_what_the_cache_holds_of_a_model_is_checked_as_a_folder_is(cache: Path) -> None:
    folder = keep(cache, "tokenizer.json")
    (folder / "config.json").write_text('{"model_type": "whisper"}')
    (problem,) = cached_problems(ModelSpec(id="x/y"))
    assert "has a config.json of model_type `whisper`; only Moonshine is tuned here" in problem
    (folder / "config.json").write_bytes((DATA / "base-model" / "config.json").read_bytes())
    assert cached_problems(ModelSpec(id="x/y")) == [], "the rest is downloaded"
    assert "is not in the cache" in unchecked_text(ModelSpec(id="x/y"))
    weights = (DATA / "base-model" / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:5000])
    (problem,) = cached_problems(ModelSpec(id="x/y"))
    assert "has no whole model.safetensors" in problem and "delete that folder" in problem
