"""`diagnose` of manifests without a sweep file: lengths, parts, and what a model makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ruamel.yaml import YAML

from orchestrator.corpus.sets.manifest_diagnosis import ManifestBaseline, diagnose_manifests
from orchestrator.reporting.documents import manifest_diagnosis
from orchestrator.reporting.rendering.markdown import render
from orchestrator.sweepfile.layers import holds_sweep
from tests.cli_project import SWEEP, make_project, orchestrate
from tests.embedded import DATA, SETS

RATE = 16_000


def written(folder: Path, name: str, seconds: list[float], speakers: int = 0) -> Path:
    rows = []
    for row, length in enumerate(seconds):
        noise = np.random.default_rng(row).normal(0, 0.1, int(length * RATE))
        soundfile.write(folder / f"{name}-{row}.wav", noise, RATE)
        speaker = {"speaker": f"s{row % speakers}"} if speakers else {}
        rows.append({"audio_filepath": f"{name}-{row}.wav", "text": f"number {row}"} | speaker)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_lengths_and_parts_of_every_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = written(tmp_path, "a", [1, 2, 6, 9, 12, 18, 25, 3, 4, 5], speakers=5)
    nameless = written(tmp_path, "b", [1.0] * 4)
    assert orchestrate("diagnose", named, nameless, "--validation", "0.25") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{named} 10 8.50 5 (50.0 %) 6 (60.0 %) 7 (70.0 %) 8 (80.0 %) 9 (90.0 %)" in out
    assert f"{nameless} 4 1.00 4 (100.0 %)" in out
    assert f"{named} 9 7 2 by speaker" in out
    assert f"{nameless} 4 3 1 random: lines name no two speakers" in out
    assert (
        f"{named}: 9 samples are left within 20 s; to train on fewer than 200, most trials memorise them."
        in out
    )
    first, _ = diagnose_manifests([named, nameless], 8.0, 0.25)
    assert (first.kept, first.train + first.validation, first.by) == (6, 6, "speaker")
    assert diagnose_manifests([nameless], 0.5, 0.25)[0].kept == 0


def test_one_line_without_a_speaker_is_said_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a", [1.0] * 6, speakers=3)
    path.write_text(path.read_text().replace(', "speaker": "s2"', "", 1))
    assert orchestrate("diagnose", path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "random: 1 of 6 lines name no speaker" in said and "no two speakers" not in said


def test_faults_of_all_manifests_are_said_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [written(tmp_path, name, [1.0]) for name in "ab"]
    for path in paths:
        path.write_text(path.read_text() + "{broken\n")
    assert orchestrate("diagnose", *paths) == 2
    error = capsys.readouterr().err
    assert all(f"  {path}:2: not valid JSON" in error for path in paths)


def test_a_model_is_measured_on_each_and_low_rates_are_flagged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manifest_diagnosis, "HEADROOM", 6.8)  # between the two
    heard = {name: tmp_path / f"{name}.jsonl" for name in ("domain", "heldout")}
    for name, path in heard.items():
        rows = [json.loads(line) for line in (DATA / SETS[name]).read_text().splitlines()[:12]]
        rows = [row | {"audio_filepath": str(DATA / row["audio_filepath"])} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (
        orchestrate("diagnose", *heard.values(), "--model", DATA / "base-model", "--sample", 8) == 0
    )
    out = " ".join(capsys.readouterr().out.split())
    assert f"Baseline WER of {DATA}/base-model" in out
    rates = {}
    for path in heard.values():
        rates[path] = float(
            out.partition("utterances heard")[2].partition(f"{path} ")[2].split()[0]
        )
        assert f"{path} {rates[path]:.2f} 8 0" in out
        assert (f"{path}: the model's WER is {rates[path]:.2f} %, below 6.8 %" in out) == (
            rates[path] < 6.8
        )
    assert min(rates.values()) < 6.8 < max(rates.values())


@pytest.mark.parametrize(
    ("wer", "said"), [(4.998, "4.998 %, below 5 %:"), (50.004, "50.004 %, above 50 %:")]
)
def test_a_rate_is_not_rounded_onto_what_it_is_said_to_be_beyond(
    wer: float, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "a", [1.0])
    baselines = {path: ManifestBaseline(wer, 1, 0, 0, 6.5)}
    found = diagnose_manifests([path], 20.0, 0.25)
    shown = render(manifest_diagnosis.build(found, 20.0, baselines, "a model", "basic"))
    assert f"a.jsonl: the model's WER is {said}" in shown
    assert f"a.jsonl | {wer} | 1 |" in " ".join(shown.split())


def test_transcripts_that_the_cap_cut_off_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as `transcribe` says of the same files."""
    rows = [json.loads(line) for line in (DATA / SETS["domain"]).read_text().splitlines()[:6]]
    rows = [row | {"audio_filepath": str(DATA / row["audio_filepath"])} for row in rows]
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    clips = [row["audio_filepath"] for row in rows]
    tight = tmp_path / "tight"
    shutil.copytree(DATA / "base-model", tight)
    (tight / "transcription.json").write_text('{"max_tokens_per_second": 4}')
    assert orchestrate("transcribe", tight, *clips) == 0
    count = capsys.readouterr().err.count("cut off at 4 tokens a second")
    assert 0 < count < len(rows)
    assert orchestrate("diagnose", path, "--model", tight) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"{path}: {count} of 6 transcripts were cut off at 4 tokens a second, and the" in out
    assert orchestrate("diagnose", path, "--model", DATA / "base-model") == 0
    assert "cut off" not in capsys.readouterr().out


