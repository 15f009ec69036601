"""max_bad_fraction: bad training lines are skipped up to a share and said; evaluation sets are
never cut.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.cache.preparing import prepare_training
from orchestrator.corpus.manifest_errors import FaultsError
from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.corpus.sets.diagnosis import check_sets, skipped_lines
from orchestrator.errors import ManifestError
from orchestrator.records.store import StudyFolder
from tests.cli_project import make_project, orchestrate

RATE = 16_000


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Ten lines: the third is no JSON, the seventh has no text and a wrong duration."""
    lines = []
    for number in range(10):
        noise = np.random.default_rng(number).normal(0, 0.1, RATE // 2)
        soundfile.write(tmp_path / f"{number}.wav", noise, RATE)
        lines.append(json.dumps({"audio_filepath": f"{number}.wav", "text": f"text {number}"}))
    lines[2] = "{broken"
    lines[6] = json.dumps({"audio_filepath": "6.wav", "duration": -1})
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def training(path: Path, fraction: float) -> Manifest:
    return load_manifest(path, for_training=True, max_bad_fraction=fraction)


def test_bad_lines_are_skipped_up_to_the_share(manifest: Path) -> None:
    found = training(manifest, 0.2)
    assert [each.line for each in found.utterances] == [1, 2, 4, 5, 6, 8, 9, 10]
    assert [fault.line for fault in found.bad] == [3, 7, 7]
    with pytest.raises(FaultsError, match=r"has 3 faults:") as caught:
        training(manifest, 0.19)
    assert [fault.line for fault in caught.value.faults] == [3, 7, 7]
    with pytest.raises(ManifestError):
        load_manifest(manifest, for_training=True)


def test_an_evaluation_set_is_never_cut(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="has 3 faults"):
        load_manifest(manifest, for_training=False, max_bad_fraction=0.9)


def test_skipped_lines_are_counted_and_said(manifest: Path) -> None:
    found = training(manifest, 0.5)
    (said,) = (f for f in check_sets({"train": found}, max_seconds=20) if f.name == "bad-lines")
    assert (said.level, said.message) == ("warn", skipped_lines("train", found))
    assert said.message == (
        f"2 of 10 lines of train (20.0 %) are bad and skipped, e.g. {manifest}:3: "
        "not valid JSON at character 2: Expecting property name enclosed in double quotes."
    )


def test_audio_that_cannot_be_decoded_counts_with_the_rest(manifest: Path, tmp_path: Path) -> None:
    wrong = np.full(RATE, np.nan, np.float32)
    soundfile.write(tmp_path / "4.wav", wrong, RATE, subtype="FLOAT")
    read = training(manifest, 0.3)
    options = {"rms": 0.075, "cache": tmp_path / "cache", "shortest": 80}
    rest, clips = prepare_training(read, max_bad_fraction=0.3, **options)  # type: ignore[arg-type]
    assert [each.line for each in rest.utterances] == [1, 2, 4, 6, 8, 9, 10]
    assert clips.texts == tuple(each.text for each in rest.utterances) and len(clips) == 7
    assert {fault.line for fault in rest.bad} == {3, 5, 7}
    with pytest.raises(ManifestError, match="NaN or infinite"):
        prepare_training(read, max_bad_fraction=0.29, **options)  # type: ignore[arg-type]
    sound = training(manifest, 0.3).without((), 0.3)
    assert sound is not None and len(sound.utterances) == 8


def test_a_file_that_ends_early_is_never_a_few_bad_lines(manifest: Path) -> None:
    good = [line for line in manifest.read_text().splitlines() if '"text"' in line]
    manifest.write_text("[" + ",\n".join(good[:5]) + ",\n{torn\n")
    with pytest.raises(ManifestError, match="item 6: not valid JSON"):
        training(manifest, 0.9)


def test_a_set_without_a_good_line_is_refused(manifest: Path) -> None:
    manifest.write_text("{broken\n")
    with pytest.raises(ManifestError, match="has 1 fault"):
        training(manifest, 0.99)


def test_a_sweep_goes_on_without_them_and_notes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    train = tmp_path / "data" / "train.jsonl"
    train.write_text(train.read_text() + "{broken\n")
    assert orchestrate(spec, "-q", "budget.trials=2") == 2
    assert orchestrate(spec, "-q", "budget.trials=2", "--max-bad-fraction", "0.3") in (0, 4, 5)
    notes = StudyFolder(tmp_path / "studies", "demo").notes.read_text()
    assert notes.count("1 of 4 lines of train (25.0 %) are bad and skipped") == 1
    domain = tmp_path / "data" / "domain.jsonl"
    domain.write_text(domain.read_text() + "{broken\n")
    capsys.readouterr()
    assert (
        orchestrate(spec, "-q", "budget.trials=2", "--max-bad-fraction", "0.3", "--fork", "again")
        == 2
    )
    assert "domain.jsonl has 1 fault:" in capsys.readouterr().err
    assert orchestrate(spec, "--max-bad-fraction", "1.5") == 2
    assert "--max-bad-fraction 1.5 is no share" in capsys.readouterr().err
