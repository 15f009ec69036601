"""Checks that the optional packages which a form or a launcher needs are installed, without
importing any of them.
"""

from __future__ import annotations

from importlib.util import find_spec

from orchestrator.errors import SpecError
from orchestrator.sweepfile.execution import Execution
from orchestrator.typed_words import install_command

NEEDED = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "moonshine": ("onnx", "onnxruntime", "onnxscript", "moonshine_voice"),
}
"""Form -> the modules that are needed to write it and to transcribe with it."""


def check_installed(form: str, why: str) -> None:
    """Raise SpecError, in one line, where a package of the `deploy` extra that the form needs is
    missing. `why` is what asks for it, in words.
    """
    missing = [name.replace("_", "-") for name in NEEDED.get(form, ()) if find_spec(name) is None]
    if missing:
        raise SpecError(f"{why} needs {' and '.join(missing)}: {install_command('deploy')}")


def check_can_launch(execution: Execution) -> None:
    """Raise SpecError, in one line, where the sweep's launcher needs a package that is not
    installed.
    """
    if execution.launcher == "ray" and find_spec("ray") is None:
        raise SpecError(f"execution.launcher: ray needs ray: {install_command('ray')}")
