"""The house: imports point one way, and the upper rooms start without torch and optuna."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "orchestrator"
BELOW = {
    "errors": set(),
    "atomic": set(),
    "checks": {"errors"},
    "spec": {"errors", "checks"},
    "corpus": {"errors", "checks", "atomic"},
    "planning": {"spec", "errors", "checks"},
    "scoring": {"spec", "errors", "checks"},
    "records": {"scoring", "planning", "spec", "corpus", "errors", "checks", "atomic"},
    "search": {"records", "scoring", "planning", "spec", "errors", "checks"},
    "reporting": {"records", "scoring", "planning", "spec", "corpus", "errors", "checks"},
    "tuning": {"records", "scoring", "planning", "spec", "corpus", "errors", "checks", "atomic"},
    "running": {
        "search",
        "tuning",
        "reporting",
        "records",
        "scoring",
        "planning",
        "spec",
        "corpus",
        "errors",
        "checks",
        "atomic",
    },
    "commands": {
        "running",
        "tuning",
        "reporting",
        "records",
        "scoring",
        "planning",
        "spec",
        "corpus",
        "errors",
        "checks",
    },
    "cli": {"commands", "running", "search", "tuning", "reporting", "records", "planning", "spec", "errors", "checks"},
}


def imports(path: Path, package: str = "orchestrator") -> set[str]:
    """Full names of the modules of a package that a file imports anywhere."""
    tree = ast.parse(path.read_text())
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in froms | plain if name.split(".")[0] == package}


def room(name: str) -> str:
    return name.split(".")[1].partition("_")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py").partition("_")[0]
    allowed = BELOW.get(own, BELOW["cli"]) | {own, "cli"} if own in ("", "cli") else BELOW[own] | {own}
    assert not {name for name in imports(path) if room(name) not in allowed}


@pytest.mark.parametrize("library", ["torch", "torchaudio", "transformers", "peft"])
def test_only_tuning_and_audio_name_torch(library: str) -> None:
    files = {str(path.relative_to(PACKAGE)): imports(path, library) for path in PACKAGE.rglob("*.py")}
    rooms = {name for name, found in files.items() if found}
    assert {name for name in rooms if not name.startswith("tuning/") and name != "corpus/audio.py"} == set()


@pytest.mark.parametrize("module", ["cli", "running.session", "records.store", "scoring.judge", "reporting.report"])
def test_the_upper_rooms_start_without_torch_and_optuna(module: str) -> None:
    code = f"import orchestrator.{module}, sys; print(sorted({{'torch', 'optuna', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
