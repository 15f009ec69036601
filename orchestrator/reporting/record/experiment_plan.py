"""The project's record of runs: a table in `docs/experiment_plan.md`, between two markers, with a
row for each finished study.

Text outside the markers belongs to people and is kept byte for byte. A study that is run again,
with a larger budget for example, has its row replaced; a run that changed nothing leaves the file
as it is.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.errors import SpecError, StudyError
from orchestrator.files.atomic import system_error
from orchestrator.records.locks.study_lock import one_at_a_time
from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from orchestrator.reporting.record.experiment_plan_row import COLUMNS, Row, study_row
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

PLACE = Path("docs/experiment_plan.md")
"""Path of the record below the project's folder. Without --record it is only written to where the
file exists already.
"""

BEGIN, END = "<!-- runs:begin -->", "<!-- runs:end -->"

_TEMPLATE = "# Experiment plan\n\n## Runs\n\nThe tool keeps the table below; write anywhere else.\n"
_CELL = re.compile(r"(?<!\\)\|")


def keep_record(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    command: str,
    root: Path,
    record: Path | None,
    own_studies: bool,
) -> str | None:
    """Write the row of a finished study to the record, and return what went wrong, or None.

    The record is `record`, which is made if missing; without it, it is `docs/experiment_plan.md` of
    a project that has one, for the project's own studies, unless the sweep file says `record:
    false`. Nothing is raised, because a verdict must not fail for want of its record.
    """
    kept = spec.record and own_studies and (root / PLACE).is_file()
    place = record or (root / PLACE if kept else None)
    if place is None:
        return None
    try:
        enter_row(
            place,
            study_row(
                spec, folder, conclusion, command, root, datetime.now(UTC).strftime("%Y-%m-%d")
            ),
        )
    except StudyError as error:
        return str(error)
    except OSError as error:
        return str(system_error(error))
    return None


def check_record(record: Path, studies: Path) -> None:
    """Raise SpecError where `record` is no Markdown file, or is a file of a study, because a row is
    appended to whatever file is named.
    """
    real = Path(os.path.realpath(record))
    if real.suffix.lower() not in (".md", ".markdown"):
        raise SpecError(
            f"--record {record} is no Markdown file; a row of a table is written there\n"
            f"  Name a file that ends in .md, such as {PLACE}."
        )
    if real.is_relative_to(os.path.realpath(studies)):
        raise SpecError(
            f"--record {record} is a file of a study, which keeps its own\n  Name one beside them, such as {PLACE}."
        )


def enter_row(path: Path, new: Row) -> bool:
    """Put the row into the file, which is made if missing; return whether that changed anything.

    Raises StudyError when the file is not UTF-8 text, or its markers are not one pair in order.
    """
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True)
    # two sweeps that end together must not lose one another's row
    with one_at_a_time(real.parent):
        try:
            before = real.read_bytes().decode() if real.exists() else _TEMPLATE
        except UnicodeDecodeError as error:
            raise StudyError(
                f"{path} is not UTF-8 ({error.reason} at byte {error.start}); nothing was recorded"
            ) from error
        try:
            after = text_with_row(before, new)
        except ValueError as error:
            raise StudyError(
                f"{path} {error}; nothing was recorded\n  Leave one pair, {BEGIN} before {END}."
            ) from error
        if after != before or not real.exists():
            write_aside(real, after.encode())
        return after != before


def text_with_row(text: str, new: Row) -> str:
    """Return `text` with the row between its markers, which are appended where there are none.

    Raises ValueError when the markers are not one pair in order.
    """
    # split at LF alone: lines that end in CR LF keep their CR, so that mixed files stay as they are
    lines = text.split("\n")
    begins = [index for index, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [index for index, line in enumerate(lines) if line.strip() == END]
    if not begins and not ends:
        newline = "\r\n" if "\r\n" in text else "\n"
        gap = newline if not text or text.endswith("\n") else newline * 2
        return text_with_row(text + gap + BEGIN + newline + END + newline, new)
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise ValueError(f"has {len(begins)} {BEGIN} and {len(ends)} {END}, or not in this order")
    first, last = begins[0] + 1, ends[0]
    ending = "\r" if lines[begins[0]].endswith("\r") else ""
    return "\n".join([*lines[:first], *_with_row(lines[first:last], new, ending), *lines[last:]])


def _with_row(lines: list[str], new: Row, ending: str) -> list[str]:
    """Return the lines between the markers with the study's row replaced, or added after the last
    row; other lines stay.
    """
    for index, line in enumerate(lines):
        old = Row(tuple(cell.strip() for cell in _CELL.split(line.strip().strip("|"))))
        if len(old.cells) == len(COLUMNS) and old.key == new.key:
            return (
                lines
                if old.facts == new.facts
                else [*lines[:index], new.line + ending, *lines[index + 1 :]]
            )
    rows = [index for index, line in enumerate(lines) if line.lstrip().startswith("|")]
    if rows:
        return [*lines[: rows[-1] + 1], new.line + ending, *lines[rows[-1] + 1 :]]
    head = [Row(COLUMNS).line, "|" + " --- |" * len(COLUMNS)]
    return [*lines, *(line + ending for line in (*head, new.line))]
