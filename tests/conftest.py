"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
import os
import subprocess
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
from orchestrator.commands import COMMANDS
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

# Where a sweep file does not say how many packs there are, that follows from the cores; the tests
# must not depend on the machine.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude from garbage collection (`gc.freeze`) what is imported while tests are collected. It
    outlives them all, and to look through it for garbage, which code that runs out of memory does
    again and again, takes longer than most tests.
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
    """Leave out the start-up checks of the model, which have tests of their own. For modules that
    test what a worker does after its start.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.tuning.prepared_sweep.check_model", lambda *_: [])
        yield


@pytest.fixture(scope="session", autouse=True)
def local_file_system() -> Iterator[None]:
    """Let every study of the tests count as being on a local file system, wherever they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.records.store.network_file_system", lambda path: None)
        yield


@lru_cache(64)
def _events(text: str) -> tuple[Any, ...]:
    return tuple(YAML(typ="safe", pure=True).parse(text))


class _Remembering(YAML):
    """A YAML parser that remembers the events of short texts that can be parsed."""

    def parse(self, stream: Any) -> Any:
        """Return the events of one text; errors are those of the usual parser."""
        with suppress(Exception):
            if len(stream) < 20_000:
                return iter(_events(stream))
        return super().parse(stream)


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Parse each YAML text only once. Many commands of the tests open the same study and read the
    same files, and parsing is most of the time that takes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_reading, "YAML", _Remembering)
        yield


@pytest.fixture(scope="session", autouse=True)
def command_built_once() -> Iterator[None]:
    """Build the command line only once. It is built from its functions' annotations at every call,
    which takes as long as a short command; outside of tests a process calls it once.
    """
    build_once = cache(cli.build_app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "build_app", lambda names=COMMANDS: build_once(tuple(names)))
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def revisions_read_once() -> Iterator[None]:
    """Let alembic read the revisions of Optuna's tables only once. Whenever Optuna opens a
    database, alembic compiles every revision that its tables ever had, which takes longer than most
    searches of these tests; outside of tests a process opens only a few databases.
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
