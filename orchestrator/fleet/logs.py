"""One log file per pack: what it was told, what came of it, and what its process printed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


class PackLogs:
    """Writes `pack-0.log` and so on into a folder, which is made at the first line if its parent
    exists. Without a folder, writes nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def place(self, index: int) -> str:
        """Return where a pack's log is, in the words of a message."""
        return (
            "the output above" if self._folder is None else str(self._folder / f"pack-{index}.log")
        )

    def write(self, index: int, text: str) -> None:
        """Append one line, with the time before it."""
        if self._folder is None or not self._folder.parent.is_dir():
            return  # a study that was moved away is not begun again by its logs
        self._folder.mkdir(exist_ok=True)
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with (self._folder / f"pack-{index}.log").open(
            "a", encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(f"{at} {' '.join(text.split())}\n")
