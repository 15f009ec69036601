"""`export` on a real study: best, final and merged, the same words in this program, in stock PEFT
and transformers.
"""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import peft
import pytest
import soundfile
import torch
import transformers
from huggingface_hub import ModelCard
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

from orchestrator.cli import main
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.cards.adapters_card import adapters_card
from orchestrator.reporting.documents.headline import doubt
from orchestrator.sweepfile.loading import load_spec
from orchestrator.tuning.model import base_model as stock_models
from orchestrator.tuning.model.identity import weights_sha256
from orchestrator.tuning.worker import start_worker
from orchestrator.verdicts.concluding import conclude
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate
from tests.embedded import DATA, small_sweep
from tests.test_cli_transcribe import CAP, stock_words

SIZES = {"train": 8, "domain": 2, "heldout": 1}


pytestmark = pytest.mark.usefixtures("without_model_checks")


@dataclass(frozen=True)
class Finished:
    """A study on the shipped model."""

    sweep: Path
    folder: StudyFolder
    clips: list[str]
    """Of the domain set, in its order."""

    def heard(self, number: int, step: int, scale: float) -> list[str]:
        """The words the study recorded for one measurement of a trial."""
        rows = self.folder.read_measurements(number)
        (row,) = (row for row in rows if (row.step, row.adapter_scale) == (step, scale))
        return list(self.folder.read_hypotheses(number, row)["domain"])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two lengths at a rate so high that words change at once and only get worse: the first trial
    has one rung, so its last measurement is its best one; the second is best at its first of
    three."""
    root = tmp_path_factory.mktemp("project")
    (root / "sweeps").mkdir()
    small_sweep(
        root / "sweeps",
        SIZES,
        method="grid",
        parameters={
            "learning_rate": 0.05,
            "max_steps": {"values": [4, 12]},
            "batch_size": 2,
            "scheduler": "constant",
            "adapter_scale": {"values": [0.35, 0.7], "after_training": True},
        },
        guardrails={},
        budget={"trials": 2},
    )
    sweep = root / "sweeps" / "sweep.yaml"
    assert run(sweep) in (0, 4, 5)
    clips = [
        json.loads(line)["audio_filepath"]
        for line in (root / "sweeps" / "domain.jsonl").read_text().splitlines()
    ]
    return Finished(sweep, StudyFolder(root / "studies", "small"), clips)


def run(sweep: Path, *options: str) -> int:
    """The command with the real worker; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(
            [str(sweep), "--quiet", *options],
            lambda spec, folder: start_worker(spec, folder.project_cache),
        )
    return int(ended.value.code or 0)


def export(study: Finished, to: Path, *options: str) -> Path:
    assert orchestrate("export", study.sweep, "--to", to, *options) == 0
    return to


def kept(study: Finished, number: int, final: bool) -> tuple[int, float]:
    """Step and scale of the adapter that is asked for, from the numbers on file: lowest domain WER
    first.
    """
    rows = study.folder.read_measurements(number)
    rows = tuple(row for row in rows if not final or row.step == rows[-1].step)
    chosen = min(
        rows,
        key=lambda row: (
            row.sets["domain"].wer,
            row.sets["heldout"].wer,
            row.step,
            row.adapter_scale,
        ),
    )
    return chosen.step, chosen.adapter_scale


