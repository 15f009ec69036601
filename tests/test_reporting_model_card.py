"""The head of a model card, read as the hub reads it, of a sweep with confirm sets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from orchestrator.reporting.cards import model_card
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project

SEARCH = "WER (%), on a set that also chose the trial"
FRESH = "WER (%), trained again with fresh seeds, pooled"


def exported(spec: Path, to: Path, *options: str) -> Any:
    """The card of an export, as huggingface_hub loads it."""
    assert orchestrate("export", spec, *options, "--to", to) == 0
    return ModelCard.load(to / "README.md")


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = ran_project(tmp_path_factory.mktemp("project"))
    return spec


def test_the_head_names_base_library_and_task(spec: Path, tmp_path: Path) -> None:
    data = exported(spec, tmp_path / "out").data.to_dict()
    assert (data["base_model"], data["library_name"]) == ("fake/model", "peft")
    assert (data["pipeline_tag"], data["tags"]) == ("automatic-speech-recognition", ["lora"])


def test_the_model_index_has_the_measured_and_the_confirmed_wers(
    spec: Path, tmp_path: Path
) -> None:
    card = exported(spec, tmp_path / "out")
    folder = folder_of(spec)
    found = {each.dataset_split: each for each in card.data.eval_results or ()}
    assert list(found) == ["domain", "heldout", "confirm_domain", "confirm_heldout"]
    result = next(
        each for each in folder.results() if f"trial {each.number}" in str(card.data.model_name)
    )
    for name, wer in result.wer.items():
        assert (found[name].metric_value, found[name].metric_name) == (round(wer, 2), SEARCH)
    runs = [each.wer["confirm_domain"] for each in folder.confirmations()]
    assert min(runs) <= found["confirm_domain"].metric_value <= max(runs) and len(runs) == 2
    assert found["confirm_domain"].metric_name == FRESH
    assert found["confirm_domain"].dataset_type == "data/confirm_domain.jsonl"
    assert all(each.metric_type == "wer" for each in found.values())


def test_a_study_that_was_copied_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran_project(tmp_path)
    shutil.copytree(tmp_path / "studies" / "demo", tmp_path / "studies" / "copy")
    monkeypatch.chdir(tmp_path)
    assert orchestrate("export", "copy", "0", "--to", tmp_path / "out") == 0
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.model_name == "copy, trial 0" and "of sweep copy: " in card.text
    assert {each.dataset_name for each in card.data.eval_results} >= {"copy domain"}
    capsys.readouterr()
    assert orchestrate("trial", "copy", "0", "--quiet") == 0
    assert capsys.readouterr().out.startswith("Sweep copy, trial 0\n")


def test_the_doubts_about_the_data_have_paths_of_the_project(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    train = tmp_path / "data" / "train.jsonl"
    train.write_text(train.read_text().replace("sentence", "SENTENCE").replace("of train", "OF T"))
    assert orchestrate(spec, "-q", "budget.trials=2") in (0, 4, 5)
    card = exported(spec, tmp_path / "out").content.replace("\\", "")
    assert "e.g. data/train.jsonl:1" in card and str(tmp_path) not in card


def test_a_path_elsewhere_that_holds_the_path_of_the_project_stays_whole(tmp_path: Path) -> None:
    root = tmp_path / "project"
    spec = make_project(root)
    backup = Path(f"{tmp_path}/backup{root}/data")
    shutil.copytree(root / "data", backup)
    spec.write_text(SWEEP.replace("train: data/", f"train: {backup}/"))
    assert orchestrate(spec, "-q", "budget.trials=2") in (0, 4, 5)
    card = exported(spec, tmp_path / "out").content
    assert f"train: {backup}/train.jsonl\n" in card
    assert "domain: data/domain.jsonl\n" in card


def test_another_trial_has_its_own_numbers_alone(spec: Path, tmp_path: Path) -> None:
    best = exported(spec, tmp_path / "best").data.model_name
    number = next(
        each.number for each in folder_of(spec).results() if f"trial {each.number}" not in str(best)
    )
    found = exported(spec, tmp_path / "other", str(number)).data.eval_results or []
    assert [each.metric_name for each in found] == [SEARCH, SEARCH]


def test_a_sweep_that_declares_no_criteria_is_no_verdict_on_something_else(tmp_path: Path) -> None:
    lines = [line for line in SWEEP.splitlines() if "_wer:" not in line]
    bare = "\n".join(lines).replace("guardrails:\n", "").replace("acceptance:\n", "")
    spec = make_project(tmp_path, bare)
    assert orchestrate(spec, "-q", "budget.trials=2") == 0
    card = exported(spec, tmp_path / "out").content
    assert ": no acceptance criteria were declared. The trial is COMPLETE" in card
    assert "no verdict" not in card


def test_a_verdict_that_nobody_should_believe_is_doubted_wherever_it_stands(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(to: Path) -> tuple[str, str]:
        capsys.readouterr()
        assert orchestrate("report", spec, "--format", "md") == 0
        headline = capsys.readouterr().out.split("\n")[2]
        return headline, next(
            line for line in exported(spec, to).text.split("\n") if "of sweep demo" in line
        )

    sound = said(tmp_path / "sound")
    assert all("ACCEPT" in each and "DOUBTFUL" not in each for each in sound)
    monkeypatch.setattr("orchestrator.reporting.documents.headline.HIGH", 0.0)
    doubted = said(tmp_path / "doubted")
    assert all("ACCEPT" in each and "; DOUBTFUL: a WER of " in each for each in doubted)


@pytest.mark.parametrize(
    "model",
    [
        *("fake/model: x", '"#', "yes", "e\u2028f", "---"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("'", "- a", "[tags]")),
    ],
)
def test_whatever_the_base_model_is_called_the_head_is_yaml(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a run would refuse most of these: folders that are there have such names too
    monkeypatch.setattr("orchestrator.sweepfile.loading.model_problems", lambda model: [])
    written = '"' + model.replace('"', '\\"') + '"'
    spec = make_project(tmp_path, SWEEP.replace("id: fake/model", f"id: {written}"))
    assert orchestrate(spec, "-q", "budget.trials=1", "confirm=", "data.confirm=") in (0, 4, 5)
    card = exported(spec, tmp_path / "out", "0")
    head: dict[str, Any] = YAML(typ="safe", pure=True).load(
        card.content.split("\n---\n")[0].removeprefix("---\n")
    )
    assert head["base_model"] == card.data.base_model == model


def test_the_card_shows_its_trial_among_the_others(spec: Path, tmp_path: Path) -> None:
    card = exported(spec, tmp_path / "out")
    assert f"]({model_card.PLOT})" in card.content
    tree = ElementTree.parse(tmp_path / "out" / model_card.PLOT)
    marks = [mark.text for mark in tree.iter() if mark.get("class") == "mark"]
    results = [result for result in folder_of(spec).results() if result.wer]
    assert len(marks) == len(results) and marks.count("★") == 1 and marks[-1] == "★"
    assert marks.count("×") == sum(not result.feasible for result in results)
