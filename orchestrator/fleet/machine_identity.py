"""What machines that compute one study must have in common (versions, data, device and evaluation),
so that the same command gives the same bits on each.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import FingerprintError, StudyError
from orchestrator.files.system_files import without_system_files
from orchestrator.records.locks.study_lock import one_at_a_time
from orchestrator.records.provenance import package_version
from orchestrator.records.readiness.reading_sets import decode_sets, set_records
from orchestrator.records.store import StudyFolder
from orchestrator.records.worker_protocol import Worker
from orchestrator.sweepfile.sweep import SweepSpec

COMPUTING = ("numpy", "torch", "torchaudio", "transformers", "peft", "soundfile")
"""Packages that numbers depend on."""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Identity:
    """What identifies a machine's results, as name -> value: some known before anything is loaded,
    some only once a worker was made.
    """

    versions: Mapping[str, str]
    contents: Mapping[str, str]
    """Set -> digest of its lines, audio and texts; empty where the sets are not compared."""
    evaluation: Mapping[str, str]
    hardware: Mapping[str, str]


def identity_of(worker: Worker, spec: SweepSpec, folder: StudyFolder) -> Identity:
    """Return the identity of the machine that runs the study. Its data are those of the study's
    sets.json, or the study would have been refused.
    """
    return Identity(
        versions(), _contents(spec, folder.project_cache), worker.evaluation, hardware(worker)
    )


def _contents(spec: SweepSpec, cache: Path) -> dict[str, str]:
    records = set_records(spec, decode_sets(spec, cache))
    return {f"data of {name}": record.content for name, record in records.items()}


def versions() -> dict[str, str]:
    """Return package -> version, without importing any. For this package it is a digest of the
    code, as two checkouts of one version may differ.
    """
    found = {name: package_version(name) for name in COMPUTING}
    return {"python": platform.python_version(), **found, "orchestrator's code": _code()}


def _code() -> str:
    total = hashlib.sha256()
    for path in without_system_files(sorted(_PACKAGE.rglob("*.py"))):
        total.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def hardware(worker: Worker) -> dict[str, str]:
    """Return what rounding depends on in the hardware; empty where the worker does not say."""
    return dict(getattr(worker, "hardware", {}))


def check_same(
    wanted: Mapping[str, str],
    found: Mapping[str, str],
    where: str = "on the machine of the study",
) -> None:
    """Raise FingerprintError naming the first value that differs, and both values. `where` says
    where the wanted values come from.
    """
    for name, value in wanted.items():
        if found.get(name) != value:
            raise FingerprintError(
                f"{name} is {found.get(name, 'missing')} there and {value} {where}"
            )


def check_same_contents(
    spec: SweepSpec, wanted: Mapping[str, str], cache: Path, waiting: Callable[[], None]
) -> None:
    """Decode the sets into `cache` and compare them with those of the study; without anything
    wanted, do nothing. Packs that begin on one machine take turns, so the sets are decoded there
    only once; `waiting` is called now and then until it is this one's turn. Raises ManifestError,
    FingerprintError.
    """
    if not wanted:
        return
    cache.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(cache, waiting):
        found = _contents(spec, cache)
    check_same(wanted, found)


def local_cache(name: str) -> StudyFolder:
    """Return where a machine that runs packs keeps what it decodes, for all studies: on its own
    disk, under TMPDIR, where nobody else can write. Raises StudyError where the folder is not this
    user's alone.
    """
    root = Path(tempfile.gettempdir()) / f"orchestrate-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise StudyError(
            f"{root} is no folder that belongs to this user alone; remove it, or set TMPDIR"
        )
    return StudyFolder(root, name)
