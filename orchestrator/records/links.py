"""Symbolic links in a study: what is written and deleted through one lies somewhere else, and is
somebody else's.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import StudyError

_FOLDERS = ("", "trials", "confirm", "checkpoint", "requests", "owner")
"""Where everything that is written in place lies; a file further down is replaced as a whole, link
or not.
"""
_ALLOWED = ("cache",)
"""May lie on another disk: in it only files of our own names are made, and none is deleted but
those.
"""


def refuse_links(study: Path) -> None:
    """Raise StudyError where a file or folder that a run writes or deletes is a link."""
    for folder in (study / name for name in _FOLDERS):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_symlink() and path.relative_to(study).as_posix() not in _ALLOWED:
                raise StudyError(
                    f"{path} is a symbolic link, and a run would write or delete what it points to\n"
                    "  Put the file or folder itself there. The whole study may be a link, and its cache/ too."
                )
