"""Fixtures that any test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from ruamel.yaml import YAML

from orchestrator.sweepfile import reading


@pytest.fixture(scope="module")
def without_model_checks() -> Iterator[None]:
    """A module that asks what a worker does after its start leaves out the start-up checks of the
    model, which have tests of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.tuning.prepared.check_model", lambda *_: [])
        yield


@pytest.fixture(scope="session", autouse=True)
def local_file_system() -> Iterator[None]:
    """Studies of tests lie on a file system of this host, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.records.store.network_file_system", lambda path: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """The events of a YAML text are kept: a study is opened by many commands, which all read the
    same files, and parsing is most of it. A text that cannot be parsed is parsed again.
    """
    parse = reading._events
    events = lru_cache(64)(lambda text: tuple(YAML(typ="safe", pure=True).parse(text)))

    def remembered(text: str, *rest: Any) -> Iterator[Any]:
        if len(text) > 20_000:
            return parse(text, *rest)
        try:
            return iter(events(text))
        except Exception:
            return parse(text, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_events", remembered)
        yield
