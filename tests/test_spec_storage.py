"""`storage` of a sweep file: it is the name of an environment variable, never an address, and is no
part of a study's identity.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.loading import check_inputs, load_spec, resolved_yaml
from orchestrator.sweepfile.spec_changes import changed_fields
from orchestrator.sweepfile.storage import StorageSpec, server_address, storage_problems
from orchestrator.typed_words import install_command
from tests.cli_project import SWEEP, make_project

ADDRESS = "postgresql://anna:s3cret@db.example/sweeps"
NAMED = (
    "the name of the environment variable that holds the address, such as ORCHESTRATE_STORAGE; the address itself "
    "belongs into no file and on no command line"
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "demo.yaml"
    path.write_text(SWEEP + text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"storage: {{url_env: '{ADDRESS}'}}", f"storage.url_env takes {NAMED}"),
        (f"storage: {ADDRESS}", f"storage takes {{url_env: ORCHESTRATE_STORAGE}}, {NAMED}"),
        ("storage: {url_env: ''}", f"storage.url_env takes {NAMED}"),
        (f"storage: {{url: '{ADDRESS}'}}", "unknown key `url` in storage; did you mean `url_env`?"),
        (f"storage: {{address: '{ADDRESS}'}}", "unknown key `address` in storage; allowed: "),
        ("storage: {url_env: 5}", "storage.url_env cannot be `5`; allowed: text"),
        ("storage: {}", "storage lacks `url_env`"),
    ],
)
def test_an_address_in_a_sweep_file_is_refused_and_not_shown(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(written(tmp_path, text))
    assert said in str(caught.value) and f"demo.yaml:{len(SWEEP.splitlines()) + 1}:" in str(
        caught.value
    )
    assert not [part for part in ("s3cret", "anna", "db.example") if part in str(caught.value)]


def test_an_address_on_the_command_line_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="takes the name of") as caught:
        load_spec(written(tmp_path, ""), [f"storage.url_env={ADDRESS}"])
    assert "s3cret" not in str(caught.value)


def test_an_address_on_the_command_line_is_no_fault_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "storage: {url_env: STORE}")
    with pytest.raises(SpecError) as caught:
        load_spec(path, [f"storage.url_env={ADDRESS}"])
    assert str(caught.value).startswith("override storage.url_env=...: storage.url_env takes ")


def test_where_the_database_lies_is_no_part_of_a_study(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    plain, there = load_spec(path), load_spec(path, ["storage.url_env=ORCHESTRATE_STORAGE"])
    assert there.storage == StorageSpec(url_env="ORCHESTRATE_STORAGE") and plain.storage is None
    assert resolved_yaml(there) == resolved_yaml(plain) and changed_fields(plain, there) == []
    kept, wanted = (digest(each.portable.model_dump(mode="json")) for each in (plain, there))
    assert kept == wanted


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            None,
            "storage.url_env: STORE is not set; export STORE=postgresql://USER:PASSWORD@HOST/DATABASE",
        ),
        (
            "",
            "storage.url_env: STORE is not set; export STORE=postgresql://USER:PASSWORD@HOST/DATABASE",
        ),
        (
            "mysql://anna:s3cret@h/d",
            "storage.url_env: what STORE holds is no address; allowed: postgresql://USER:PASSWORD@HOST/DATABASE",
        ),
        (ADDRESS, f"storage: PostgreSQL needs psycopg; {install_command('postgres')}"),
    ],
)
def test_validate_says_what_is_missing(
    value: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = None if value == ADDRESS else object()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: installed)
    monkeypatch.delenv("STORE", raising=False)
    if value is not None:
        monkeypatch.setenv("STORE", value)
    spec = load_spec(make_project(tmp_path), ["storage.url_env=STORE"])
    with pytest.raises(SpecError) as caught:
        check_inputs(spec)
    assert str(caught.value) == said


def test_the_white_space_round_an_address_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", f" {ADDRESS}\n")
    assert server_address("STORE") == ADDRESS
    problems = storage_problems(StorageSpec(url_env="STORE"))
    assert not [problem for problem in problems if "no address" in problem]
