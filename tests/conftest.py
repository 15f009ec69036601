"""Fixtures that any test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.checks import Finding
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.selfcheck.checks import check_model


@pytest.fixture(scope="module")
def checked_once() -> Iterator[None]:
    """A module that starts many workers for one sweep runs the start-up checks of the model once.

    They take most of a start. What they find is remembered by all that the sweep file says.
    """
    found: dict[str, list[Finding]] = {}

    def remembered(base: BaseModel, spec: SweepSpec, *rest: Any) -> list[Finding]:
        key = spec.model_dump_json()
        if key not in found:
            found[key] = check_model(base, spec, *rest)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.tuning.prepared.check_model", remembered)
        yield


@pytest.fixture(scope="session", autouse=True)
def local_file_system() -> Iterator[None]:
    """Studies of tests lie on a file system of this host, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.records.store.network_file_system", lambda path: None)
        yield
