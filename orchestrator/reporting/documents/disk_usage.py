"""The output of `orchestrate clean`: how much disk space studies take."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from orchestrator.records.disk_usage import Usage
from orchestrator.reporting.rendering.report_blocks import Block, Document, Paragraph, Table


def build(found: Sequence[Usage], removed: bool, words: Sequence[str] = ()) -> Document:
    """Build a table with a row for each study and one for what they share. `removed`: what was not
    needed has been removed; `words` name on the command line what was looked at.
    """
    total, word = sum(usage.free for usage in found), "removed" if removed else "not needed"
    rows = tuple(
        (
            usage.study,
            *map(size, (usage.cache, usage.checkpoint, usage.rest, usage.free)),
            usage.kept,
        )
        for usage in found
    )
    blocks: list[Block] = [
        Table(("study", "cache", "checkpoints", "the rest", word, "kept because"), rows)
    ]
    if total and not removed:
        command = shlex.join(("orchestrate", "clean", *words, "--yes"))
        blocks.append(
            Paragraph(f"`{command}` removes it; the same command as before makes a cache again.")
        )
    return Document("Disk space of studies", f"{size(total)} {word}", tuple(blocks))


def size(count: int) -> str:
    """Put a number of bytes in words, in MB."""
    return f"{count / 1e6:,.1f} MB"
