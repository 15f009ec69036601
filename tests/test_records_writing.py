"""The message for a full disk: it names the file that could not be written, and gives only figures
that are true.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.errors import StudyError
from orchestrator.records.writing import refused, write_aside, write_together, written_whole

FULL = OSError(errno.ENOSPC, "No space left on device")


def have_free(patch: pytest.MonkeyPatch, free: int, files: int = 10) -> None:
    """A file system with so many bytes, and names, to spare."""
    names = SimpleNamespace(f_files=50, f_favail=files)
    patch.setattr(os, "statvfs", lambda _: names)
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def first_line(error: StudyError) -> str:
    return str(error).splitlines()[0]


def test_where_the_size_is_not_known_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    have_free(monkeypatch, 4100)
    with pytest.raises(StudyError) as caught, written_whole(path) as aside:
        aside.write_bytes(b"half")
        raise FULL
    assert first_line(caught.value) == (
        f"{path} could not be written: No space left on device; it needs more than 4.1 kB, which are free"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "files", "said"),
    [
        (300, 10, "; it needs 2.0 kB, 0.3 kB are free"),
        (
            5_000_000,
            10,
            "; it needs 2.0 kB, 5.0 MB are free, so that another limit was met, such as a quota",
        ),
        (5_000_000, 0, "; the file system of {folder} takes no further file, whatever its size"),
    ],
)
def test_figures_that_do_not_explain_it_are_not_left_to_explain_it(
    free: int, files: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_free(monkeypatch, free, files)
    told = first_line(refused(tmp_path / "notes.md", FULL, 2000))
    place = f"{tmp_path / 'notes.md'} could not be written: No space left on device"
    assert told == place + said.format(folder=tmp_path)


def test_of_files_that_are_written_together_the_refused_one_is_named_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_free(monkeypatch, 1000)
    write = Path.write_bytes

    def second_refused(path: Path, data: bytes) -> int:
        if path.name.startswith("two"):
            raise FULL
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", second_refused)
    files = {tmp_path / "one": b"1" * 900, tmp_path / "two": b"2" * 600}
    with pytest.raises(StudyError) as caught:
        write_together(files, lambda: None)
    assert first_line(caught.value) == (
        f"{tmp_path / 'two'} could not be written: No space left on device; it needs 1.5 kB, 1.0 kB are free"
    )
    with pytest.raises(StudyError, match=r"two could not be written: .*; it needs 0.6 kB, 1.0 kB"):
        write_aside(tmp_path / "two", b"2" * 600)
