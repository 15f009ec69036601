"""What is installed: every dependency that is declared has one exact version, within its range."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINES = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (line.partition("==") for line in LINES)
}
GROUPS = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
DECLARED = sorted({text for group in GROUPS for text in group})


def test_the_constraints_are_exact_versions_and_no_place_of_one_machine() -> None:
    assert len(PINS) == len(LINES) > 50
    assert [
        line for line in LINES if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line)
    ] == []


@pytest.mark.parametrize("text", DECLARED)
def test_every_declared_dependency_is_pinned_within_its_range(text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_torch_and_torchaudio_are_a_pair_without_the_constraints_too() -> None:
    """A torchaudio of another patch release may not load beside a torch: 2.11.1 beside 2.11.0."""
    pair = [text for text in DECLARED if Requirement(text).name in ("torch", "torchaudio")]
    torch, torchaudio = (PINS[canonicalize_name(name)] for name in ("torch", "torchaudio"))
    assert pair == [f"torch=={torch}", f"torchaudio=={torchaudio}"] and torch == torchaudio


def test_make_install_takes_them() -> None:
    assert re.search(r"pip install .*-c constraints\.txt", (ROOT / "Makefile").read_text())


def test_the_types_are_shipped() -> None:
    assert (ROOT / "orchestrator" / "py.typed").is_file()
    assert PROJECT["tool"]["setuptools"]["package-data"]["orchestrator"][0] == "py.typed"