def heard_by_transcribe(
    folder: Path, study: Finished, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    capsys.readouterr()
    assert orchestrate("transcribe", folder, *study.clips, *CAP) == 0
    return [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines()]


def heard_by_stock(model: Any, study: Finished) -> list[str]:
    return [stock_words(model.eval(), path) for path in study.clips]


def base_model() -> Any:
    return AutoModelForSpeechSeq2Seq.from_pretrained(DATA / "base-model")


@pytest.fixture(scope="module")
def untuned(study: Finished) -> list[str]:
    """What the base model hears."""
    return heard_by_stock(base_model(), study)


def test_the_study_has_trials_of_both_kinds(study: Finished) -> None:
    assert {kept(study, number, True) == kept(study, number, False) for number in (0, 1)} == {
        True,
        False,
    }
    assert all(kept(study, number, False)[1] != 1 for number in (0, 1))
    assert study.folder.final_folder(1).is_dir()


# The last adapter of trial 0 is its best one.
@pytest.mark.parametrize(
    ("number", "final"),
    [
        pytest.param(0, False, id="0-best", marks=pytest.mark.slow),
        pytest.param(0, True, id="0-final", marks=pytest.mark.slow),
        pytest.param(1, False, id="1-best", marks=pytest.mark.slow),
        pytest.param(1, True, id="1-final"),
    ],
)
def test_every_way_to_load_an_export_hears_the_words_that_the_study_recorded(
    study: Finished,
    untuned: list[str],
    number: int,
    final: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, scale = kept(study, number, final)
    recorded = study.heard(number, step, scale)
    assert recorded != untuned
    options = (str(number), *(["--final"] if final else []))
    adapter = export(study, tmp_path / "adapter", *options)
    assert (
        f"trial {number} of study small, step {step}, adapter scale {scale:g}, is in"
        in capsys.readouterr().out
    )
    assert (
        heard_by_stock(peft.PeftModel.from_pretrained(base_model(), str(adapter)), study)
        == recorded
    )
    assert heard_by_transcribe(adapter, study, capsys) == recorded
    merged = export(study, tmp_path / "merged", *options, "--merged")
    assert heard_by_stock(AutoModelForSpeechSeq2Seq.from_pretrained(merged), study) == recorded
    assert heard_by_transcribe(merged, study, capsys) == recorded


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text()


def kept_wers(study: Finished, number: int, step: int, scale: float) -> dict[str, float]:
    """Percent, as the study has them."""
    rows = study.folder.read_measurements(number)
    (row,) = (row for row in rows if (row.step, row.adapter_scale) == (step, scale))
    return {name: round(each.wer, 2) for name, each in row.sets.items()}


def assert_measured(folder: Path, wers: dict[str, float]) -> None:
    """The hub's own reading of the card finds these numbers."""
    every = ModelCard.load(folder / "README.md").data.eval_results or []
    found = [each for each in every if each.metric_type == "wer"]
    assert len(every) == 2 * len(found), "and a CER for each"
    assert {each.dataset_split: each.metric_value for each in found} == wers
    assert all(len(each.dataset_revision) == 64 for each in every)
    assert [each.dataset_type for each in found] == [f"sweeps/{name}.jsonl" for name in wers]


def test_the_card_says_which_adapter_it_is(study: Finished, tmp_path: Path) -> None:
    spec = load_spec(study.folder.path / "spec.yaml")
    conclusion = conclude(spec, study.folder)
    assert conclusion.best and conclusion.decision and conclusion.baseline
    best, (step, scale) = conclusion.best.number, kept(study, conclusion.best.number, False)
    card = card_of(export(study, tmp_path / "best"))
    assert (
        f"The adapter of the measurement that gave the trial its result: step {step}, adapter scale {scale:g}"
        in card
    )
    assert (
        f"Trial {best} of sweep small: {conclusion.decision}{doubt(spec, conclusion)}. The trial is COMPLETE"
        in card
    )
    assert "DOUBTFUL" in card, "a model made of noise hears nothing"
    assert "library_name: peft" in card
    assert ModelCard(card).data.get("base_model") is None, "a folder, and no model of the hub"
    assert_measured(tmp_path / "best", kept_wers(study, best, step, scale))
    for name, each in conclusion.baseline.sets.items():
        assert (
            f"| {name} | sweeps/{name}.jsonl | {len(each.errors)} | {sum(each.reference_words)} |"
            in card
        )
        assert each.manifest_sha256 in card
    assert "| train | sweeps/train.jsonl | - | - | - |" in card
    assert (
        "domain utterances cannot tell a change of" in card
        and "nothing about another domain" in card
    )
    assert "--rms 0.075 --max-tokens-per-second 13" in card
    assert "    budget:\n      trials: 2\n" in card
    assert str(study.sweep.parents[1]) not in card, "paths start at the project's folder"
    last, at = kept(study, 1, True)
    card = card_of(export(study, tmp_path / "final", "1", "--final", "--merged"))
    assert (
        f"The adapter of the trial's last measurement: step {last}, adapter scale {at:g}. The trial's result"
        in card
    )
    assert "Trial 1 of sweep small, its last measurement: no verdict on this adapter alone." in card
    assert_measured(tmp_path / "final", kept_wers(study, 1, last, at))
    assert "library_name: transformers" in card and "It is merged into the weights of" in card
    measured = {
        row.step: row for row in study.folder.read_measurements(1) if row.adapter_scale == at
    }[last]
    assert f"| domain WER | {measured.sets['domain'].wer:.2f} |" in card


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda data: data[: len(data) // 2], lambda data: b"", lambda data: None],
    ids=["flipped", "truncated", "emptied", "missing"],
)
def test_a_damaged_adapter_is_neither_exported_nor_heard(
    study: Finished,
    damage: Callable[[bytes], bytes | None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    studies = tmp_path / "studies"
    shutil.copytree(study.folder.path, studies / "small")
    folder = StudyFolder(studies, "small")
    for place, options in (
        (folder.adapter_folder(0), ("0",)),
        (folder.final_folder(1), ("1", "--final")),
    ):
        weights = place / "adapter_model.safetensors"
        data = damage(weights.read_bytes())
        weights.unlink() if data is None else weights.write_bytes(data)
        name = weights.relative_to(folder.path)
        for command in (
            ("export", study.sweep, *options, "--to", tmp_path / "x", "--studies", studies),
            (
                "export",
                study.sweep,
                *options,
                "--merged",
                "--to",
                tmp_path / "x",
                "--studies",
                studies,
            ),
            ("transcribe", place, *study.clips, *CAP),
        ):
            capsys.readouterr()
            assert orchestrate(*command) == 3
            said = capsys.readouterr()
            assert (
                f"  {name} {'is lost' if data is None else 'has been altered'}\n" in said.err
                and not said.out
            )
    assert not (tmp_path / "x").exists()


def test_a_base_that_was_replaced_is_not_taken_for_the_one_that_was_measured(
    study: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = export(study, tmp_path / "adapter", "0")
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in exported.iterdir())
    replaced = tmp_path / "base"
    shutil.copytree(DATA / "base-model", replaced)
    model = base_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[0] += 1e-3
    model.save_pretrained(replaced)
    config = json.loads((exported / "adapter_config.json").read_text())
    (exported / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(replaced)})
    )
    said = f"adapter {exported} was measured with other weights than {replaced} has"
    capsys.readouterr()
    assert orchestrate("transcribe", exported, study.clips[0], *CAP) == 2
    assert capsys.readouterr().err.startswith(f"{said}: as it is, it hears other words\n  Put the")
    assert orchestrate("transcribe", exported, study.clips[0], *CAP, "--base", replaced) == 0
    assert said in capsys.readouterr().err
    base = ("--base", DATA / "base-model")
    assert orchestrate("transcribe", exported, study.clips[0], *CAP, *base) == 0
    assert said not in capsys.readouterr().err
    (exported / "base_weights.json").write_text("{}")
    assert orchestrate("transcribe", exported, study.clips[0], *CAP, *base) == 2
    assert "base_weights.json is damaged: it must hold the sha256" in capsys.readouterr().err
    monkeypatch.setattr(stock_models, "weights_sha256", lambda model: "other")
    for options in (("--merged",), ()):
        assert orchestrate("export", study.sweep, "0", *options, "--to", tmp_path / "m") == 2
        assert "has other weights than the study was measured with" in capsys.readouterr().err
        assert not (tmp_path / "m").exists()


def changed_base(folder: Path, name: str) -> Path:
    """The base model with the same weights, of which one file says something else."""
    shutil.copytree(DATA / "base-model", folder)
    place = folder / name
    fields = json.loads(place.read_bytes())
    if name == "config.json":
        fields["encoder_config"]["sliding_windows"][0][1] += 1
    elif name == "generation_config.json":
        fields["eos_token_id"] = [2, 3]
    else:
        fields["added_tokens"][0]["lstrip"] = True
    place.write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_a_base_with_other_files_beside_its_weights_is_not_the_one_that_was_measured(
    name: str, study: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the authors of a model mend its files."""
    other = changed_base(tmp_path / "other", name)
    what = "tokenizer" if name == "tokenizer.json" else "configuration"
    capsys.readouterr()
    assert orchestrate(study.sweep, "--quiet", f"model.id={other}") == 2
    assert f"has another {what} than the study was measured with" in capsys.readouterr().err
    exported = export(study, tmp_path / "adapter", "0")
    said = (
        f"adapter {exported} was measured with another {what} than {other} has: as it is, it hears"
    )
    for kept in (exported, study.folder.adapter_folder(0)):
        asked = ("transcribe", kept, study.clips[0], *CAP, "--base")
        assert orchestrate(*asked, other) == 0
        assert said.replace(str(exported), str(kept)) in capsys.readouterr().err
        assert orchestrate(*asked, DATA / "base-model") == 0
        assert "was measured with another" not in capsys.readouterr().err
    place = exported / "adapter_config.json"
    config = json.loads(place.read_bytes()) | {"base_model_name_or_path": str(other)}
    place.write_text(json.dumps(config))
    assert orchestrate("transcribe", exported, study.clips[0], *CAP) == 2
    assert capsys.readouterr().err.startswith(f"{said} other words\n  Put the files back")


@pytest.mark.parametrize(
    ("digest", "what"),
    [("config_sha256", "another configuration"), ("tokenizer_sha256", "another tokenizer")],
)
def test_nothing_is_exported_from_a_base_with_other_files_beside_its_weights(
    digest: str,
    what: str,
    study: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ("export", study.sweep, "0", "--to", tmp_path / "m")
    monkeypatch.setattr(stock_models, digest, lambda _: "other")
    for options in (("--merged",), ()):
        assert orchestrate(*asked, *options) == 2
        assert f"has {what} than the study was measured with" in capsys.readouterr().err
        assert not (tmp_path / "m").exists()
    # the default of another version of transformers may be another, and so the digest
    monkeypatch.setattr(transformers, "__version__", "5.0.0")
    assert orchestrate(*asked) == 0


def test_a_finished_study_takes_no_other_model_for_its_own(
    study: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(DATA / "base-model", moved)
    shutil.copytree(DATA / "base-model", other)
    model = base_model()
    with torch.no_grad():
        model.get_input_embeddings().weight[0] += 1e-3
    model.save_pretrained(other)
    kept = study.folder.spec.read_bytes()
    assert orchestrate(study.sweep, "--quiet", f"model.id={other}") == 2
    assert "has other weights than the study was measured with" in capsys.readouterr().err
    assert study.folder.spec.read_bytes() == kept
    assert orchestrate(study.sweep, "--quiet", f"model.id={moved}") in (0, 4, 5)
    assert orchestrate(study.sweep, "--quiet") in (0, 4, 5)
    assert study.folder.spec.read_bytes() == kept


@pytest.mark.parametrize("options", [(), ("--merged",)])
def test_what_is_needed_to_hear_travels_with_the_model(
    study: Finished, tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    to = export(study, tmp_path / "out", "0", *options)
    evaluation = load_spec(study.sweep).evaluation
    kept = json.loads((to / "transcription.json").read_text())
    heard_with = {"rms": evaluation.rms, "max_tokens_per_second": evaluation.max_tokens_per_second}
    assert kept == heard_with | {"encoder_windows": "stock"}
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        assert (to / name).is_file()
    again = AutoProcessor.from_pretrained(to)
    assert (
        again.tokenizer("turn left").input_ids
        == AutoProcessor.from_pretrained(DATA / "base-model").tokenizer("turn left").input_ids
    )
    capsys.readouterr()
    assert orchestrate("transcribe", to, *study.clips, "--device", "cpu") == 0
    heard = [line.partition("\t")[2] for line in capsys.readouterr().out.splitlines()]
    best = study.folder.read_result(0)
    assert best is not None and best.step is not None and best.adapter_scale is not None
    assert heard == study.heard(0, best.step, best.adapter_scale)


def test_the_script_beside_an_adapter_says_the_recorded_words(
    study: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    step, scale = kept(study, 0, False)
    folder = export(study, tmp_path / "adapter", "0")
    code = (folder / "load.py").read_text()
    shown = card_of(folder)
    assert all(line in shown for line in code.splitlines() if 'from_pretrained("' not in line)
    monkeypatch.setattr("sys.argv", ["load.py", str(folder), study.clips[0]])
    capsys.readouterr()
    runpy.run_path(str(folder / "load.py"))
    assert capsys.readouterr().out.splitlines()[-1] == study.heard(0, step, scale)[0]
    other = tmp_path / "other.wav"
    for rate, channels in ((8000, 1), (16000, 2)):  # would be heard as other words
        soundfile.write(other, np.full((rate, channels), 0.1), rate)
        monkeypatch.setattr("sys.argv", ["load.py", str(folder), str(other)])
        with pytest.raises(SystemExit, match=r"other\.wav is not of 16 kHz and one channel: ffm"):
            runpy.run_path(str(folder / "load.py"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Adapters of three kinds and ranks on three parts of one base."""
    root = tmp_path_factory.mktemp("three")
    (root / "sweeps").mkdir()
    points = [
        {"adapter": "lora", "rank": 4, "target_modules": "decoder-attention"},
        {"adapter": "dora", "rank": 2, "target_modules": "attention"},
        {"adapter": "pissa", "rank": 3, "target_modules": "decoder-mlp"},
    ]
    small_sweep(
        root / "sweeps",
        {"train": 8, "domain": 2, "heldout": 1},
        parameters={
            "learning_rate": 0.03,
            "max_steps": 4,
            "scheduler": "constant",
            "adapter_scale": {"values": [0.6], "after_training": True},
            **{
                name: {"values": list(dict.fromkeys(point[name] for point in points))}
                for name in points[0]
            },
        },
        start_with=points,
        guardrails={},
    )
    sweep = root / "sweeps" / "sweep.yaml"
    assert run(sweep) in (0, 4, 5)
    rows = (root / "sweeps" / "domain.jsonl").read_text().splitlines()
    clips = [json.loads(line)["audio_filepath"] for line in rows]
    return Finished(sweep, StudyFolder(root / "studies", "small"), clips)


def test_several_adapters_share_one_base_and_each_says_its_recorded_words(
    three: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = export(three, tmp_path / "all", "2", "0", "1")
    assert f"trial 2 of study small, step 4, adapter scale 0.6, is in {folder}/trial-2" in (
        capsys.readouterr().out
    )
    recorded = {f"trial-{number}": three.heard(number, 4, 0.6) for number in (2, 0, 1)}
    assert len({tuple(words) for words in recorded.values()}) == 3
    names = list(recorded)
    model: Any = peft.PeftModel.from_pretrained(
        base_model(), str(folder / names[0]), adapter_name=names[0]
    )
    for name in names[1:]:
        model.load_adapter(str(folder / name), adapter_name=name)
    for name in (*names, names[0]):
        model.set_adapter(name)
        assert heard_by_stock(model, three) == recorded[name]
    monkeypatch.setattr("sys.argv", ["load.py", str(folder), three.clips[0]])
    runpy.run_path(str(folder / "load.py"))
    said = capsys.readouterr().out.splitlines()[-3:]
    assert said == [f"{name}\t{words[0]}" for name, words in recorded.items()]


def test_the_base_of_several_adapters_is_loaded_once(
    three: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Mock(wraps=weights_sha256)
    monkeypatch.setattr(stock_models, "weights_sha256", digest)
    export(three, tmp_path / "all", "2", "0", "1")
    digest.assert_called_once()


def test_the_card_above_several_adapters_names_each_with_its_numbers(
    three: Finished, tmp_path: Path
) -> None:
    folder = export(three, tmp_path / "all", "0", "1")
    card, script = card_of(folder), (folder / "load.py").read_text()
    data = ModelCard.load(folder / "README.md").data.to_dict()
    assert (data["library_name"], data["pipeline_tag"]) == ("peft", "automatic-speech-recognition")
    assert all(line in card for line in script.splitlines() if '"' not in line)
    for number in (0, 1):
        wers = kept_wers(three, number, 4, 0.6)
        (row,) = (line for line in card.splitlines() if line.startswith(f"| trial-{number} |"))
        assert f"| 4 | 0.6 | {wers['domain']:.2f} |" in row and f"| {wers['heldout']:.2f} |" in row
        assert f"Trial {number} of sweep small" in card_of(folder / f"trial-{number}")


def test_the_card_above_several_adapters_has_no_path_outside_of_the_project(
    tmp_path: Path,
) -> None:
    spec = make_project(tmp_path, SWEEP.replace("fake/model", "data/base"))
    (tmp_path / "data" / "base").mkdir()
    sweep = load_spec(spec)
    conclusion = conclude(sweep, folder_of(spec))
    card = adapters_card(sweep, conclusion, (), tmp_path, done=True)
    assert 'from_pretrained("./data/base", ' in card and str(tmp_path) not in card
    assert ModelCard(card).data.get("base_model") is None, (
        "the hub refuses a card that names a path there"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("0", "1", "--merged"), "--format merged holds one whole model, and trials 0, 1 were"),
        (("0", "1", "--format", "onnx"), "--format onnx holds one whole model"),
        (("1", "0", "1"), "trial 1 is named twice"),
        (("0", "9"), "study small has no ended trial 9"),
    ],
)
def test_trials_that_one_folder_cannot_hold_are_refused(
    three: Finished,
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert orchestrate("export", three.sweep, *options, "--to", tmp_path / "x") in (2, 3)
    assert said in capsys.readouterr().err
    assert orchestrate("verify", three.sweep, "0", "1") == 2
    assert "verify hears one trial, and 0, 1 were named" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
