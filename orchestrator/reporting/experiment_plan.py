"""The project's record: a row per finished run in `docs/experiment_plan.md`, between two markers.

What stands outside the markers is a person's and stays as it is, byte for byte. A study has one
row: run again with a larger budget its row is replaced, and a run that changed nothing leaves the
file alone.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.atomic import system_error
from orchestrator.errors import SpecError, StudyError
from orchestrator.records.store import StudyFolder
from orchestrator.records.study_lock import one_at_a_time
from orchestrator.records.writing import write_aside
from orchestrator.reporting.experiment_plan_row import COLUMNS, Row, study_row
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

PLACE = Path("docs/experiment_plan.md")
"""Below the project; kept only where the file is there already, or asked for by --record."""

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
    """Enter a finished study where its record is kept; what is wrong with that file, if anything.

    That is `record`, which is made if missing; without it `docs/experiment_plan.md` of a project
    that has one, for the project's own studies, unless the sweep file says `record: false`. A
    verdict does not fail because its record could not be kept, so nothing is raised.
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
    """That `record` may be written to. Raises SpecError for what is no Markdown file, and for the
    files of studies: a row would be appended to whatever has the name.
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
    """Put the row into the file, which is made if missing; whether that changed anything.

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
    """`text` with the row between its markers, which are appended where there are none.

    Raises ValueError when the markers are not one pair in order.
    """
    # one that ends in CR LF keeps its CR, so that mixed files stay as they are
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
    """The lines between the markers with the row replaced or added behind the last one; what else
    is there stays.
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
