"""What the dashboard is given of a study that was run, and that it is all that the study has."""

from __future__ import annotations

import copy
import csv
import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest
import soundfile

from orchestrator.errors import StudyError
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.json_files import ServerRecord
from orchestrator.records.results import TrialResult, TrialState
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.tables.spreadsheet import unguard_cell
from orchestrator.reporting.wording import percent
from orchestrator.running import completion, dashboard_contents
from orchestrator.running.dashboard_contents import dashboard_study, watched_files
from orchestrator.scoring.rates import SetScore
from orchestrator.search.dashboard import open_server
from orchestrator.search.dashboard_study import DashboardStudy
from orchestrator.search.postgres import ServerDatabase
from orchestrator.search.storage import open_read_only
from orchestrator.verdicts.concluding import conclude
from tests.page_study import CLIPS, SWEEP_TEXT, folder_of, make_study
from tests.screenshots import served


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("project"))


def shown_of(sweep: Path) -> DashboardStudy:
    """As the command gives it to the dashboard."""
    folder = folder_of(sweep)
    return dashboard_study(stored_spec(folder, sweep.parents[1]), folder, [str(sweep)])


@pytest.fixture(name="given", scope="module")
def _given(sweep: Path) -> DashboardStudy:
    return shown_of(sweep)


def test_every_trial_has_its_reason_and_its_numbers(given: DashboardStudy, sweep: Path) -> None:
    results = folder_of(sweep).results()
    assert set(given.trials) == {result.number for result in results} and results
    for result in results:
        trial = given.trials[result.number]
        assert trial.note.startswith(f"# Trial {result.number}\n\n**{result.state}: ")
        assert trial.feasible == result.feasible
        for rate in ("domain", "heldout"):
            assert trial.attributes[f"{rate} WER, %"] == round(result.wer[rate], 2)


def test_baseline_and_limits_are_named(given: DashboardStudy) -> None:
    assert given.objective == "domain WER, %"
    assert {"untuned: domain WER, %", "untuned: heldout WER, %", "verdict"} <= set(given.attributes)
    assert given.attributes["guardrail 1"] == "heldout WER rises by less than 0.5 points"
    assert given.attributes["asked 1"] == "domain WER falls by at least 1 points"
    assert given.note.startswith("# Sweep demo\n\n**")


def test_the_untuned_model_has_the_rate_that_the_report_has() -> None:
    """9 errors in 96 words are 9.375 %; what is left of another rate without its change is less."""
    wers = {errors: 100 * errors / 96 for errors in (8, 17)}
    result = TrialResult(
        number=0, state=TrialState.COMPLETE, reason="", params={}, feasible=True, step=1,
        adapter_scale=1.0, wer={"domain": wers[17]}, delta={"domain": wers[8]}, constraints={},
        steps_trained=1,
    )  # fmt: skip
    untuned = SetScore((9,), (96,))
    assert untuned.rate is not None and percent(untuned.rate) == "9.38"
    row = dashboard_contents._rate_row(result, "domain", untuned)
    assert row == ("domain WER", "9.38", "17.71", "+8.33")


@pytest.mark.parametrize("name", ["domain", "heldout"])
def test_curves_of_both_sets_have_the_untuned_model(given: DashboardStudy, name: str) -> None:
    figure = given.figures[f"steps-{name}"]
    untuned = given.attributes[f"untuned: {name} WER, %"]
    assert len(figure["data"]) == len(given.trials)
    assert [round(shape["y0"], 2) for shape in figure["layout"]["shapes"]] == [untuned]
    json.dumps(dict(given.figures), allow_nan=False)


