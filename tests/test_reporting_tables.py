"""Tables for other programs: what they hold, and that no spreadsheet runs them."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator.errors import SpecError, StudyError
from orchestrator.reporting.rendering.escape import plain
from orchestrator.reporting.tables import dataframes, study_tables
from orchestrator.reporting.tables.spreadsheet import guard_cell, unguard_cell, write_csv
from orchestrator.reporting.tables.study_tables import DataTable
from orchestrator.typed_words import install_command
from tests.cli_project import folder_of, orchestrate, ran_project


@pytest.fixture(scope="module", name="spec")
def _spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ran_project(tmp_path_factory.mktemp("project"))
    return spec


@given(st.text())
def test_a_guarded_text_is_no_formula_and_comes_back(text: str) -> None:
    cell = guard_cell(text)
    assert cell.lstrip()[:1] not in ("=", "+", "-", "@")
    assert unguard_cell(cell) == plain(text)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        (" @SUM(1)", "' @SUM(1)"),
        ("\t=1", "' =1"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("'cause we", "'cause we"),
        ("well - no", "well - no"),
        ("\x1b[31mred", " [31mred"),
    ],
)
def test_what_is_guarded(text: str, cell: str) -> None:
    assert guard_cell(text) == cell


def test_numbers_stay_numbers() -> None:
    file = io.StringIO()
    columns = {"delta": float, "n": int, "ok": bool, "text": str}
    write_csv(
        DataTable(columns, iter([(-3.5, -1, True, '-x "y", z'), (None, None, None, None)])), file
    )
    assert file.getvalue() == 'delta,n,ok,text\n-3.5,-1,true,"\'-x ""y"", z"\n,,,\n'


def test_every_trial_and_confirmation_is_a_row(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert orchestrate("table", spec) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    folder = folder_of(spec)
    results = {
        str(result.number): result for result in (*folder.results(), *folder.confirmations())
    }
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4", "-1", "-2"]
    for row in rows:
        result = results[row["number"]]
        assert (row["state"], row["reason"]) == (str(result.state), guard_cell(result.reason))
        assert {name: float(row[f"wer_{name}"]) for name in result.wer} == result.wer
        plan = folder.read_plan(result.number)
        assert plan and row["params_learning_rate"] == str(plan.params.learning_rate)
    assert {row["confirms"] for row in rows[5:]} == {str(folder.results()[0].number)}
    assert all(row["seconds"] for row in rows[:5]) and not any(row["seconds"] for row in rows[5:])


def test_a_confirmation_run_that_no_longer_counts_has_its_trial(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = orchestrator.open_study(folder_of(spec).path).trials()
    monkeypatch.setattr(study_tables, "confirmation_runs", lambda *_: ())
    later = orchestrator.open_study(folder_of(spec).path).trials()
    assert list(later["confirms"].dropna()) == list(frame["confirms"].dropna()) != []


def test_frames_hold_what_csv_and_parquet_hold(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = orchestrator.open_study(folder_of(spec).path)
    for kind in ("trials", "measurements", "utterances"):
        frame = getattr(study, kind)()
        capsys.readouterr()
        assert orchestrate("table", spec, "--of", kind) == 0
        read = pandas.read_csv(io.StringIO(capsys.readouterr().out))
        assert list(read.columns) == list(frame.columns) and len(read) == len(frame) > 0
        to = tmp_path / f"{kind}.parquet"
        assert orchestrate("table", spec, "--of", kind, "--format", "parquet", "--to", to) == 0
        stored = pandas.read_parquet(to, dtype_backend="numpy_nullable").astype(
            frame.dtypes.to_dict()
        )
        pandas.testing.assert_frame_equal(stored, frame)


def test_utterances_add_up_to_the_rates(spec: Path) -> None:
    study = orchestrator.open_study(folder_of(spec).path)
    chosen = study.measurements().query("gave_the_result")
    sums = (
        study.utterances()
        .groupby(["run", "number", "set"], dropna=False)[["errors", "words"]]
        .sum()
    )
    rates = (100 * sums["errors"] / sums["words"]).sort_index()
    expected = (
        chosen.set_index(["run", "number", "set"])["wer"]
        .groupby(level=[0, 1, 2], dropna=False)
        .first()
    )
    # baselines of search and confirmation have sets of one name: each is a row of its own
    trained = [key for key in rates.index if key[0] != "baseline"]
    assert trained and rates[trained].tolist() == pytest.approx(expected[trained].tolist())
    assert len(study.utterances(every_measurement=True)) > len(study.utterances())


def test_a_change_is_the_same_number_in_both_tables(spec: Path) -> None:
    """The difference of the two rates has another last digit, such as 0.19999999999999929."""
    study = orchestrator.open_study(folder_of(spec).path)
    chosen = study.measurements().query("gave_the_result and run == 'search'")
    trials = study.trials().query("run == 'search'").set_index("number")
    rows = [row for row in chosen.itertuples() if row.set in ("domain", "heldout")]
    assert len(rows) > 2
    for row in rows:
        assert row.delta == trials.loc[row.number, f"delta_{row.set}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--of", "rungs"],
            "--of rungs is not known\n  Allowed: trials, measurements, utterances.\n",
        ),
        (["--format", "xlsx"], "--format xlsx is not known\n  Allowed: csv, parquet.\n"),
        (
            ["--format", "parquet"],
            "--format parquet needs --to FILE, a file that does not exist yet\n",
        ),
    ],
)
def test_what_is_refused(
    spec: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert orchestrate("table", spec, *words) == 2
    assert capsys.readouterr().err == message
    assert orchestrate("table", spec, "--to", spec) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def test_the_package_is_light_and_says_what_is_missing(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import orchestrator, sys; print(len({'pandas', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "0\n"
    )
    with pytest.raises(StudyError, match="there is no study at"):
        orchestrator.open_study(tmp_path / "nothing")
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    study = orchestrator.open_study(folder_of(spec).path)
    with pytest.raises(
        SpecError,
        match=re.escape(f"pandas is not installed\n  {install_command('tables')}"),
    ):
        study.trials()
    with pytest.raises(SpecError, match="pyarrow is not installed"):
        dataframes.write_parquet(DataTable({}, iter(())), tmp_path / "x")
