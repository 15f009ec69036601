"""The output of `orchestrate status` without a study: all studies of a project in one table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents.disk_usage import size
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Document,
    Paragraph,
    Table,
)
from orchestrator.reporting.wording import delta_text, duration_text, ended_text, rate_heading
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

_COLUMNS = (
    "study",
    "state",
    "trials",
    "verdict",
    "best trial",
    "objective % (change)",
    "held-out % (change)",
    "time of the search",
)

StudyRow = tuple[str, ...]
"""The cells of a study's row, in the order of `_COLUMNS`."""


def study_row(
    spec: SweepSpec, folder: StudyFolder, conclusion: Conclusion, done: bool, running: str
) -> StudyRow:
    """Make the row of a study. `running` says in words which process holds it; empty where none."""
    state = "finished" if done else "stopped, continues"
    if running:
        state = f"running: {running}"
    best = conclusion.best
    rates = (
        ("-", "-")
        if best is None
        else (delta_text(best, spec.objective), delta_text(best, "heldout"))
    )
    objective = (
        "" if spec.objective == "domain" or best is None else f"{rate_heading(spec.objective)} "
    )
    return (
        folder.name,
        state,
        ended_text(len(conclusion.results), spec.budget.trials),
        str(conclusion.shown_decision(done) or "-"),
        "-" if best is None else str(best.number),
        f"{objective}{rates[0]}",
        rates[1],
        duration_text(folder.seconds_spent()),
    )


def unreadable_row(name: str, refused: bool) -> StudyRow:
    """Make the row of a study that may not be read (`refused`), or is damaged."""
    state = "cannot be read" if refused else "damaged"
    return (name, state, *("-",) * (len(_COLUMNS) - 2))


def build(
    rows: Sequence[StudyRow],
    faults: Sequence[str] = (),
    shared_bytes: int = 0,
    words: Sequence[str] = (),
) -> Document:
    """Build the document: a table of all studies, and below it the reasons why some cannot be read,
    which contain paths and would be too wide for a cell. `shared_bytes` is the size of the cache
    that the studies share; `words` name their folder on the command line.
    """
    running = sum(row[1].startswith("running") for row in rows)
    count = "1 study" if len(rows) == 1 else f"{len(rows)} studies"
    blocks: list[Block] = [Table(_COLUMNS, tuple(rows)), Bullets(tuple(faults))]
    if shared_bytes:
        clean = shlex.join(("orchestrate", "clean", *words))
        blocks.append(
            Paragraph(
                f"The cache that they share takes {size(shared_bytes)}; `{clean}` says what of it is needed."
            )
        )
    return Document("Studies", f"{count}, {running} running", tuple(blocks))
