"""A record of files that were read before: the length of audio files and the SHA-256 of their
bytes, by name, size and times; and the number of words of a set, by its texts. No torch.

It is one SQLite file for all studies of a project, so that several processes may write. It makes
things faster and is never needed: what is damaged, locked or cannot be written counts as not known.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.corpus.recordings.headers import Header
from orchestrator.files.file_kinds import make_empty

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  path BLOB PRIMARY KEY, state TEXT, frames INTEGER, rate INTEGER, sha256 TEXT, seal INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS words (
  key TEXT PRIMARY KEY, words INTEGER, seal INTEGER
) WITHOUT ROWID;
"""
_COLUMNS = "state, frames, rate, sha256, seal"
_WAIT = 5.0
"""Seconds to wait for another process that is writing."""
_AT_ONCE = 30_000
"""The number of rows up to which the whole table is read by one query: that takes a tenth of a
query for each file. In a larger table each file is asked for by itself.
"""


@dataclass(frozen=True)
class _Known:
    """What is known of one file, in the state that it had before it was read."""

    state: str
    """Size and times of the file, as `_file_state` gives them; empty where it does not exist."""
    frames: int | None = None
    rate: int | None = None
    sha256: str | None = None


class KnownFiles:
    """The record of a project's files. Without a path it is kept in memory, and lost with the
    process.

    Not safe for use by several threads at once.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._opened = path is None
        self._asked: dict[str, _Known] = {}
        self._learnt: set[str] = set()
        self._whole: dict[bytes, Sequence[Any]] | None = None
        """All rows of the table by path, once one was asked for; empty where the table is large."""
        self._is_large = False

    def header(self, audio: str) -> Header | None:
        """Return the length and rate of a file that has not changed since they were read; None
        where they are not known.
        """
        known = self._known_state(audio)
        if known.frames is None or known.rate is None:
            return None
        return Header(known.frames, known.rate)

    def sha256(self, path: str) -> str | None:
        """Return the SHA-256 of a file that has not changed since it was read; None where it is not
        known.
        """
        return self._known_state(path).sha256

    def is_unchanged(self, path: str) -> bool:
        """Whether a file still has the size and times that it had when its hash or header was asked
        for. Threads may call this at once.
        """
        return self._asked[path].state == _file_state(path)

    def learn_header(self, audio: str, header: Header) -> None:
        """Keep a header that was read after `header` was asked for it; `save` writes it. The state
        noted is that from before reading, so a file that changes meanwhile counts as unknown.
        """
        known = self._before_reading(audio)
        self._learn_state(audio, replace(known, frames=header.frames, rate=header.rate))

    def learn_sha256(self, path: str, sha256: str) -> None:
        """Keep a hash that was computed after `sha256` was asked for it; `save` writes it."""
        self._learn_state(path, replace(self._before_reading(path), sha256=sha256))

    def words(self, texts: Iterable[str], how: str, count: Callable[[], int]) -> int:
        """Return the number of words of a set, which `count` counts once for equal texts and an
        equal `how`, the name of the way of counting.
        """
        digest = hashlib.sha256(how.encode())
        for text in texts:
            digest.update(b"\n" + text.encode("utf-8", "surrogatepass"))
        key = digest.hexdigest()
        for count_of, seal in self._read_rows("SELECT words, seal FROM words WHERE key = ?", key):
            if seal == _row_seal(key, count_of):
                return int(count_of)
        counted = count()
        self._write_rows(
            "INSERT OR REPLACE INTO words VALUES (?, ?, ?)",
            [(key, counted, _row_seal(key, counted))],
        )
        return counted

    def save(self) -> None:
        """Write what was learnt since the last time, in one transaction."""
        rows = []
        for path in sorted(self._learnt):
            known = self._asked[path]
            values = (known.state, known.frames, known.rate, known.sha256)
            rows.append((os.fsencode(path), *values, _row_seal(path, *values)))
        self._write_rows("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._learnt = set()

    def close(self) -> None:
        """Write what was learnt, and close the database."""
        self.save()
        if self._database is not None:
            self._database.close()
        self._database, self._opened = None, True

    def _known_state(self, path: str) -> _Known:
        state = _file_state(path)
        known = self._asked.get(path)
        if known is None or known.state != state:
            known = self._asked[path] = self._recorded_state(path, state)
        return known

    def _before_reading(self, path: str) -> _Known:
        return self._asked.get(path) or self._known_state(path)

    def _learn_state(self, path: str, known: _Known) -> None:
        self._asked[path] = known
        if known.state:
            self._learnt.add(path)

    def _recorded_state(self, path: str, state: str) -> _Known:
        row = self._file_row(os.fsencode(path)) if state else None
        if row is None or row[0] != state or row[4] != _row_seal(path, *row[:4]):
            return _Known(state)
        return _Known(*row[:4])

    def _file_row(self, path: bytes) -> Sequence[Any] | None:
        if self._whole is None:
            rows = self._read_rows(f"SELECT path, {_COLUMNS} FROM files LIMIT ?", _AT_ONCE + 1)
            self._is_large = len(rows) > _AT_ONCE
            self._whole = {} if self._is_large else {row[0]: row[1:] for row in rows}
        if self._is_large:
            found = self._read_rows(f"SELECT {_COLUMNS} FROM files WHERE path = ?", path)
            return found[0] if found else None
        return self._whole.get(path)

    def _read_rows(self, query: str, key: str | bytes | int) -> Sequence[Sequence[Any]]:
        database = self._open_database()
        if database is None:
            return []
        try:
            return database.execute(query, (key,)).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _write_rows(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        database = self._open_database() if rows else None
        if database is None:
            return
        try:
            with database:
                database.executemany(statement, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _open_database(self) -> sqlite3.Connection | None:
        if self._opened:
            return self._database
        self._opened = True
        assert self._path is not None, "opened before"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            make_empty(self._path)
            self._database = sqlite3.connect(self._path, timeout=_WAIT)
            self._database.executescript(_SCHEMA)
        except OSError:
            self._database = None
        except sqlite3.Error as error:
            self._give_up(error)
        return self._database

    def _give_up(self, error: sqlite3.Error) -> None:
        """Stop using the database after an error, for the rest of this process. A damaged file is
        deleted, so that the next process makes it again.
        """
        if self._database is not None:
            self._database.close()
        self._database = None
        # OperationalError (locked, read-only, a full disk) says nothing against the content
        if self._path is not None and not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._path.unlink()


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's bytes. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _file_state(path: str) -> str:
    """Return what changes when a file is written, its size and times; empty where it does not
    exist.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _row_seal(*values: object) -> int:
    """The checksum of a row's values, by which a damaged row is recognised."""
    return zlib.crc32(repr(values).encode("utf-8", "surrogateescape"))
