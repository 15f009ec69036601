"""A PostgreSQL server that the tests start for themselves. `python -m tests.postgres` installs the
programs where there are none.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD, DATABASE = "anna", "s3cret/p@ss%", "sweeps"
QUOTED = "s3cret%2Fp%40ss%25"
"""PASSWORD as an address has it."""


def programs() -> Path | None:
    """Return the folder of initdb and pg_ctl; None where PostgreSQL is not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class Server:
    """A database cluster in a temporary folder, served on a free port of this machine. Its user is
    `anna`, with a password whose characters must be quoted in an address.
    """

    def __init__(self, folder: Path) -> None:
        """Initialise the cluster; `start` runs its server."""
        found = programs()
        assert found, "PostgreSQL is not installed: python -m tests.postgres"
        self._programs = found
        self._data = folder / "data"
        self.port = _free_port()
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:  # initdb refuses root
            entry = pwd.getpwnam("postgres")
            for path in (folder, folder / "password"):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        self._run(
            "initdb", "-D", self._data, "-U", USER, "-A", "scram-sha-256",
            "--pwfile", folder / "password", "--no-sync",
        )  # fmt: skip
        with open(self._data / "postgresql.conf", "a") as file:
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = off\n")
            file.write("unix_socket_directories = ''\n")

    @property
    def address(self) -> str:
        """The address of the database, password included, as psycopg and people write it."""
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "-D", self._data, "-l", self._data / "log", "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; `immediate` is as if its machine lost power."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    @property
    def runs(self) -> bool:
        """Whether the server was started and not stopped."""
        return (self._data / "postmaster.pid").exists()

    def query(self, statement: str, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run one statement and return its rows."""
        import psycopg

        address = self.address.replace(f"/{DATABASE}", f"/{database}")
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # output goes to a file: the server inherits it from pg_ctl and keeps it open, so a pipe
        # would never come to its end
        with open(self._data.parent / f"{program}.out", "w+") as out:
            code = subprocess.run(command, cwd="/", stdout=out, stderr=out).returncode
            out.seek(0)
            assert code == 0, out.read()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_server() -> Iterator[Server]:
    """Run a server that has its database while the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Server(folder)
    server.start()
    try:
        server.query(f"CREATE DATABASE {DATABASE}", "postgres")
        yield server
    finally:
        if server.runs:
            server.stop()
        shutil.rmtree(folder)


def install() -> int:
    """Install PostgreSQL by apt; returns an exit code."""
    if programs():
        return 0
    if not shutil.which("apt-get"):
        print("install PostgreSQL: initdb and pg_ctl are needed", file=sys.stderr)
        return 1
    update = subprocess.run(["apt-get", "update", "-qq"]).returncode
    return update or subprocess.run(["apt-get", "install", "-y", "-qq", "postgresql"]).returncode


if __name__ == "__main__":
    raise SystemExit(install())
