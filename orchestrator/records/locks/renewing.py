"""Takes away from the former owner of a study what it may still have open."""

from __future__ import annotations

from pathlib import Path

from orchestrator.files.file_kinds import other_kind
from orchestrator.records.writing import write_aside


def renew(journal: Path, database: Path) -> None:
    """Put copies in the place of these files, where there are any. What a former owner, which stood
    still in the middle of an act, writes when it goes on is then in files without a name; and SQLite,
    as it closes a database that has another file's name, leaves the write-ahead log as it is.
    """
    for path in (database, database.with_name(f"{database.name}-wal"), journal):
        if path.exists() and not other_kind(path):
            write_aside(path, path.read_bytes())
    index = database.with_name(f"{database.name}-shm")  # of the log; SQLite makes it again
    if not other_kind(index):
        index.unlink(missing_ok=True)
