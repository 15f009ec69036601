"""A study among others that cannot be read."""

from __future__ import annotations

from orchestrator.atomic import system_error
from orchestrator.errors import OrchestrateError


def reason(error: OrchestrateError | OSError) -> str:
    """Why it cannot, in a line beside those of others."""
    return (system_error(error) if isinstance(error, OSError) else error).summary