def test_a_model_that_hears_nothing_is_flagged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.jsonl"
    rows = [json.loads(line) for line in (DATA / SETS["domain"]).read_text().splitlines()[:8]]
    texts = [str(row["text"])[::-1] for row in rows]
    rows = [
        {"audio_filepath": str(DATA / row["audio_filepath"]), "text": text}
        for row, text in zip(rows, texts, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert orchestrate("diagnose", path, "--model", DATA / "base-model") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "8 0 above 50 %" in out
        and f"{path}: the model's WER is " in out
        and "it may hear nothing of" in out
    )


def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a", [1.0])
    assert orchestrate("diagnose", path, "--train") == 2
    assert f"--train needs a sweep file, and {path} is a manifest" in capsys.readouterr().err
    assert orchestrate("diagnose", path, "--normalizer", "english") == 2
    assert "Allowed: whisper-en, basic, none." in capsys.readouterr().err
    assert orchestrate("diagnose", make_project(tmp_path), "--model", "x") == 2
    assert "a sweep file names its own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine.sweep", "mine.json"])
def test_a_sweep_file_is_known_by_what_it_holds(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "sweeps" / name
    fields = YAML(typ="safe").load(make_project(tmp_path))
    named.write_text(json.dumps(fields) if name.endswith(".json") else SWEEP)
    assert orchestrate("diagnose", named) == 0
    out = capsys.readouterr().out
    assert "Data of sweep demo" in out and "1 finding, 0 of which stop a sweep" in out


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "data": [{"audio": "x.wav", "text": "parameters"}]}',
        "parameters: said of a recording\nsecond: of another\n",
        "{",
    ],
)
def test_a_manifest_with_words_of_a_sweep_file_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(text)
    assert not holds_sweep(tmp_path / "list.json")


@pytest.mark.parametrize("option", ["--max-seconds", "--validation", "--normalizer"])
def test_options_of_manifests_are_refused_for_a_sweep(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_project(tmp_path)
    value = "basic" if option == "--normalizer" else "0.5"
    assert orchestrate("diagnose", spec, option, value) == 2
    assert capsys.readouterr().err == (
        f"{option} goes with manifests, and {spec} is a sweep\n  Leave it out, or name manifests.\n"
    )


def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, path = make_project(tmp_path), tmp_path / "data" / "train.jsonl"
    for named, other in ((spec, "--train"), (path, "--model")):
        assert orchestrate("diagnose", named, "--sample", 5) == 2
        assert capsys.readouterr().err == (
            f"--sample is the number of utterances that {other} transcribes\n"
            f"  Leave it out, or add {other}.\n"
        )
    assert orchestrate("diagnose", path, "--studies", tmp_path) == 2
    assert f"--studies goes with a sweep, and {path} is a manifest" in capsys.readouterr().err
    assert orchestrate("diagnose", "mine", "--studies", tmp_path) == 2
    assert f"there is neither a study mine in {tmp_path}" in capsys.readouterr().err
    assert orchestrate("table", spec, "--of", "trials", "--every-measurement") == 2
    assert capsys.readouterr().err == (
        "--every-measurement goes with --of utterances, and this is --of trials\n  Leave it out.\n"
    )


@pytest.mark.parametrize(
    ("text", "rules", "said"),
    [
        ("नमस्ते दुनिया", "whisper-en", "'नमस्ते दुनिया' counts as 'नमसत दन य'. For another language"),
        ("नमस्ते दुनिया", "basic", ""),
        ("左转航向", "basic", "are written without spaces between words; a WER takes"),
        ("turn left", "whisper-en", ""),
    ],
)
def test_a_wer_of_another_language_is_not_said_without_a_word(
    text: str, rules: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a", [1.0])
    path.write_text(json.dumps({"audio_filepath": "a-0.wav", "text": text}))
    options = ("--model", DATA / "base-model", "--normalizer", rules)
    assert orchestrate("diagnose", path, *options) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert said in out
    assert ("counts as" in out or "without spaces" in out) is bool(said)
    assert orchestrate("diagnose", path) == 0
    assert "without spaces" not in capsys.readouterr().out, "no WER was measured"


@pytest.mark.parametrize("words", [["diagnose", "."], ["manifest", "filter", "..", "out.jsonl"]])
def test_the_present_folder_is_no_manifest_and_the_command_that_makes_one_works(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "clips"
    (folder / "inside").mkdir(parents=True)
    written(folder, "a", [1.0]).unlink()
    (folder / "a-0.txt").write_text("turn left")
    monkeypatch.chdir(folder if "." in words else folder / "inside")
    assert orchestrate(*words) == 2
    command = capsys.readouterr().err.partition("is a folder: ")[2].split()
    assert command[-1] == "clips.jsonl"
    assert orchestrate(*command[1:]) == 0
    assert orchestrate("diagnose", "clips.jsonl") == 0
