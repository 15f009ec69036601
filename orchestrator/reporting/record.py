"""The project's record: a row per finished run in `docs/experiment_plan.md`, between two markers.

What stands outside the markers is a person's and stays as it is, byte for byte. A study has one
row: run again with a larger budget its row is replaced, and a run that changed nothing leaves the
file alone.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, TrialResult
from orchestrator.records.store import StudyFolder
from orchestrator.records.writing import write_aside
from orchestrator.reporting.escape import markdown, plain
from orchestrator.reporting.wording import percent, relative_to, value_text
from orchestrator.set_names import confirm_name
from orchestrator.sweepfile.presets import PRESETS
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.verdicts.conclusion import Conclusion

PLACE = Path("docs/experiment_plan.md")
"""Below the project; kept only where the file is there already, or asked for by --record."""

BEGIN, END = "<!-- runs:begin -->", "<!-- runs:end -->"

COLUMNS = (
    "run",
    "date",
    "command",
    "data",
    "steps",
    "learning rate",
    "targets",
    "manifests",
    "domain WER %: baseline",
    "tuned",
    "held-out WER %: baseline",
    "tuned",
    "verdict",
    "seed",
    "output",
)
_TEMPLATE = "# Experiment plan\n\n## Runs\n\nThe tool keeps the table below; write anywhere else.\n"
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """One run, each cell as it stands in the table."""

    cells: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the row of one study: its name and its folder."""
        return self.cells[0], self.cells[-1]

    @property
    def facts(self) -> tuple[str, ...]:
        """All but when and how it was asked for."""
        return (self.cells[0], *self.cells[3:])

    @property
    def line(self) -> str:
        """As Markdown."""
        return f"| {' | '.join(self.cells)} |"


def study_row(
    spec: SweepSpec,
    folder: StudyFolder,
    conclusion: Conclusion,
    command: str,
    root: Path,
    date: str,
) -> Row:
    """The row of a finished study: the best feasible trial, else the one of lowest domain WER.

    `command` is what was typed, `root` the project's folder, `date` a day.
    """
    shown = conclusion.best or conclusion.lowest_domain
    plan = folder.read_plan(shown.number) if shown else None
    return Row(
        (
            markdown(spec.name),
            date,
            _code_cell(command),
            markdown(_data_cell(spec, root)),
            "-" if shown is None or plan is None else f"{shown.step} of {plan.params.max_steps}",
            "-" if plan is None else value_text(plan.params.learning_rate),
            "-"
            if plan is None
            else markdown(f"{plan.params.adapter} r{plan.params.rank}, {_targets_cell(plan)}"),
            markdown(_manifests_cell(spec, conclusion.baseline, root)),
            *_baseline_and_tuned(conclusion, shown, "domain"),
            *_baseline_and_tuned(conclusion, shown, "heldout"),
            _verdict_cell(conclusion, shown),
            "-" if plan is None else _seeds_cell(conclusion, plan),
            _code_cell(relative_to(str(folder.path), root)),
        )
    )


def _data_cell(spec: SweepSpec, root: Path) -> str:
    paths = (str(path) for path in (spec.model.id, spec.data.train, spec.data.replay) if path)
    return ", ".join(relative_to(path, root) for path in paths)


def _targets_cell(plan: TrialPlan) -> str:
    name, patterns = plan.params.target_modules, plan.params.target_patterns
    targets = name if PRESETS.get(name) == patterns else " ".join(patterns)
    return targets if plan.params.layers == "all" else f"{targets} ({plan.params.layers} layers)"


def _manifests_cell(spec: SweepSpec, baseline: Measurement | None, root: Path) -> str:
    """Evaluation manifests with the utterances they had, the start of their SHA-256, and the part
    that was searched.
    """
    texts = []
    for name, source in spec.data.evaluated.items():
        measured = baseline.sets.get(name) if baseline else None
        part = f", {source.part_text}" if source.part_text else ""
        known = (
            f" ({len(measured.errors)}, {measured.manifest_sha256[:8]}{part})" if measured else ""
        )
        texts.append(relative_to(str(source.path), root) + known)
    return ", ".join(texts)


def _baseline_and_tuned(
    conclusion: Conclusion, shown: TrialResult | None, name: str
) -> tuple[str, str]:
    """Baseline and tuned WER in percent; of the confirm sets where the decision rests on them."""
    verdict = conclusion.deciding if conclusion.best else None
    if verdict is not None:
        name = confirm_name(name, verdict.confirmed)
        wer, change = verdict.wer.get(name), verdict.delta.get(name)
    else:
        wer, change = (shown.wer.get(name), shown.delta.get(name)) if shown else (None, None)
    return percent(None if wer is None or change is None else wer - change), percent(wer)


def _verdict_cell(conclusion: Conclusion, shown: TrialResult | None) -> str:
    if conclusion.best is None:
        return "INCONCLUSIVE: no feasible trial" + (f", shown is {shown.number}" if shown else "")
    where = ", confirm sets" if conclusion.confirmation else ""
    return f"{conclusion.decision or 'no criteria'}: trial {conclusion.best.number}{where}"


def _seeds_cell(conclusion: Conclusion, plan: TrialPlan) -> str:
    fresh = (
        [str(seed.run.seed) for seed in conclusion.confirmation.seeds]
        if conclusion.confirmation
        else []
    )
    return str(plan.params.seed) + (f", confirmed with {', '.join(fresh)}" if fresh else "")


def _code_cell(text: str) -> str:
    return f"`{plain(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


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
    except (StudyError, OSError) as error:
        return str(error)
    return None


def enter_row(path: Path, new: Row) -> bool:
    """Put the row into the file, which is made if missing; whether that changed anything.

    Raises StudyError when the file is not UTF-8 text, or its markers are not one pair in order.
    """
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True)
    with _alone(real.parent):
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
    begins, ends = (
        [i for i, line in enumerate(lines) if line.strip() == mark] for mark in (BEGIN, END)
    )
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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two sweeps that end together must not lose one another's row."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
