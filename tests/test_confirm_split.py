"""`data.confirm: {split: ...}`: speakers kept from the search, from the sweep file to the
report.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.corpus.sets.confirm_split import load_evaluation_manifest
from orchestrator.errors import ManifestError
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.progress import listening
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.documents import report
from orchestrator.reporting.rendering import markdown
from orchestrator.sweepfile.loading import load_spec, resolved_yaml
from orchestrator.tuning import prepared_sweep
from orchestrator.tuning.worker import start_worker
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.confirming import confirmation_spec
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.embedded import ROOT, confirmed_sweep, run_to_end

DECLARED = "confirm: {domain: data/confirm_domain.jsonl, heldout: data/confirm_heldout.jsonl}"
SPLIT = SWEEP.replace(DECLARED, "confirm: {split: 0.4, seed: 2}")
SPEAKERS = 5


def write_set(root: Path, name: str, speakers: list[str], seed: int) -> Path:
    """Two clips a speaker, one after the other; an empty name is none."""
    rows = []
    for clip, speaker in enumerate(speakers * 2):
        audio = root / f"{name}-{clip}.wav"
        soundfile.write(audio, np.random.default_rng([seed, clip]).normal(0, 0.1, 8000), 16000)
        row = {
            "audio_filepath": audio.name,
            "text": f"sentence {clip} of {name}",
            "speaker": speaker,
        }
        rows.append(json.dumps({key: value for key, value in row.items() if value}) + "\n")
    path = root / f"{name}.jsonl"
    path.write_text("".join(rows))
    return path


def split_project(root: Path, sweep: str = SPLIT) -> Path:
    """A project whose domain and held-out set have five speakers each."""
    spec = make_project(root, sweep)
    for seed, name in enumerate(("domain", "heldout")):
        write_set(
            root / "data", name, [f"{name} {number}" for number in range(SPEAKERS)], 50 + seed
        )
    return spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = split_project(tmp_path_factory.mktemp("split"))
    assert orchestrate(spec, "--quiet") == 0
    return spec


def test_the_parts_are_those_of_manifest_split_and_share_no_speaker(tmp_path: Path) -> None:
    path = write_set(tmp_path, "set", [f"s{number}" for number in range(10)], 1)
    files = tmp_path / "confirm.jsonl", tmp_path / "search.jsonl"
    assert orchestrate("manifest", "split", path, "--out", *files, "--share", 0.3, "--seed", 7) == 0
    for part, written in zip(("confirm", "search"), files, strict=True):
        mine = load_evaluation_manifest(path, 0.3, 7, part)  # type: ignore[arg-type]
        assert {each.text for each in mine.utterances} == {
            each.text for each in load_manifest(written).utterances
        }
        assert [each.line for each in mine.utterances] == sorted(
            each.line for each in mine.utterances
        )
        assert mine.sha256 == load_manifest(path).sha256
    confirm, search = (
        load_evaluation_manifest(path, 0.3, 7, part) for part in ("confirm", "search")
    )
    assert len(confirm.utterances) == 6 and len(search.utterances) == 14
    assert not {each.speaker for each in confirm.utterances} & {
        each.speaker for each in search.utterances
    }
    assert confirm.part == "confirm part of a split by speaker (0.3, seed 7): 3 of 10 speakers"
    other = load_evaluation_manifest(path, 0.3, 8, "confirm")
    assert {each.speaker for each in other.utterances} != {
        each.speaker for each in confirm.utterances
    }


def test_however_small_the_share_nobody_is_left_out_and_no_part_is_empty(tmp_path: Path) -> None:
    path = write_set(tmp_path, "set", ["a", "b"], 1)
    for share in (1e-6, 0.5, 1 - 1e-6):
        parts = [
            load_evaluation_manifest(path, share, 0, part).utterances
            for part in ("search", "confirm")
        ]
        assert sorted(map(len, parts)) == [2, 2]


@pytest.mark.parametrize(
    ("speakers", "said"),
    [
        (["a"], "{0} has one speaker, 'a'; two parts need at least two\n"),
        (["a", ""], "2 of 4 lines of {0} name no speaker, the first is {0}:2\n"),
    ],
)
def test_a_set_that_cannot_be_divided_is_refused_with_the_way_on(
    tmp_path: Path, speakers: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = split_project(tmp_path)
    path = write_set(tmp_path / "data", "heldout", speakers, 9)
    for command in ((spec,), ("plan", spec), ("diagnose", spec)):
        assert orchestrate(*command) == 2
        error = capsys.readouterr().err
        assert error.startswith("data.confirm.split cannot divide a set: " + said.format(path))
        assert error.endswith("  Or name two manifests that the search does not read: "
                              "data.confirm: {domain: ..., heldout: ...}.\n")  # fmt: skip
    with pytest.raises(ManifestError):
        load_evaluation_manifest(path, 0.3)
    assert not folder_of(spec).results()


def test_the_study_keeps_which_lines_were_searched_and_which_confirm(finished: Path) -> None:
    folder = folder_of(finished)
    sets = folder.sets()
    assert list(sets) == ["train", "domain", "heldout", "confirm_domain", "confirm_heldout"]
    for name in ("domain", "heldout"):
        search, confirm = sets[name], sets[f"confirm_{name}"]
        path = finished.parents[1] / "data" / f"{name}.jsonl"
        by_line = {each.line: each.speaker for each in load_manifest(path).utterances}
        assert (
            sorted((*search.lines, *confirm.lines)) == sorted(by_line) and len(confirm.lines) == 4
        )
        assert not {by_line[line] for line in search.lines} & {
            by_line[line] for line in confirm.lines
        }
        assert search.manifest == confirm.manifest == f"data/{name}.jsonl"
        assert search.sha256 == load_manifest(path).sha256
        assert not set(search.audio_sha256) & set(confirm.audio_sha256)
        assert confirm.part == "confirm part of a split by speaker (0.4, seed 2): 2 of 5 speakers"
    assert "confirm: {split: 0.4, seed: 2}" in (folder.path / "spec.yaml").read_text()


def test_the_search_has_the_one_part_and_every_confirmation_run_the_other(finished: Path) -> None:
    folder = folder_of(finished)
    spec = load_spec(folder.path / "spec.yaml")
    assert {source.part for source in spec.data.evaluated.values()} == {"search"}
    assert {source.part for source in confirmation_spec(spec).data.evaluated.values()} == {
        "confirm"
    }
    plan, run = folder.read_plan(0), folder.read_plan(-1)
    assert plan and run and TrialPlan.model_validate_json(run.model_dump_json()) == run
    assert {source.part for source in plan.data.evaluated.values()} == {"search"}
    assert {source.part for source in run.data.evaluated.values()} == {"confirm"}
    assert run.recipe != run.model_copy(update={"data": plan.data}).recipe
    assert len(folder.confirmations()) == 2
    assert len(json.loads((folder.path / "baseline.json").read_bytes())) == 2, (
        "two evaluations, two baselines"
    )


def test_a_finished_study_stays_as_it_is(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [(result.number, result.wer) for result in folder_of(finished).confirmations()]
    assert orchestrate(finished) == 0
    out = capsys.readouterr().out
    assert "confirmation run" not in out and before == [
        (r.number, r.wer) for r in folder_of(finished).confirmations()
    ]
    assert (
        "The confirm sets are split off domain and heldout by speaker: about 40 % of the utterances"
        in out
    )
    assert orchestrate(finished, "data.confirm.split=0.5") == 3
    assert "data.confirm.split  0.4    0.5" in capsys.readouterr().err


def test_the_record_of_runs_names_the_part(finished: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.md"
    assert orchestrate(finished, "--quiet", "--record", record) == 0
    assert ", search part, split 0.4, seed 2)" in record.read_text()


def test_plan_and_diagnose_show_the_parts(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert orchestrate("plan", finished) == 0
    out = capsys.readouterr().out
    assert (
        "confirm sets are split off domain and heldout by speaker: about 40 % of the utterances of each, seed 2"
        in (" ".join(out.split()))
    )
    assert (
        "with the 6 utterances of heldout." in out
        and "with the 4 utterances of confirm_heldout." in out
    )
    assert orchestrate("diagnose", finished) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "domain is the search part of a split by speaker (0.4, seed 2): 3 of 5 speakers" in out
    assert (
        "confirm_heldout is the confirm part of a split by speaker (0.4, seed 2): 2 of 5 speakers"
        in out
    )


def test_one_sound_under_two_speakers_is_a_leak_between_the_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = split_project(tmp_path)
    clips = sorted((tmp_path / "data").glob("domain-*.wav"))
    for clip in clips:
        clip.write_bytes(clips[0].read_bytes())
    assert orchestrate(spec) == 2
    assert (
        "4 of 4 utterances of confirm_domain (100.0 %) are in domain too" in capsys.readouterr().err
    )


def test_a_manifest_that_grew_cannot_move_searched_speakers_into_the_confirm_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = split_project(tmp_path)
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    kept = folder_of(spec).sets()
    write_set(
        tmp_path / "data", "domain", [f"domain {number}" for number in range(SPEAKERS + 2)], 50
    )
    capsys.readouterr()
    assert orchestrate(spec) == 3
    error = capsys.readouterr().err
    assert error == (
        "data of study demo have changed since its trials were trained and measured:\n"
        "  data/domain.jsonl (domain): 6 utterances then, 8 now\n"
        "  data/domain.jsonl (confirm_domain): 4 utterances then, 6 now\n"
        "  Put the data back, or begin a new study with --fork NAME.\n"
    )
    assert folder_of(spec).sets() == kept
    write_set(tmp_path / "data", "domain", [f"domain {number}" for number in range(SPEAKERS)], 50)
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    assert len(folder_of(spec).results()) == 5


def test_speech_that_an_earlier_search_measured_is_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = split_project(tmp_path, SWEEP)
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    split = ("data.confirm={split: 0.4}", "budget.trials=2")
    capsys.readouterr()
    assert orchestrate(spec, *split, "--fork", "second") in (0, 4, 5)
    out = capsys.readouterr().out
    message = (
        f"4 of 4 utterances of confirm_domain ({tmp_path / 'data' / 'domain.jsonl'}) were measured by the search of "
        "study demo"
    )
    assert message in " ".join(out.partition("What the numbers cannot say")[2].split())
    folder = folder_of(spec, "second")
    assert [each.name for each in folder.findings()].count("confirm-used") == 2
    assert message in folder.notes.read_text()
    assert orchestrate("diagnose", spec, *split, "name=second") == 0
    assert "warn (confirm-used): 4 of 4" in capsys.readouterr().out


def test_the_same_split_again_is_not_doubted_and_another_seed_is(tmp_path: Path) -> None:
    spec = split_project(tmp_path)
    for options in ((), ("--fork", "same"), ("--fork", "other", "data.confirm.seed=5")):
        assert orchestrate(spec, "--quiet", "budget.trials=2", *options) in (0, 4, 5)
    assert "confirm-used" not in {
        each.name for name in ("demo", "same") for each in folder_of(spec, name).findings()
    }
    assert "confirm-used" in {each.name for each in folder_of(spec, "other").findings()}


def test_a_study_that_never_measured_anything_used_nothing(tmp_path: Path) -> None:
    spec = split_project(tmp_path, SWEEP)
    assert orchestrate(spec, "--quiet", "budget.trials=2") in (0, 4, 5)
    study = folder_of(spec)
    for path in (*study.path.glob("*.json*"), *study.path.glob("trials")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    study.write_spec(resolved_yaml(load_spec(spec)))  # as one that stopped before its baseline
    assert orchestrate(
        spec, "--quiet", "budget.trials=2", "data.confirm={split: 0.4}", "--fork", "b"
    ) in (0, 4, 5)
    assert "confirm-used" not in {each.name for each in folder_of(spec, "b").findings()}


def test_the_seed_is_filled_in_and_the_resolved_file_says_the_same(tmp_path: Path) -> None:
    path = split_project(tmp_path, SWEEP.replace(DECLARED, "confirm: {split: 0.4}"))
    spec = load_spec(path)
    assert spec.data.confirm and spec.data.confirm.seed == 0
    (tmp_path / "sweeps" / "again.yaml").write_text(resolved_yaml(spec))
    assert load_spec(tmp_path / "sweeps" / "again.yaml") == spec


def test_a_split_takes_the_place_of_manifests_in_an_extended_file(tmp_path: Path) -> None:
    split_project(tmp_path, SWEEP)
    upper = tmp_path / "sweeps" / "upper.yaml"
    upper.write_text(
        "extends: demo.yaml\ndata: {confirm: {domain: null, heldout: null, split: 0.4}}\n"
    )
    confirm = load_spec(upper).data.confirm
    assert confirm and (confirm.domain, confirm.heldout, confirm.split, confirm.seed) == (
        None,
        None,
        0.4,
        0,
    )


@pytest.mark.usefixtures("without_model_checks")
def test_a_real_search_and_its_confirmation_hear_different_speakers(tmp_path: Path) -> None:
    spec = confirmed_sweep(tmp_path)
    folder = StudyFolder(tmp_path / "studies", spec.name)
    run_to_end(spec, folder)
    [trial], [run] = (m for m in (folder.read_measurements(0)[-1:], folder.read_measurements(-1)))
    assert trial.fingerprint != run.fingerprint
    for name in ("domain", "heldout"):
        search, confirm = trial.sets[name], run.sets[f"confirm_{name}"]
        everybody = load_manifest(getattr(spec.data, name)).utterances
        assert sorted((*search.utterance_ids, *confirm.utterance_ids)) == sorted(
            each.id for each in everybody
        )
        assert (
            search.speakers
            and confirm.speakers
            and not set(search.speakers) & set(confirm.speakers)
        )
    page = markdown.render(
        report.build(spec, folder, conclude(spec, folder), ["s.yaml"], done=True)
    )
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "recompute.py", folder.path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if line.startswith("baseline: "):
            name, wer, _ = line.removeprefix("baseline: ").split()
            assert f"| {name} | {wer} |" in page.replace("\\_", "_")


@pytest.mark.parametrize("declared", ["split", "manifests"])
def test_findings_and_work_of_a_confirmation_name_the_confirm_sets(
    declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its measurements the search's sets, as the confirmation asks for them."""
    tight = ("evaluation.max_tokens_per_second=1", "checks.ignore=[token-cap]")
    spec = confirmed_sweep(tmp_path, *tight)
    if declared == "manifests":
        sets = f"data.confirm={{domain: {spec.data.domain}, heldout: {spec.data.heldout}}}"
        finalists = "confirm={top: 1, seeds: [101]}"
        spec = load_spec(tmp_path / "sweep.yaml", [sets, finalists, *tight])
    monkeypatch.setattr(prepared_sweep, "check_model", lambda *_: [])
    for each, prefix in ((spec, ""), (confirmation_spec(spec), "confirm_")):
        work: set[str] = set()
        with listening(lambda what, *_, work=work: work.add(what)):
            worker = start_worker(each, tmp_path / "cache")
            heard = worker.measure_baseline().measurements[0]
        names = {f"{prefix}domain", f"{prefix}heldout"}
        assert {f"{what} {name}" for what in ("encoding", "hearing") for name in names} <= work
        assert set(heard.sets) == {"domain", "heldout"}
        found = [each.message for each in worker.findings if each.name == "token-cap"]
        named = {message.partition("references of ")[2].partition(" ")[0] for message in found}
        assert names <= named and (not prefix or named == names)
