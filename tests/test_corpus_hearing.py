"""What the decoding of recordings changed in their sound is counted and shown with line numbers, in
`diagnose`, in the study's notes and in the report.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.checks import CHECKS
from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.reporting.documents.headline import doubt
from orchestrator.sweepfile.loading import load_spec
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.headroom import high_rates
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.scoring_support import set_with

RATE = 16_000


def sides(*gains: float) -> np.ndarray:
    """One sound in several channels."""
    sound = np.random.default_rng(1).normal(0, 0.1, RATE // 2)
    return np.stack([gain * sound for gain in gains], axis=1)


@pytest.mark.parametrize(
    ("gains", "opposite"),
    [
        ((1, -1), 1),
        ((-0.9, 1), 1),
        ((1, 1), None),
        ((1, 0), None),
        ((0, 0), None),
        ((1, 0, 0, 0), None),
        ((1, -0.2), None),
    ],
)
def test_the_loudest_channel_is_taken_where_channels_cancel_each_other(
    tmp_path: Path, gains: tuple[float, ...], opposite: int | None
) -> None:
    soundfile.write(tmp_path / "a.wav", sides(*gains), RATE, subtype="FLOAT")
    (tmp_path / "set.jsonl").write_text('{"audio": "a.wav", "text": "one"}\n')
    found = load_audio(load_manifest(tmp_path / "set.jsonl").utterances[0])
    assert (found.opposite, found.mixed_down) == (opposite is not None, opposite is None)
    expected = sides(*gains).astype("f4")
    taken = (
        expected.mean(axis=1) if opposite is None else expected[:, int(np.argmax(np.abs(gains)))]
    )
    np.testing.assert_allclose(found.samples, taken, atol=1e-7)


def spoiled(root: Path) -> Path:
    """A project with every kind of sound: silent, of opposite channels, stereo, of another rate."""
    spec = make_project(
        root, SWEEP.replace("max_steps: 200", "max_steps: 200\n  warmup_steps: {values: [0, 300]}")
    )
    soundfile.write(root / "data" / "train-1.wav", np.zeros(8000), RATE)
    soundfile.write(root / "data" / "domain-0.wav", sides(1, -1), RATE)
    soundfile.write(root / "data" / "heldout-2.wav", sides(1, 0.5), RATE)
    soundfile.write(root / "data" / "confirm_domain-2.wav", sides(1)[:, 0], 22_050)
    return spec


def test_what_became_of_the_sound_is_said_with_count_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, data = spoiled(tmp_path), tmp_path / "data"
    silent = f"1 of 3 clips of train (33.3 %) are silent (rms below 1e-4) beside a text, e.g. {data}/train.jsonl:2."
    channels = "1 of 3 clips of domain (33.3 %) have channels that cancel each other when mixed"
    warm_up = "warmup_steps may be 300 where max_steps is 200"
    assert orchestrate("diagnose", spec) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"warn (silent): {silent}" in out and f"warn (opposite-phase): {channels}" in out
    assert f"warn (warmup): {warm_up}" in out
    assert "heldout 0 1 0" in out and "confirm_domain 1 0 0" in out, "the table of counts"
    for _ in range(2):
        assert orchestrate(spec, "parameters.warmup_steps={values: [0, 300]}") in (0, 4, 5)
    doubts = (
        capsys.readouterr()
        .out.rpartition("What the numbers cannot say")[2]
        .partition("\nBaseline")[0]
    )
    for each in (silent, channels, warm_up[1:]):
        assert "".join(each.split()) in "".join(doubts.split())
    notes = folder_of(spec).notes.read_text()
    assert (
        notes.count(
            f"of 3 clips of heldout 1 mixed down to one channel (e.g. {data}/heldout.jsonl:3)"
        )
        == 1
    )
    assert (
        notes.count(
            f"of 3 clips of confirm_domain 1 resampled to 16 kHz (e.g. {data}/confirm_domain.jsonl:3)"
        )
        == 1
    )
    assert silent in notes and channels in notes


@pytest.mark.parametrize("name", ["silent", "opposite-phase", "warmup"])
def test_they_can_be_ignored_by_name(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("diagnose", spoiled(tmp_path), f"checks.ignore=[{name}]") == 0
    assert f"ignored ({name})" in capsys.readouterr().out


def test_faults_of_all_sets_are_one_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, data = make_project(tmp_path), tmp_path / "data"
    (data / "train.jsonl").write_text("{broken\n")
    wrong = np.full(8000, np.nan)
    soundfile.write(data / "domain-1.wav", wrong, RATE, subtype="FLOAT")
    soundfile.write(data / "confirm_heldout-0.wav", np.zeros(8000), RATE)
    for command in ("run", "diagnose"):
        assert orchestrate(command, spec) == 2
        said = capsys.readouterr().err
        for place in ("train.jsonl:1", "domain.jsonl:2", "confirm_heldout.jsonl:1"):
            assert f"  {data}/{place}: " in said
        assert said.count("Correct or delete these lines, then run the same command again.") == 1


def test_references_of_which_nothing_is_left_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, path = make_project(tmp_path), tmp_path / "data" / "confirm_domain.jsonl"
    rows = [json.loads(line) | {"text": "[door]"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert orchestrate(spec) == 2
    said = capsys.readouterr().err
    assert (
        f"no reference of confirm_domain ({path}) has a word left by normalizer whisper-en, e.g. {path}:1"
        in said
    )


def test_terms_that_nobody_says_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(
        tmp_path, SWEEP.replace("evaluation: {", "evaluation: {terms: data/terms.txt, ")
    )
    (tmp_path / "data" / "terms.txt").write_text("squawk\n")
    assert orchestrate("diagnose", spec) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "refuse (terms): none of the 1 terms" in said
    assert orchestrate(spec) == 2
    assert capsys.readouterr().err.count("(terms)") == 2, "of domain and of confirm_domain"
    assert [CHECKS[name].level for name in ("terms", "high-wer")] == ["refuse", "warn"]


def test_a_model_that_hears_next_to_nothing_is_said(tmp_path: Path) -> None:
    spec = make_project(tmp_path)
    assert orchestrate(spec, "-q") in (0, 4, 5)
    baseline = conclude(load_spec(spec), folder_of(spec)).baseline
    assert baseline is not None
    deaf = {
        "domain": baseline.sets["domain"].model_copy(
            update={"deletions": baseline.sets["domain"].reference_words}
        )
    }
    [found] = high_rates(
        load_spec(spec), baseline.model_copy(update={"sets": deaf}), "the untuned model"
    )
    assert found.name == "high-wer" and "above 50 % a model may hear nothing" in found.message


def test_a_verdict_is_doubted_by_the_rate_that_the_search_minimises(tmp_path: Path) -> None:
    """In a language without spaces every sentence is a word, and most have an error."""
    path = make_project(tmp_path)
    assert orchestrate(path, "-q") in (0, 4, 5)
    spec, spaceless = load_spec(path), load_spec(path, ["metric={name: domain_cer}"])
    found = conclude(spec, folder_of(path))
    assert found.baseline is not None
    for counts, expected in (((9, 10, 8, 100), "WER of 90 %"), ((3, 10, 60, 100), "CER of 60 %")):
        sets = {"domain": set_with(*counts)}
        baseline = found.baseline.model_copy(update={"sets": sets})
        changed = replace(found, baseline=baseline, confirm_baseline=None)
        said = doubt(spec, changed), doubt(spaceless, changed)
        doubted = said[expected.startswith("CER")]
        assert f"DOUBTFUL: a {expected} says that" in doubted
        assert [each for each in said if each] == [doubted]
