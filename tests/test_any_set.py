"""A file with five sets and limits of each kind: validated, run, resumed, judged and reported, on
the shipped model.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jiwer
import pytest

from orchestrator.cli import main
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.cards import model_card
from orchestrator.reporting.progress.json_lines import JsonReporter
from orchestrator.reporting.progress.sweep_standing import Budgeted
from orchestrator.reporting.rendering.report_blocks import Table
from orchestrator.scoring.normalizers import normalizer
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tracking.runs import tracked_runs
from orchestrator.verdicts.conclusion import chosen_measurement
from tests.embedded import DATA, cut_manifest

pytestmark = pytest.mark.usefixtures("without_model_checks")

SETS = {
    "train": 8,
    "replay": 4,
    "domain": 3,
    "heldout": 3,
    "confirm_domain": 3,
    "confirm_heldout": 3,
}
Printed = pytest.CaptureFixture[str]
TERMS = "# what matters\nclimb\nheading\nrunway\nturn left\nflight level\n"


def orchestrate(*arguments: object) -> int:
    """The command as it is, with the real worker; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose further sets are cut from those that nothing else here uses."""
    root = tmp_path_factory.mktemp("project")
    cut = {name: str(cut_manifest(name, count, root)) for name, count in SETS.items()}
    noisy, far = cut.pop("confirm_domain"), cut.pop("confirm_heldout")
    (root / "terms.txt").write_text(TERMS)
    sweep = {
        "version": 1,
        "name": "five",
        "model": {"id": str(DATA / "base-model")},
        "data": cut
        | {
            "also": {
                "noisy": noisy,
                "far": {"manifest": far, "rungs": "last"},
                "again": cut["heldout"],
            }
        },
        "evaluation": {
            "every": 2,
            "max_tokens_per_second": 13,
            "terms": "terms.txt",
            "max_seconds": 9.0,
        },
        "parameters": {
            "learning_rate": {"values": [3e-4, 1e-3]},
            "max_steps": 4,
            "batch_size": 2,
            "train_share": {"values": [0.5, 1.0]},
        },
        "method": "grid",
        "guardrails": {
            "heldout_wer": {"max_regression": 60, "rule": "point"},
            "noisy_wer": {"max_regression": "200%"},
            "domain_wer": {"max_wer": "9x"},
            "far_cer": {"max_cer": 95},
        },
        "acceptance": {
            "domain_wer": {"min_gain": "1%", "rule": "point"},
            "heldout_cer": {"max_regression": 50},
            "any_also_wer": "not_worse",
            "terms_recall": {"max_regression": 90},
            "train_loss": "falls",
        },
        "budget": {"trials": 4},
        "execution": {"pack": 2},
    }
    (root / "sweeps").mkdir()
    (root / "sweeps" / "five.yaml").write_text(json.dumps(sweep))
    return root


@pytest.fixture(scope="module")
def finished(project: Path) -> StudyFolder:
    """The study, begun with two trials and continued to four."""
    spec = project / "sweeps" / "five.yaml"
    assert orchestrate("validate", spec) == 0
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    return StudyFolder(project / "studies", "five")


def test_every_set_is_measured_with_baseline_and_trials(finished: StudyFolder) -> None:
    rows = finished.read_measurements(0)
    early = {row.step: set(row.sets) for row in rows}
    assert early[2] == {"domain", "heldout", "noisy", "again"}, "far waits for the last step"
    assert early[4] == early[2] | {"far"}
    baseline = finished.read_baseline(rows[0].fingerprint)
    assert baseline is not None and set(baseline.sets) == early[4]
    assert len(finished.results()) == 4


def test_character_errors_and_terms_are_those_of_the_texts(
    project: Path, finished: StudyFolder
) -> None:
    spec, record = load_spec(project / "sweeps" / "five.yaml"), finished.sets()["domain"]
    row = finished.read_measurements(0)[-1]
    clean = normalizer(spec.evaluation.normalizer)
    references = [clean(text) for text in record.texts]
    heard = [clean(text) for text in finished.read_hypotheses(0, row)["domain"]]
    measured = row.sets["domain"]
    assert sum(measured.character_errors) / sum(measured.characters) == pytest.approx(
        jiwer.cer(references, heard)
    )
    assert measured.terms is not None
    terms = [line for line in TERMS.splitlines() if not line.startswith("#")]
    padded = [f" {text} " for text in references]
    assert sum(measured.terms.said) == sum(
        text.count(f" {term} ") for text in padded for term in terms
    )
    assert row.sets["heldout"].terms is None


def test_the_report_has_every_limit_in_its_own_unit(
    project: Path, finished: StudyFolder, capsys: Printed
) -> None:
    spec = project / "sweeps" / "five.yaml"
    assert orchestrate("report", spec, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    limits = {(each["metric"], each["kind"]): each for each in found["search"]["limits"]}
    assert limits["domain_wer", "min_gain"]["unit"] == "percent"
    assert limits["domain_wer", "max_rate"]["unit"] == "times"
    assert {metric for metric, _ in limits} == {
        *("domain_wer", "heldout_cer", "any_also_wer", "terms_recall", "train_loss"),
        *("heldout_wer", "noisy_wer", "far_cer"),
    }
    assert all(each["holds"] is not None for each in limits.values())
    assert orchestrate("report", spec, "--format", "md") == 0
    page = capsys.readouterr().out
    assert "How much data?" in page and "Ten utterances of the domain" in page
    assert "some further set WER does not rise" in page and "far CER is at most 95 %" in page


def test_programs_get_recall_as_the_share_that_is_found(
    project: Path, finished: StudyFolder, capsys: Printed
) -> None:
    spec, rate = project / "sweeps" / "five.yaml", "domain_terms_recall"
    [result] = [result for result in finished.results() if result.number == 0]
    row = chosen_measurement(finished, result)
    assert row is not None
    baseline = finished.read_baseline(row.fingerprint)
    assert baseline is not None
    recalls = []
    for measured in (baseline, row):
        terms = measured.sets["domain"].terms
        assert terms is not None
        recalls.append(100 * sum(terms.found) / sum(terms.said))
    found, change = pytest.approx(recalls[1]), pytest.approx(recalls[1] - recalls[0])

    assert orchestrate("report", spec, "--format", "json") == 0
    report = json.loads(capsys.readouterr().out)
    [trial] = [trial for trial in report["trials"] if trial["number"] == 0]
    assert (trial["wer"][rate], trial["delta"][rate]) == (found, change)

    assert orchestrate("table", spec, "--of", "trials") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    [shown] = [each for each in rows if each["number"] == "0"]
    assert float(shown[f"wer_{rate}"]) == found
    assert float(shown[f"delta_{rate}"]) == change

    with JsonReporter(finished.path, Budgeted.of(load_spec(spec))) as reporter:
        reporter.ended(result)
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (event["rates"][rate], event["changes"][rate]) == (found, change)

    page = finished.report_html.read_text()
    [line] = re.findall(r'<tr[^>]*><th scope="row" data-value="0">.*?</tr>', page)
    for value, text in ((recalls[1], "{:.2f}"), (recalls[1] - recalls[0], "{:+z.2f}")):
        keys = re.findall(rf'data-value="([^"]*)">{re.escape(text.format(value))}<', line)
        assert any(float(key) == pytest.approx(value) for key in keys), "sorted as it is shown"

    *_, table = model_card._measured_blocks(
        cast(Any, SimpleNamespace(wer=result.wer, delta=result.delta)), None
    )
    shares = "domain terms recall", f"{recalls[1]:.2f}", f"{recalls[1] - recalls[0]:+z.2f}"
    assert isinstance(table, Table) and shares in table.rows

    points = {
        point.metric: point.value
        for run in tracked_runs(load_spec(spec), finished)
        if run.name == "trial 0"
        for point in run.points
    }
    assert points[f"chosen_{rate}"] == found
    assert points[f"chosen_{rate}_change"] == change


def test_a_set_that_changed_is_refused_by_name(
    project: Path, finished: StudyFolder, capsys: Printed
) -> None:
    spec = project / "sweeps" / "five.yaml"
    manifest = load_spec(spec).data.also["noisy"].manifest
    before = manifest.read_text()
    manifest.write_text("\n".join(before.splitlines()[:-1]) + "\n")
    try:
        assert (
            orchestrate(spec, "budget.trials=5", "parameters.train_share={values: [0.5, 1.0]}") == 3
        )
        assert "(noisy): 3 utterances then, 2 now" in capsys.readouterr().err
    finally:
        manifest.write_text(before)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ("", "lists no terms"),
        ("[noise]\n", "terms.txt:1: the normaliser leaves nothing of '[noise]'"),
        ("zyzzyva\n", "none of the 1 terms of"),
    ],
)
def test_a_list_of_terms_that_measures_nothing_is_refused(
    project: Path, terms: str, said: str, capsys: Printed
) -> None:
    (project / "terms.txt").write_text(terms)
    try:
        assert orchestrate(project / "sweeps" / "five.yaml", "--fork", "terms", "--quiet") == 2
        assert said in capsys.readouterr().err
    finally:
        (project / "terms.txt").write_text(TERMS)


@pytest.mark.slow
def test_terms_are_confirmed_over_several_seeds(tmp_path: Path, capsys: Printed) -> None:
    """Each seed hears its own words, so precision has its own units in every one of them."""
    sizes = SETS | {"train": 16, "replay": 8, "domain": 5, "heldout": 4}
    cut = {name: str(cut_manifest(name, count, tmp_path)) for name, count in sizes.items()}
    confirm = {"domain": cut.pop("confirm_domain"), "heldout": cut.pop("confirm_heldout")}
    (tmp_path / "terms.txt").write_text(TERMS)
    sweep = {
        "version": 1,
        "name": "terms",
        "model": {"id": str(DATA / "base-model")},
        "data": cut | {"confirm": confirm},
        "evaluation": {"every": 6, "max_tokens_per_second": 13, "terms": "terms.txt"},
        "parameters": {"learning_rate": 3e-2, "max_steps": 6, "batch_size": 4},
        "acceptance": {
            "terms_precision": {"max_regression": 100},
            "terms_recall": {"max_regression": 100},
        },
        "confirm": {"top": 1, "seeds": [1, 2]},
        "budget": {"trials": 1},
        "execution": {"pack": 2},
    }
    (tmp_path / "sweeps").mkdir()
    spec = tmp_path / "sweeps" / "terms.yaml"
    spec.write_text(json.dumps(sweep))
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    capsys.readouterr()
    assert orchestrate("report", spec, "--format", "json") == 0
    [finalist] = json.loads(capsys.readouterr().out)["confirmation"]
    assert [each["metric"] for each in finalist["pooled"]["limits"]] == [
        "terms_precision",
        "terms_recall",
    ]
    assert all(each["lower"] is not None for each in finalist["pooled"]["limits"])
    heard = [
        StudyFolder(tmp_path / "studies", "terms").read_measurements(-run)[0].sets["confirm_domain"]
        for run in (1, 2)
    ]
    assert heard[0].terms is not None and heard[1].terms is not None
    assert heard[0].terms.heard != heard[1].terms.heard, "or this test says nothing"
