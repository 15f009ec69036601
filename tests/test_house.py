"""The architecture of the package: imports point in one direction only, and the upper subpackages
("rooms") can be imported without torch and optuna.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "orchestrator"
_VALUES = {"sweepfile", "errors", "checks", "set_names", "typed_words"}
_STUDY = {"records", "scoring", "planning", "corpus"} | _VALUES
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "files": set(),
    "host": set(),
    "set_names": set(),
    "files.names_aside": set(),
    "typed_words": set(),
    "files.atomic": {"errors", "files.names_aside"},
    "checks": set(),
    "refused_findings": {"checks", "errors"},
    "host.loopback": {"errors"},
    "files.file_kinds": set(),
    "files.system_files": set(),
    "host.machine": set(),
    "host.garbage_collection": set(),
    "host.child_processes": set(),
    "host.orphans": set(),
    "progress": set(),
    "host.hub_access": set(),
    "sweepfile": {"errors", "checks", "set_names", "typed_words", "host.hub_access"},
    "corpus": {
        "errors",
        "host.machine",
        "checks",
        "files.atomic",
        "files.names_aside",
        "files.file_kinds",
        "set_names",
        "typed_words",
        "progress",
        "host.hub_access",
    },
    "planning": _VALUES | {"host.machine"},
    "scoring": _VALUES,
    "records": (_STUDY - {"records"})
    | {"files.atomic", "files.names_aside", "files.file_kinds", "files.system_files"}
    | {"host.garbage_collection"},
    "verdicts": _STUDY,
    "search": (_STUDY - {"corpus"}) | {"verdicts", "host.loopback", "files.file_kinds"},
    "reporting": _STUDY
    | {"verdicts", "host.loopback", "progress", "files.atomic", "refused_findings"},
    "tuning": _STUDY
    | {
        "verdicts",
        "files.atomic",
        "host.machine",
        "progress",
        "host.hub_access",
        "refused_findings",
    },
    "fleet": _STUDY
    | {"files.atomic", "files.system_files"}
    | {"host.child_processes", "host.machine", "host.orphans"},
    "running": _STUDY
    | {
        "search",
        "tuning",
        "reporting",
        "verdicts",
        "files.atomic",
        "files.names_aside",
        "files.file_kinds",
        "files.system_files",
        "fleet",
        "host.machine",
    }
    | {"refused_findings"},
    "tracking": _STUDY | {"verdicts", "host.child_processes", "host.orphans"},
    "commands": _STUDY
    | {"tracking", "fleet", "running", "search", "tuning", "reporting", "verdicts", "host.loopback"}
    | {"host.machine", "host.garbage_collection", "refused_findings"},
    "cli": (_STUDY - {"corpus", "scoring"})
    | {"commands", "running", "search", "tuning", "reporting", "verdicts", "files.atomic"},
}
"""Room -> the rooms whose modules it may import, beside its own."""

_SOUND = {"manifest_errors", "samples", "utterance"}
OF_CORPUS: dict[str, set[str]] = {
    "manifest_errors": set(),
    "samples": set(),
    "utterance": {"manifest_errors", "samples"},
    "recordings": _SOUND,
    "line_numbers": set(),
    "channel_names": set(),
    "names_of_nobody": set(),
    "label_files": {"manifest_errors", "line_numbers", "channel_names"},
    "manifests": _SOUND
    | {"recordings", "label_files", "line_numbers", "channel_names", "names_of_nobody"},
    "cache": _SOUND | {"recordings", "manifests"},
    "sets": _SOUND | {"recordings", "manifests", "cache"},
    "importing": _SOUND
    | {"recordings", "label_files", "manifests", "channel_names", "names_of_nobody"},
}
"""The same of what `corpus` consists of."""
OF_REPORTING: dict[str, set[str]] = {
    "wording": set(),
    "rendering": set(),
    "documents": {"rendering", "wording"},
    "page": {"documents", "rendering", "wording"},
    "progress": {"rendering", "wording"},
    "tables": {"rendering", "wording"},
    "cards": {"documents", "rendering", "wording"},
    "record": {"rendering", "wording"},
}
"""The same of what `reporting` consists of."""
_VALUES_OF_RECORDS = {"results", "json_files", "writing"}
OF_RECORDS: dict[str, set[str]] = {
    "results": set(),
    "writing": set(),
    "json_files": {"results"},
    "locks": {"writing"},
    "journal": _VALUES_OF_RECORDS | {"locks"},
    "readiness": {"results"},
}
"""The same of those of `records` that others stand on."""

OWNERS = {
    "torch": ("tuning/", "corpus/recordings/audio"),
    "torchaudio": ("tuning/", "corpus/recordings/audio"),
    "transformers": ("tuning/",),
    "peft": ("tuning/",),
    "optuna": ("search/",),
    "optuna_dashboard": ("search/",),
    "bottle": ("search/",),
    "mlflow": ("tracking/",),
    "wandb": ("tracking/",),
    "tensorboard": ("tracking/",),
    "sqlalchemy": ("search/",),
    "psycopg": ("search/",),
    "ray": ("fleet/",),
    "onnxruntime": ("tuning/deploying/",),
    "moonshine_voice": ("tuning/deploying/",),
}
"""Library -> where the files lie that may import it, at their top or later."""


def imports(path: Path, package: str = "orchestrator") -> set[str]:
    """Full names of the modules of a package that a file imports anywhere."""
    return {name for name in imported_by(path) if name.split(".")[0] == package}


@cache
def imported_by(path: Path) -> set[str]:
    """Of a file, which is read once for all tests."""
    return imported(path.read_text())


def imported(source: str) -> set[str]:
    """Full names of the modules that a piece of code imports: at its top, within functions, and by
    a name in quotes.
    """
    nodes = list(ast.walk(ast.parse(source)))
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return (
        froms
        | plain
        | {name for node in nodes if isinstance(node, ast.Call) for name in by_name(node)}
    )


def by_name(call: ast.Call) -> list[str]:
    """The module of `import_module("torch")` and `__import__("torch")`."""
    function = (
        call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    )
    words = [
        each.value
        for each in call.args[:1]
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    return words if function in ("import_module", "__import__") else []


def room(name: str) -> str:
    """The room, or the module at the top, that a full name lies in; empty for the package itself."""
    own, *rest = name.split(".")[1:]
    if own.startswith("__"):
        return ""
    # each module of these two is a room of its own
    alone = own in ("files", "host") and rest and rest[0] != "__init__"
    return f"{own}.{rest[0]}" if alone else own


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_point_down_only(path: Path) -> None:
    own = room(".".join(("orchestrator", *path.relative_to(PACKAGE).with_suffix("").parts)))
    allowed = (
        BELOW.get(own, BELOW["cli"]) | {own, "cli"} if own in ("", "cli") else BELOW[own] | {own}
    )
    assert not {name for name in imports(path) if room(name) not in allowed}


@pytest.mark.parametrize(
    ("outer", "below"),
    [("corpus", OF_CORPUS), ("reporting", OF_REPORTING), ("records", OF_RECORDS)],
)
def test_imports_point_down_within_a_room(outer: str, below: dict[str, set[str]]) -> None:
    for path in (PACKAGE / outer).rglob("*.py"):
        own = path.relative_to(PACKAGE / outer).parts[0].removesuffix(".py")
        names = (name for name in imports(path) if room(name) == outer)
        others = {name.split(".")[2] for name in names} - {own}
        if own in below or outer != "records":
            assert others <= (below[own] if own != "__init__" else set()), path


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Not for their types alone, either: what two modules know of each other is one module."""
    modules = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): imports(path)
        for path in PACKAGE.rglob("*.py")
    }
    TopologicalSorter(modules).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_the_rooms_that_own_it_alone(library: str) -> None:
    files = {
        str(path.relative_to(PACKAGE)): imports(path, library) for path in PACKAGE.rglob("*.py")
    }
    rooms = {name for name, found in files.items() if found}
    assert rooms, "nobody imports it: is the name right?"
    assert {name for name in rooms if not name.startswith(OWNERS[library])} == set()


@pytest.mark.parametrize(
    "code",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch.nn import functional",
        "def late():\n    from torch import Tensor",
        "if TYPE_CHECKING:\n    import torch",
        "try:\n    import numpy, torch\nexcept ImportError:\n    pass",
        "importlib.import_module('torch')",
        "import_module('torch.nn')",
        "__import__('torch')",
    ],
)
def test_every_way_to_import_is_seen(code: str) -> None:
    assert "torch" in {name.split(".")[0] for name in imported(code)}


def test_a_word_is_no_import() -> None:
    assert imported("say('import torch')\nversion('torch')\ntorch = 1") == set()


def test_the_upper_rooms_start_without_torch_and_optuna() -> None:
    modules = (
        "scoring.judge",
        "records.store",
        "reporting.documents.report",
        "running.session",
        "cli",
    )
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(f'orchestrator.{module}')\n"
        "    print(module, sorted({'torch', 'optuna', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{module} []" for module in modules]
