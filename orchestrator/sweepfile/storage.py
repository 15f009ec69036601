"""Where the database of a study is: in the study's folder, or on a PostgreSQL server.

A sweep file names the environment variable that holds the server's address, never the address
itself: that contains a password, and the content of a sweep file is kept with the study.
"""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Annotated

from pydantic import AfterValidator

from orchestrator.sweepfile.frozen import Frozen
from orchestrator.typed_words import install_command

FORM = "postgresql://USER:PASSWORD@HOST/DATABASE"
NAMED = (
    "the name of the environment variable that holds the address, such as ORCHESTRATE_STORAGE; the "
    "address itself belongs into no file and on no command line"
)
_SCHEMES = ("postgresql://", "postgres://", "postgresql+psycopg://")


def names_variable(text: object) -> bool:
    """Whether `text` can be the name of an environment variable."""
    return isinstance(text, str) and bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text))


def _variable_name(text: str) -> str:
    if not names_variable(text):
        raise ValueError(NAMED)
    return text


class StorageSpec(Frozen):
    """The study's database on a PostgreSQL server. It is never part of the study's identity."""

    url_env: Annotated[str, AfterValidator(_variable_name)]
    """Name of the environment variable that holds the server's address."""


def storage_problems(storage: StorageSpec | None) -> list[str]:
    """Return the problems, one line each, that keep a run from using its database, as far as they
    can be found without asking the server. None of them shows the address.
    """
    if storage is None:
        return []
    name, address = storage.url_env, _held_by(storage.url_env)
    found = []
    if not address:
        found.append(f"storage.url_env: {name} is not set; export {name}={FORM}")
    elif not address.startswith(_SCHEMES):
        found.append(f"storage.url_env: what {name} holds is no address; allowed: {FORM}")
    if importlib.util.find_spec("psycopg") is None:
        found.append(f"storage: PostgreSQL needs psycopg; {install_command('postgres')}")
    return found


def server_address(name: str) -> str:
    """Return the address in the environment variable `name` in the form that libpq reads; empty
    where it is not set.
    """
    return _held_by(name).replace("postgresql+psycopg://", "postgresql://", 1)


def _held_by(name: str) -> str:
    """Return what the environment variable holds, without the white space around it: files of
    secrets often end with a line break, which libpq would take for a part of the database's name.
    """
    return os.environ.get(name, "").strip()