def test_transcripts_are_those_of_the_trial(given: DashboardStudy, sweep: Path) -> None:
    folder = folder_of(sweep)
    result = folder.results()[0]
    [measured] = [
        each
        for each in folder.read_measurements(0)
        if (each.step, each.adapter_scale) == (result.step, result.adapter_scale)
    ]
    heard = folder.read_hypotheses(0, measured)
    transcripts = given.trials[0].attachments[0]
    assert transcripts.name == "transcripts.csv"
    rows = list(csv.DictReader(io.StringIO(transcripts.read().decode())))
    assert len(rows) == 2 * CLIPS
    changes = [int(row["change"]) for row in rows]
    assert changes == sorted(changes, reverse=True)
    for name in ("domain", "heldout"):
        own = [row for row in rows if row["set"] == name]
        assert sum(int(row["errors_tuned"]) for row in own) == sum(measured.sets[name].errors)
        plain = {" ".join(text.split()).replace("\x1b", " ") for text in heard[name]}
        assert {" ".join(unguard_cell(row["tuned"]).split()) for row in own} == {
            " ".join(text.replace("\u202e", " ").split()) for text in plain
        }


def test_clips_play(given: DashboardStudy) -> None:
    clips = [each for each in given.trials[0].attachments if each.kind == "audio/mpeg"]
    assert 1 <= len(clips) <= 3
    for clip in clips:
        assert soundfile.info(io.BytesIO(clip.read())).duration == pytest.approx(1.5, abs=0.2)


def test_showing_leaves_the_study_as_it_was(sweep: Path) -> None:
    folder = folder_of(sweep)

    def files() -> dict[str, bytes]:
        # SQLite makes the index of its log, which is no part of the study, for a reader too
        return {
            str(path): path.read_bytes()
            for path in folder.path.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        }

    before = files()
    give = partial(shown_of, sweep)
    with served(open_server(folder.database, watched_files(folder), give, 0)) as address:
        for path in ("api/studies/0", "dashboard/studies/0"):
            with urlopen(address + path) as answer:
                assert answer.status == 200
    assert files() == before


def test_the_end_of_the_search_and_its_report_are_shown_when_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both come after the last result, which is the last line of the journal."""
    sweep = make_study(tmp_path, SWEEP_TEXT.replace("trials: 5", "trials: 1"))
    folder = folder_of(sweep)
    page = folder.report_html.read_bytes()
    folder.report_html.unlink()
    monkeypatch.setattr(completion, "is_finished", lambda spec, folder: False)
    give = partial(shown_of, sweep)
    server = open_server(folder.database, watched_files(folder), give, 0)
    with served(server) as address:

        def study() -> tuple[str, set[str]]:
            with urlopen(f"{address}api/studies/0") as answer:
                found = json.load(answer)
            return found["note"]["body"], {each["filename"] for each in found["artifacts"]}

        note, files = study()
        assert "Not finished" in note and "report.html" not in files
        monkeypatch.undo()
        (folder.checkpoint / "999999.json.aside").touch()
        note, files = study()
        assert "Not finished" not in note and "report.html" not in files
        folder.report_html.write_bytes(page)
        assert "report.html" in study()[1]


def test_trials_of_a_copy_that_went_on_in_the_database_are_refused(
    given: DashboardStudy, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(sweep)
    server = ServerDatabase(ServerRecord(url_env="ORCHESTRATE_STORAGE", study="demo-1"), "demo")
    with open_read_only(folder.database) as storage:
        held = storage.get_all_trials(storage.get_all_studies()[0]._study_id)
    given.check(server, held)
    given.check(folder.database, held)
    (*earlier, last) = folder.results()
    fewer = replace(conclude(stored_spec(folder, sweep.parents[1]), folder), results=(*earlier,))
    with monkeypatch.context() as patch:
        patch.setattr(dashboard_contents, "judged", lambda spec, folder: (fewer, True))
        before = shown_of(sweep)
    before.check(server, held)  # the last one ended after the files were read
    monkeypatch.setattr(StudyFolder, "results", lambda self: (*earlier,))
    with pytest.raises(StudyError) as caught:
        before.check(server, held)
    assert str(caught.value).startswith(
        f"the database of ORCHESTRATE_STORAGE knows how trial {last.number} ended, and this folder does not: a copy "
        "of the study went on there\n  Run `orchestrate repair SPEC`"
    )
    other = copy.deepcopy(held)
    other[0].params = dict.fromkeys(other[0].params, 1e-09)
    with pytest.raises(StudyError, match=r"says of trial 0 what its result\.json does not say"):
        given.check(folder.database, other)
