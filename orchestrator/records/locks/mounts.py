"""Which kind of file system a folder lies on. On one that several hosts share, a lock of one host
may not be seen by another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_NETWORK = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs 9p afs ceph lustre gpfs beegfs glusterfs orangefs pvfs2 ocfs2 "
    "gfs2 panfs wekafs virtiofs davfs webdav ncpfs afpfs coda acfs dvs cvfs vboxsf prl_fs vmhgfs "
    "fuse macfuse osxfuse".split()
)
"""Kinds of file systems that several hosts may share. `fuse` without a further name is that of some
stores, such as Azure's blobfuse2.
"""
_LOCAL = frozenset(
    {"fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.mergerfs", "fuse.encfs", "fuse.gocryptfs"}
)
"""FUSE kinds that are made of folders of this host, such as a container's root. Any other FUSE kind
counts as shared.
"""
_TABLE = Path("/proc/self/mountinfo")

Mount = tuple[str, str]
"""(where a file system is mounted, its kind)"""


def network_file_system(path: Path) -> str | None:
    """Return the kind, such as nfs4, where `path` lies on a file system that other hosts may share;
    None where it lies on one of this host.
    """
    kind = kind_at(os.path.realpath(path), _read_mounts())
    shared = kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL)
    return kind if shared else None


def _read_mounts() -> list[Mount]:
    if _TABLE.exists():
        return read_mountinfo(_TABLE.read_text(errors="surrogateescape"))
    import psutil  # imported here: every command that reads a study imports this module

    return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]


def read_mountinfo(text: str) -> list[Mount]:
    """Parse Linux's table of mounts, see proc(5): the fifth field is the place, the first behind
    the dash the kind.
    """
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if "-" in fields[6:]:
            dash = fields.index("-", 6)
            found.append((_unescape_octal(fields[4]), fields[dash + 1]))
    return found


def _unescape_octal(field: str) -> str:
    """Decode the escapes of mountinfo, three octal digits each, as for a space in a path."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def kind_at(path: str, mounts: Iterable[Mount]) -> str:
    """Return the kind of the innermost mount above `path`; of several in one place, that of the
    last. Empty where there is none.
    """
    deepest, kind = -1, ""
    for place, found in mounts:
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= deepest:
            deepest, kind = len(place), found
    return kind
