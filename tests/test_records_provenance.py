"""Provenance: true versions, the commit only of our own checkout, nothing imported."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from orchestrator.records.provenance import _source_commit, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_it_names_versions_platform_and_date() -> None:
    found = provenance("2026-05-01")
    assert found["date"] == "2026-05-01" and found["python"] == platform.python_version()
    assert found["platform"] == f"{platform.system()} {platform.machine()}"
    for package in ("torch", "transformers", "peft", "optuna"):
        assert found[package] == version(package)
    assert "orchestrator" in found and all(isinstance(value, str) for value in found.values())


def test_the_commit_is_that_of_the_checkout_with_its_changes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    source = tmp_path / "package"
    source.mkdir()
    (source / "__init__.py").write_text("")
    assert _source_commit(source) == {}, (
        "not tracked: someone else's repository around an installed package"
    )
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert _source_commit(source) == {"commit": commit, "uncommitted changes": "no"}
    (source / "__init__.py").write_text("changed")
    assert _source_commit(source) == {"commit": commit, "uncommitted changes": "yes"}


def test_no_repository(tmp_path: Path) -> None:
    assert _source_commit(tmp_path) == {} and _source_commit(tmp_path / "missing") == {}


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, orchestrator.records.provenance as p, orchestrator.records.store; p.provenance('')\n"
        "sys.exit(bool({'torch', 'optuna', 'transformers', 'peft'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
