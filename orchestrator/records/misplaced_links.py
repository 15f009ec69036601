"""Refuses what has the name of a study's file or folder but is not what a run would write there: a
symbolic link, behind which lies something of somebody else; a folder or a pipe in the place of a
file; a file in the place of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.file_kinds import other_kind
from orchestrator.records.json_files import not_a_file

_FOLDERS = ("", "trials", "confirm", "checkpoint", "requests", "owner", "logs", "tracking")
"""The folders, from the study's, in which files are written in place, or lines are added to them. A
file further down is replaced as a whole, link or not, so it needs no check.
"""
_ALLOWED = ("cache",)
"""May be a link, to lie on another disk: only files of our own names are made in it, and none but
those are deleted.
"""
_FOLDER = re.compile(r"trials|confirm|checkpoint|requests|owner|cache|logs|tracking|.+/[0-9]+")
"""Paths within the study at which a folder belongs."""
_FILE = re.compile(r"(?!checkpoint/).+\.(jsonl?|yaml|md|html|db|lock|log)(-wal|-shm|-journal)?")
"""Paths within the study at which a file belongs. Checkpoints are left out: one that is no file
counts as damaged, and the one before it is used.
"""


def refuse_misplaced(study: Path) -> None:
    """Raise StudyError where a file or folder that a run writes or deletes is a link, or where one
    of the two has a name of the other.
    """
    for path in _paths_in(study):
        name = path.relative_to(study).as_posix()
        if path.is_symlink() and name not in _ALLOWED:
            raise link_error(path)
        if _FOLDER.fullmatch(name):
            if not path.is_dir():
                raise StudyError(
                    f"{path} is no folder, and one belongs there\n"
                    "  Move it away, then run the same command again."
                )
        elif _FILE.fullmatch(name) and (kind := other_kind(path)):
            raise not_a_file(path, kind)


def link_error(path: Path) -> StudyError:
    """The error of a link in the place of a file or folder of a study."""
    return StudyError(
        f"{path} is a symbolic link, and a run would write or delete what it points to\n"
        "  Put the file or folder itself there. The whole study may be a link, and its cache/ too."
    )


def _paths_in(study: Path) -> Iterator[Path]:
    """Yield what lies directly in each of `_FOLDERS`."""
    for folder in (study / name for name in _FOLDERS):
        yield from sorted(folder.iterdir()) if folder.is_dir() else ()
