"""A reader recomputes the report of a real study with jiwer and numpy alone, in two scripts of 30
lines.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import report
from orchestrator.reporting.rendering import markdown
from orchestrator.reporting.wording import percent, points
from orchestrator.scoring.rates import SetScore, estimate
from orchestrator.sweepfile.loading import load_spec
from orchestrator.verdicts.concluding import conclude
from tests.embedded import ROOT, cut_manifest, run_to_end, small_sweep

pytestmark = pytest.mark.usefixtures("without_model_checks")

CLIPS = 6
BOUNDS = r"([+-]\d+\.\d\d) to ([+-]\d+\.\d\d)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFolder, str]:
    """Two trials and their confirmation on real audio, and the report as Markdown."""
    root = tmp_path_factory.mktemp("recomputed")
    sets = {name: cut_manifest(f"confirm_{name}", CLIPS, root) for name in ("domain", "heldout")}
    small_sweep(
        root,
        {"train": 8, "domain": CLIPS, "heldout": CLIPS},
        parameters={"learning_rate": {"min": 1e-3, "max": 1e-2}, "max_steps": 3, "batch_size": 2},
        guardrails={"heldout_wer": {"max_regression": 50}},
        budget={"trials": 2},
    )
    sweep = root / "sweep.yaml"
    confirm = f"data.confirm={{domain: {sets['domain']}, heldout: {sets['heldout']}}}"
    spec = load_spec(sweep, [confirm, "confirm={top: 2, seeds: [101, 102]}"])
    folder = StudyFolder(root / "studies", spec.name)
    run_to_end(spec, folder)
    text = markdown.render(
        report.build(spec, folder, conclude(spec, folder), ["s.yaml"], done=True)
    )
    return folder, text.replace("\\_", "_")


def recomputed(script: str, folder: StudyFolder) -> str:
    code = (ROOT / "docs" / script).read_text()
    lines = [line for line in code.split('"""')[2].splitlines() if line.strip()]
    assert len([line for line in lines if not line.startswith(("import ", "from "))]) <= 30
    assert not re.search(r"^(import|from) orchestrator", code, re.M)
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / script, folder.path],
        capture_output=True,
        text=True,
        cwd=folder.path,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_wer_and_every_change_follows_from_what_was_heard(
    study: tuple[StudyFolder, str],
) -> None:
    folder, text = study
    out = recomputed("recompute.py", folder)
    found = {
        (who, name): (wer, change)
        for who, name, wer, change in re.findall(
            r"^([\w ]+): (\w+) ([\d.]+) \(([+-][\d.]+)\)$", out, re.M
        )
    }
    for name in ("domain", "heldout", "confirm_domain", "confirm_heldout"):
        assert f"| {name} | {found['baseline', name][0]} | {CLIPS} |" in text
    for result in folder.results():
        cells = [
            "{} ({})".format(*found[f"trial {result.number}", name])
            for name in ("domain", "heldout")
        ]
        assert f"| {result.number} | {result.state} | {cells[0]} | {cells[1]} |" in text.replace(
            "-0.00", "+0.00"
        )
    for number in {result.params["trial"] for result in folder.confirmations()}:
        assert f"| {found[f'trial {number}', 'confirm_domain'][0]} |" in text


def test_every_bound_follows_from_the_counts(study: tuple[StudyFolder, str]) -> None:
    folder, text = study
    out = recomputed("recompute_bounds.py", folder)
    again = [tuple(map(float, pair)) for pair in re.findall(BOUNDS, out)]
    reported = [tuple(map(float, pair)) for pair in re.findall(rf"\| {BOUNDS} \|", text)]
    assert len(reported) >= 4
    for low, high in reported:
        # Student's quantile is drawn there and exact here: a hundredth in the last place.
        assert any(abs(low - a) <= 0.021 and abs(high - b) <= 0.021 for a, b in again), (
            low,
            high,
            out,
        )


def test_a_finalist_that_failed_shares_the_error(
    study: tuple[StudyFolder, str], tmp_path: Path
) -> None:
    folder, _ = study
    copy = StudyFolder(tmp_path, "copy")
    shutil.copytree(folder.path, copy.path)
    gone, other = sorted({result.params["trial"] for result in folder.confirmations()})
    for path in copy.path.glob("confirm/*/result.json"):
        result = json.loads(path.read_text())
        if result["params"]["trial"] == gone:
            path.write_text(json.dumps(result | {"wer": {}}))
    whole, failed = (
        [
            line
            for line in recomputed("recompute_bounds.py", each).splitlines()
            if "confirm_" in line
        ]
        for each in (folder, copy)
    )
    assert failed == [line for line in whole if line.startswith(f"trial {other}:")] != []


