"""The record of runs: one row a study, and not a byte of the prose around it."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.errors import StudyError
from orchestrator.records.results import Measurement
from orchestrator.reporting.record.experiment_plan import BEGIN, END, enter_row, text_with_row
from orchestrator.reporting.record.experiment_plan_row import COLUMNS, Row, _baseline_and_tuned
from orchestrator.reporting.wording import percent
from orchestrator.verdicts.conclusion import Conclusion
from tests.cli_project import ROOT, make_project, orchestrate
from tests.scoring_support import set_with

PROSE = "# Plan\n\nH1: it works | honestly.\n\n"
AFTER = "\n## Later\n\nmore, without a newline at its end"


def made(
    name: str = "h1", verdict: str = "REJECT", date: str = "2025-01-01", output: str = "studies/h1"
) -> Row:
    cells = dict.fromkeys(map(str, range(len(COLUMNS))), "-")
    row = [
        name,
        date,
        f"`orchestrate sweeps/{name}.yaml`",
        *list(cells)[3:-3],
        verdict,
        "42",
        f"`{output}`",
    ]
    return Row(tuple(row))


def marked(inside: str = "") -> str:
    return f"{PROSE}{BEGIN}\n{inside}{END}\n{AFTER}"


def inside(text: str) -> list[str]:
    return text[text.index(BEGIN) + len(BEGIN) + 1 : text.index(END)].splitlines()


def test_the_first_row_brings_its_head_and_the_prose_stays() -> None:
    text = text_with_row(marked(), made())
    assert text.startswith(PROSE + BEGIN) and text.endswith(END + "\n" + AFTER)
    assert inside(text) == [Row(COLUMNS).line, "|" + " --- |" * len(COLUMNS), made().line]


def test_the_same_study_has_one_row_and_keeps_its_date() -> None:
    once = text_with_row(marked(), made())
    assert text_with_row(once, made(date="2025-02-02")) == once
    grown = text_with_row(once, made(verdict="ACCEPT", date="2025-02-02"))
    assert inside(grown)[2:] == [made(verdict="ACCEPT", date="2025-02-02").line]


def test_other_studies_and_other_folders_get_rows_of_their_own() -> None:
    rows = [made(), made("h2"), made(output="elsewhere/h1"), made("h1", "a \\| b")]
    text = marked()
    for row in rows:
        text = text_with_row(text, row)
    assert inside(text)[2:] == [rows[3].line, rows[1].line, rows[2].line]


def test_the_baseline_has_the_number_that_the_report_shows() -> None:
    """189 errors in 2,400 words are 7.875 %, and 12.41666 less the change is a little more."""
    before, after = set_with(189, 2400), set_with(298, 2400)
    baseline = Measurement(
        trial=None, step=0, adapter_scale=1.0, fingerprint="f", sets={"domain": before}
    )
    shown: Any = SimpleNamespace(wer={"domain": after.wer})
    found = Conclusion((), baseline, None, None, None, (), None)
    assert _baseline_and_tuned(found, shown, "domain") == (percent(before.wer), percent(after.wer))
    assert percent(after.wer - 100 * (298 - 189) / 2400) != percent(before.wer)
    assert _baseline_and_tuned(found, None, "heldout") == ("-", "-")


def test_a_persons_lines_between_the_markers_stay() -> None:
    text = text_with_row(marked("see below\n\n| my | own |\n"), made())
    assert inside(text) == ["see below", "", "| my | own |", made().line]


def test_line_ends_of_the_file_are_kept() -> None:
    text = text_with_row(marked().replace("\n", "\r\n"), made())
    assert text.replace("\r\n", "").count("\n") == 0
    assert text.startswith(PROSE.replace("\n", "\r\n")) and text.endswith(
        AFTER.replace("\n", "\r\n")
    )


def test_a_file_of_mixed_line_ends_has_one_table_and_keeps_them() -> None:
    mixed = marked().replace("H1: it", "H1:\r\nit")
    text = text_with_row(mixed, made())
    assert text.replace("\n".join(inside(text)) + "\n", "") == mixed
    assert text_with_row(text, made()) == text and text.count(BEGIN) == 1


def test_a_table_that_a_formatter_aligned_is_left_alone() -> None:
    text = text_with_row(text_with_row(marked(), made()), made("h2"))
    wide = text.replace(" | REJECT | ", " |     REJECT      | ").replace(
        "| --- |", "| :---------- |", 1
    )
    assert wide != text and text_with_row(wide, made()) == wide
    grown = text_with_row(wide, made("h2", verdict="ACCEPT"))
    assert inside(grown)[:3] == inside(wide)[:3] and inside(grown)[3:] == [
        made("h2", verdict="ACCEPT").line
    ]


def test_a_persons_hand_in_the_table_touches_no_other_row() -> None:
    rows = [made("h1"), made("h2"), made("h3", output="studies/h3")]
    text = marked()
    for row in rows:
        text = text_with_row(text, row)
    edited = text.replace(rows[0].line, rows[0].line.replace("REJECT", "wrong by hand"))
    edited = edited.replace(rows[2].line + "\n", "").replace(END, f"A note on these runs.\n{END}")
    assert text_with_row(edited, rows[1]) == edited, (
        "a run that found nothing new leaves the file alone"
    )
    again = text_with_row(edited, rows[2])
    assert inside(again) == [*inside(edited)[:4], rows[2].line, "A note on these runs."]
    assert inside(text_with_row(again, rows[0]))[2:5] == [row.line for row in rows], (
        "a row says what its study says"
    )


@pytest.mark.parametrize("before", ["", "# Plan", "# Plan\n", "# Plan\n\n"])
def test_markers_are_appended_where_there_are_none(before: str) -> None:
    text = text_with_row(before, made())
    assert text.startswith(before) and text.endswith(f"{made().line}\n{END}\n")
    assert text_with_row(text, made()) == text


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        (f"{BEGIN}\n", 1, 0),
        (f"{END}\n", 0, 1),
        (f"{END}\n{BEGIN}\n", 1, 1),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", 2, 1),
    ],
)
def test_broken_markers_are_refused_and_nothing_is_written(
    tmp_path: Path, text: str, begins: int, ends: int
) -> None:
    path = tmp_path / "plan.md"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        enter_row(path, made())
    assert str(caught.value) == (
        f"{path} has {begins} {BEGIN} and {ends} {END}, or not in this order; nothing was recorded\n"
        f"  Leave one pair, {BEGIN} before {END}."
    )
    assert path.read_text() == text


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(StudyError, match=r"is not UTF-8 .* at byte 3\); nothing was recorded"):
        enter_row(path, made())
    assert path.read_bytes() == b"caf\xe9"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.md", tmp_path / "link.md"
    real.write_text(marked())
    link.symlink_to(real)
    assert enter_row(link, made()) and not enter_row(link, made())
    assert link.is_symlink() and made().line in real.read_text()


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.ENOSYS])
def test_a_row_is_recorded_where_folders_cannot_be_locked(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, or where a file system has no locks at all."""

    def without(descriptor: int, what: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", without)
    path = tmp_path / "plan.md"
    assert enter_row(path, made())
    assert made().line in path.read_text()


def test_sweeps_that_end_together_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "plan.md"
    code = (
        "import sys; from pathlib import Path; from tests.test_reporting_experiment_plan import made\n"
        "from orchestrator.reporting.record.experiment_plan import enter_row\n"
        f"for n in range(10): enter_row(Path({str(path)!r}), made(f'{{sys.argv[1]}}-{{n}}'))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, name], cwd=ROOT) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    names = {line.split(" | ")[0] for line in inside(path.read_text())[2:]}
    assert names == {f"| {name}-{n}" for name in "ab" for n in range(10)}


def test_a_run_is_recorded_once_and_replaced_when_it_grows(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    plan = tmp_path / "docs" / "experiment_plan.md"
    assert orchestrate(spec, "-q", "budget.trials=2") in (0, 4, 5)
    assert not plan.exists()
    plan.parent.mkdir()
    plan.write_text(marked())
    assert orchestrate(spec, "-q", "budget.trials=3") == 0
    first = plan.read_text()
    row = inside(first)[2]
    assert (
        row.startswith("| demo | 20")
        and "ACCEPT: trial" in row
        and "confirmed with 101, 102" in row
    )
    assert "fake/model, data/train.jsonl" in row and f"`orchestrate {spec} budget.trials=3`" in row
    assert row.endswith("| `studies/demo` |")
    assert orchestrate(spec, "-q", "budget.trials=3") == 0
    assert plan.read_text() == first
    plan.write_text(first.replace("Later", "Later, edited"))
    orchestrate(spec, "-q", "budget.trials=8")
    assert [line.split(" | ")[0] for line in inside(plan.read_text())[2:]] == ["| demo"]
    assert "Later, edited" in plan.read_text()


def test_a_study_elsewhere_is_recorded_only_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path / "project")
    plan = tmp_path / "project" / "docs" / "experiment_plan.md"
    plan.parent.mkdir()
    plan.write_text(marked())
    elsewhere, asked = tmp_path / "elsewhere", tmp_path / "new" / "record.md"
    assert orchestrate(spec, "-q", "--studies", elsewhere, "--record", asked) == 0
    assert plan.read_text() == marked()
    text = asked.read_text()
    assert text.startswith("# Experiment plan\n") and inside(text)[2].endswith(
        f"| `{elsewhere}/demo` |"
    )
    asked.write_text(BEGIN)
    capsys.readouterr()
    assert orchestrate(spec, "-q", "--studies", elsewhere, "--record", asked) == 0
    assert "nothing was recorded" in capsys.readouterr().err


def test_a_record_is_never_a_file_of_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row appended to a manifest is a fault of the manifest, and in a study it breaks a seal."""
    spec = make_project(tmp_path)
    manifest = tmp_path / "data" / "domain.jsonl"
    before = manifest.read_bytes()
    assert orchestrate(spec, "-q", "--record", manifest) == 2
    assert capsys.readouterr().err == (
        f"--record {manifest} is no Markdown file; a row of a table is written there\n"
        "  Name a file that ends in .md, such as docs/experiment_plan.md.\n"
    )
    assert manifest.read_bytes() == before and not (tmp_path / "studies").exists()
    notes = tmp_path / "studies" / "demo" / "notes.md"
    assert orchestrate(spec, "-q", "--record", notes) == 2
    assert "is a file of a study, which keeps its own" in capsys.readouterr().err
