"""The claims of docs/security.md, as far as they can be checked in the code itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.cli_project import make_project

ROOT = Path(__file__).parent.parent.parent
LOADERS = re.compile(r"^(Auto\w+)\.from_pretrained$")


@cache
def calls() -> tuple[tuple[str, ast.Call, str], ...]:
    """Every call in the product: its file, itself, and what is called as it is written."""
    return tuple(
        (path.name, node, ast.unparse(node.func))
        for path in sorted((ROOT / "orchestrator").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    )


def test_nothing_that_is_read_can_be_run() -> None:
    banned = {
        "eval",
        "exec",
        "compile",
        "torch.load",
        "os.system",
        "os.popen",
        "np.load",
        "numpy.load",
        "__import__",
    }
    found = {
        (name, called) for name, _, called in calls() if called in banned or "pickle" in called
    }
    # messages between the processes of one run, never a file
    assert found == {("message_chunks.py", "pickle.dumps"), ("message_chunks.py", "pickle.loads")}
    programs = [(name, call) for name, call, called in calls() if called.startswith("subprocess.")]
    assert [name for name, _ in programs] == ["provenance.py"]
    assert not {word.arg for _, call in programs for word in call.keywords} & {"shell"}


SPAWNING = """
import sys
from pathlib import Path
from orchestrator.fleet.processes import SpawnHosts
from orchestrator.fleet.hosts import NoRoom
from orchestrator.records.store import StudyFolder
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tracking import trackers
from orchestrator.tracking.sending import Trackers
from tests.run_fake import make_worker
if __name__ == "__main__":
    packs = ["execution.pack=2", "execution.packs=2"]
    spec = load_spec(Path(sys.argv[1]), [*packs, "tracking.mlflow={}", "tracking.wait=60"])
    folder = StudyFolder(spec.project / "studies", spec.name)
    trackers.MODULES["mlflow"] = "json"
    print(Trackers(spec, folder).finish(None))
    hosts = SpawnHosts(make_worker(spec, folder), spec, folder, make_worker, 1)
    while True:
        try:
            print(hosts.start(0).call("describe")["worker"])
            break
        except NoRoom:
            continue
"""


def test_no_module_of_the_current_folder_is_imported(tmp_path: Path) -> None:
    spec, here = make_project(tmp_path / "project"), tmp_path / "here"
    here.mkdir()
    for module in ("signal", "runpy", "struct", "multiprocessing"):
        (here / f"{module}.py").write_text(f"open('{tmp_path}/ran', 'a').write({module!r})\n")
    (tmp_path / "spawning.py").write_text(SPAWNING)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "spawning.py"), str(spec)],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.splitlines() == ["()", "fake"], done.stderr
    assert not (tmp_path / "ran").exists()


def test_whatever_is_loaded_from_a_hub_runs_no_code_of_its_own() -> None:
    loaded = [(name, call, called) for name, call, called in calls() if LOADERS.match(called)]
    assert len(loaded) >= 4
    for name, call, called in loaded:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("trust_remote_code") == "False", (name, called)
        if "Model" in called:
            assert given.get("use_safetensors") == "True", (name, called)


def test_every_test_that_the_document_names_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    sources = {
        path: (ROOT / path).read_text() for path in re.findall(r"`(tests/[\w/]+\.py)`", text)
    }
    assert len(sources) >= 6
    for name in re.findall(r"`(test_\w+)`", text):
        assert any(f"def {name}(" in source for source in sources.values()), name
