"""The claims of docs/security.md, as far as they can be checked in the code itself."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

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
