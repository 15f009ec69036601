"""Writing a study's files: whole or not at all, with a message that says what is safe."""

from __future__ import annotations

from pathlib import Path

from orchestrator.atomic import new_file
from orchestrator.errors import StudyError


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `atomic.new_file` does. Raises StudyError when the disk refuses."""
    try:
        with new_file(path) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise StudyError(
            f"{path} could not be written: {error.strerror}\n"
            "  What was written before is safe. Make room or fix the permissions, then run the same command again."
        ) from error