def test_a_former_finalist_shares_no_error(study: tuple[StudyFolder, str], tmp_path: Path) -> None:
    """With a larger budget another trial may be the only finalist; the runs of the former one stay."""
    folder, _ = study
    copy = StudyFolder(tmp_path, "copy")
    shutil.copytree(folder.path, copy.path)
    copy.spec.write_text(copy.spec.read_text().replace("\n  top: 2\n", "\n  top: 1\n"))
    out = recomputed("recompute_bounds.py", copy)
    for finalist in conclude(stored_spec(folder, folder.path.parents[1]), folder).confirmed:
        assert finalist.verdict is not None
        [limit] = finalist.verdict.guardrails
        shown = re.search(f"trial {finalist.trial}: confirm_heldout {BOUNDS}", out)
        assert shown and limit.estimate is not None
        alone = limit.estimate.lower(0.95), limit.estimate.upper(0.95)
        assert [float(bound) for bound in shown.groups()] == pytest.approx(alone, abs=0.021)
        assert alone != pytest.approx((limit.lower, limit.upper), abs=0.1)


def test_a_rate_between_two_decimals_is_rounded_as_in_the_report(tmp_path: Path) -> None:
    """23 errors in 160 words are 14.375 %, of which a rate that is multiplied by 100 falls short."""
    manifest = tmp_path / "domain.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": "a.wav", "text": "alpha " * 160}) + "\n")
    sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
    study = tmp_path / "studies" / "study"
    trial = study / "trials" / "0000"
    trial.mkdir(parents=True)
    sets = {"domain": {"manifest": manifest.name, "sha256": sha256, "lines": [1]}}
    (study / "sets.json").write_text(json.dumps(sets))
    (study / "spec.yaml").write_text("evaluation:\n  normalizer: whisper-en\n")
    place = {"step": 1, "adapter_scale": 1.0}
    result = {"number": 0, "wer": {"domain": 14.375}, "params": {}, "duplicate_of": None} | place
    (trial / "result.json").write_text(json.dumps(result))
    row = {"fingerprint": "f" * 64, "sets": {"domain": {}}} | place
    (trial / "measurements.jsonl").write_text(json.dumps(row) + "\n")
    for path, words in (
        (study / f"hypotheses-baseline-{'f' * 12}.jsonl", 160 - 24),
        (trial / "hypotheses-1-1.0.jsonl", 160 - 23),
    ):
        path.write_text(json.dumps({"set": "domain", "hypothesis": "alpha " * words}) + "\n")
    assert recomputed("recompute.py", StudyFolder(tmp_path / "studies", "study")).splitlines() == [
        "baseline: domain 15.00 (+0.00)",
        f"trial 0: domain {percent(100 * 23 / 160)} ({points(-100 / 160)})",
    ]


def test_words_by_another_normaliser_are_not_counted(
    study: tuple[StudyFolder, str], tmp_path: Path
) -> None:
    """Its numbers would contradict the report."""
    folder = shutil.copytree(study[0].path, tmp_path / "phone")
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("normalizer: whisper-en", "normalizer: basic"))
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "recompute.py", folder], capture_output=True, text=True
    )
    assert done.stdout == ""
    assert done.stderr == "the words of phone are counted by another normaliser than whisper-en\n"


def test_small_sets_have_the_bounds_of_the_report_or_none(tmp_path: Path) -> None:
    """One utterance has no bounds, nor have several of which one holds all words. Of few utterances
    some resamples have no word.
    """
    sets = {"one": ((5,), (2,), (1,)), "silent": ((0, 5), (1, 1), (0, 1)),
            "few": ((0, 4, 0, 3), (1, 1, 0, 0), (0, 1, 0, 2))}  # fmt: skip
    measured: list[dict[str, Any]] = [{}, {}]
    for name, (words, *both) in sets.items():
        none = (0,) * len(words)
        for side, errors in zip(measured, both, strict=True):
            kinds = {"substitutions": errors, "deletions": none, "insertions": none}
            side[name] = {**kinds, "reference_words": words, "speakers": [""] * len(words)}
    row = {"step": 1, "adapter_scale": 1.0, "fingerprint": "f", "sets": measured[1]}
    trial = tmp_path / "study" / "trials" / "0000"
    trial.mkdir(parents=True)
    (tmp_path / "study" / "spec.yaml").write_text("name: study\nseed: 3\n")
    (tmp_path / "study" / "baseline.json").write_text(json.dumps({"f": {"sets": measured[0]}}))
    result = {"number": 0, "wer": {"one": 1.0}, "params": {}, "step": 1, "adapter_scale": 1.0}
    (trial / "result.json").write_text(json.dumps(result))
    (trial / "measurements.jsonl").write_text(json.dumps(row) + "\n")
    lines = recomputed("recompute_bounds.py", StudyFolder(tmp_path, "study")).splitlines()
    assert lines[:2] == ["trial 0: one -", "trial 0: silent -"]
    words, before, after = sets["few"]
    found = estimate(SetScore(before, words), SetScore(after, words), seed=3)
    assert found is not None
    shown = re.fullmatch(f"trial 0: few {BOUNDS}", lines[2])
    assert shown and [float(bound) for bound in shown.groups()] == pytest.approx(
        [found.lower(), found.upper()], rel=0.005
    )
