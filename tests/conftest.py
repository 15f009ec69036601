"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

import pytest
import typer.main
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings
from ruamel.yaml import YAML

from orchestrator import cli
from orchestrator.sweepfile import yaml_reading

# The same examples every time, and none of them fails because the machine is busy.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


# Tests start many processes. Where the environment forbids to keep what was compiled, each of them
# would compile this package anew, which doubles the time that most of them take.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How many packs a sweep has where its file says nothing follows from the cores, and the tests are of one machine.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported for the tests outlives them all: looking through it for garbage, which what
    runs out of memory does again and again, takes longer than most tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="module")
def without_model_checks() -> Iterator[None]:
    """A module that asks what a worker does after its start leaves out the start-up checks of the
    model, which have tests of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.tuning.prepared_sweep.check_model", lambda *_: [])
        yield


@pytest.fixture(scope="session", autouse=True)
def local_file_system() -> Iterator[None]:
    """Studies of tests lie on a file system of this host, wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.records.store.network_file_system", lambda path: None)
        yield


@lru_cache(64)
def _events(text: str) -> tuple[Any, ...]:
    return tuple(YAML(typ="safe", pure=True).parse(text))


class _Remembering(YAML):
    """Keeps the events of texts that can be parsed."""

    def parse(self, stream: Any) -> Any:
        """The events of one text."""
        with suppress(Exception):
            if len(stream) < 20_000:
                return iter(_events(stream))
        return super().parse(stream)


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """A study is opened by many commands, which all read the same files, and parsing them is most
    of reading them: it is done once for each text.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_reading, "YAML", _Remembering)
        yield


@pytest.fixture(scope="session", autouse=True)
def command_built_once() -> Iterator[None]:
    """The command line is built of its annotations whenever it is called, which takes as long as a
    short command; a process of its own calls it once.
    """
    build_once = cache(cli.build_app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "build_app", lambda names=cli.COMMANDS: build_once(tuple(names)))
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def revisions_read_once() -> Iterator[None]:
    """Whenever Optuna opens a database, alembic compiles every revision that its tables ever had,
    which takes longer than most searches of these tests; a process of its own opens a few.
    """
    read = ScriptDirectory.from_config

    known: dict[str | None, ScriptDirectory] = {}

    def once(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in known:
            known[location] = read(config)
        return known[location]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", once)
        yield
