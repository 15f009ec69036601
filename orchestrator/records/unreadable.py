"""How to report a study that cannot be read, among others that can."""

from __future__ import annotations

from orchestrator.errors import OrchestrateError
from orchestrator.files.atomic import system_error


def reason(error: OrchestrateError | OSError) -> str:
    """Return in one line why it cannot be read."""
    return (system_error(error) if isinstance(error, OSError) else error).summary
