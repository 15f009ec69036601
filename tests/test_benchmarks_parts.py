"""What the benchmarks time or change by name is there."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import levers
import profile_step


@pytest.mark.parametrize(("module", "path"), [part[:2] for part in profile_step.PARTS])
def test_what_is_profiled_is_there(module: str, path: str) -> None:
    assert callable(functools.reduce(getattr, path.split("."), import_module(module)))


@pytest.mark.parametrize("lever", levers.LEVERS, ids=lambda lever: str(lever.__name__))
def test_what_a_lever_changes_is_there(lever: Callable[[], list[levers.Change]]) -> None:
    for owner, name, _ in lever():
        assert hasattr(owner, name)
