"""Files that an operating system or a file server puts beside others by itself. They are no part of
what was written there, and nobody who sees them can keep them away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_NAMES = re.compile(
    r"\.DS_Store|\._.+|Thumbs\.db|desktop\.ini|\.(nfs|fuse_hidden)[0-9a-f]+|\.smbdelete.+",
    re.DOTALL,
)
"""What macOS keeps of a folder that was looked at, and beside a file on a disk or in an archive of
another kind; what Windows keeps; what NFS, FUSE and SMB make of a file that was removed while a
process had it open.
"""


def without_system_files(paths: Iterable[Path]) -> list[Path]:
    """Return the paths whose files nobody but a program or a person can have made, in order."""
    return [path for path in paths if not _NAMES.fullmatch(path.name)]
