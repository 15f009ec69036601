"""What made a result: versions, commit, platform. No package is imported to find its version."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("orchestrator", "torch", "transformers", "peft", "optuna")
_SOURCE = Path(__file__).resolve().parents[1]


def provenance(date: str) -> dict[str, str]:
    """Return name -> version or value; `date` is the UTC date to record.

    `commit` and `uncommitted changes` are there only when the package runs from its own git
    checkout.
    """
    packages = {name: package_version(name) for name in _PACKAGES}
    machine = f"{platform.system()} {platform.machine()}"
    return {
        "date": date,
        "python": platform.python_version(),
        "platform": machine,
        **packages,
        **_source_commit(),
    }


def package_version(package: str) -> str:
    """Return the version that is installed, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _source_commit(source: Path = _SOURCE) -> dict[str, str]:
    # A virtual environment inside someone else's repository must not lend us that repository's
    # commit.
    if _run_git(source, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit, changes = (
        _run_git(source, "rev-parse", "HEAD"),
        _run_git(source, "status", "--porcelain", "--", "."),
    )
    if commit is None or changes is None:
        return {}
    return {"commit": commit, "uncommitted changes": "yes" if changes else "no"}


def _run_git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
