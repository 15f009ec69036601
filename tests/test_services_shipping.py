"""Exported graphs on a real study: the words that were measured, and planted differences found by
name.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.records.readiness import optional_packages
from orchestrator.records.shipping import Shipped, file_sha256, read_manifest
from orchestrator.records.store import StudyFolder
from orchestrator.running.verifying import name_of_export
from orchestrator.sweepfile.evaluation import EvaluationSpec
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.sweep import ModelSpec, SweepSpec
from orchestrator.tuning.model import base_model
from tests.cli_project import orchestrate
from tests.embedded import DATA, scaled, small_sweep
from tests.test_cli_export import run
from tests.tuning_models import clips_and_texts, small_model, tokenizer

for package in ("onnxruntime", "onnxscript", "moonshine_voice"):
    pytest.importorskip(package)
pytestmark = pytest.mark.services

from moonshine_voice.lora.export import export_checkpoint  # noqa: E402
from moonshine_voice.moonshine_api import ModelArch  # noqa: E402
from moonshine_voice.transcriber import Transcriber  # noqa: E402

from orchestrator.records.readiness.model_limits import token_caps  # noqa: E402
from orchestrator.tuning.decoding.greedy_decoding import transcribe  # noqa: E402
from orchestrator.tuning.deploying.moonshine_export import (  # noqa: E402
    read_tokenizer_bin,
    tokenizer_bin,
)
from orchestrator.tuning.deploying.runtime import hear, open_runtime  # noqa: E402
from orchestrator.tuning.deploying.writing import Source, wrapped, write_graphs  # noqa: E402
from orchestrator.tuning.model.encoder_cache import EncoderCache  # noqa: E402

CPU = torch.device("cpu")


class Study:
    """A small finished study, its words changed by training."""

    def __init__(
        self,
        root: Path,
        model: Path = DATA / "base-model",
        utterances: int = 8,
        precision: str = "fp32",
    ) -> None:
        self.model = model
        (root / "sweeps").mkdir()
        small_sweep(
            root / "sweeps",
            {"train": 24, "domain": utterances, "heldout": 4},
            model={"id": str(model)},
            evaluation={"every": 4, "max_tokens_per_second": 13, "precision": precision},
            method="grid",
            parameters={
                "learning_rate": 0.02,
                "max_steps": 6,
                "scheduler": "constant",
                "target_modules": "decoder-attention",
                "adapter_scale": {"values": [0.35, 0.7], "after_training": True},
            },
            guardrails={},
            budget={"trials": 1},
        )
        self.sweep = root / "sweeps" / "sweep.yaml"
        assert run(self.sweep) in (0, 4, 5)
        self.folder = StudyFolder(root / "studies", "small")

    def export(self, to: Path, *options: str) -> Path:
        assert orchestrate("export", self.sweep, "0", "--to", to, *options) == 0
        return to

    def verify(self, *options: object) -> int:
        return orchestrate("verify", self.sweep, "0", *options)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def version_1(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study on a model of version 1 with weights at random."""
    root = tmp_path_factory.mktemp("version-1")
    small_model("v1", torch.float32).save_pretrained(root / "model")
    tokenizer().save_pretrained(root / "model")
    return Study(root, root / "model")


@pytest.fixture(scope="module")
def exported(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Form -> its folder, untouched."""
    root = tmp_path_factory.mktemp("exported")
    return {form: study.export(root / form, "--format", form) for form in ("onnx", "moonshine")}


def test_a_base_that_was_replaced_is_not_verified(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(base_model, "weights_sha256", lambda model: "other")
    capsys.readouterr()
    assert study.verify("--runtime", "onnx") == 2
    assert "has other weights than the study was measured with" in capsys.readouterr().err
    assert "onnx/0" not in study.folder.shipped()


@pytest.mark.parametrize("form", ["onnx", "moonshine"])
def test_a_float32_form_says_what_was_measured(
    study: Study, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.verify("--runtime", form) == 0
    found = study.folder.shipped()[f"{form}/0"]
    assert set(found.sets) == {"domain", "heldout"}
    assert found.differences == () and found.unlike_record == 0
    assert all(each.margin is not None and each.margin < 1e-3 for each in found.other_words)
    assert found.encoder_apart < 1e-4 and found.logits_apart < 1e-3 and found.size_bytes > 5e6
    capsys.readouterr()
    assert orchestrate("report", study.sweep, "--format", "md") == 0
    report = capsys.readouterr().out
    assert "## What ships" in report and f"Form {form}, heard by onnxruntime" in report


def test_what_was_measured_in_bfloat16_is_measured_in_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(tmp_path, utterances=60, precision="bf16")
    study.verify("--runtime", "onnx")
    found = study.folder.shipped()["onnx/0"]
    monkeypatch.setattr(SweepSpec, "precision_of", lambda *_: "fp32")
    study.verify("--runtime", "onnx")
    other = study.folder.shipped()["onnx/0"]
    assert found.differences == other.differences == ()
    assert found.unlike_record < other.unlike_record  # bfloat16 rounds: a few may differ


def test_the_library_of_the_authors_hears_what_verify_hears(
    study: Study, exported: dict[str, Path], tmp_path: Path
) -> None:
    """Their own program, from the folder on disk, with voice detection off: a clip is one line."""
    folder = tmp_path / "device"
    shutil.copytree(exported["moonshine"], folder)
    command = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(folder)]
    subprocess.run(command, capture_output=True, check=True)
    manifest = read_manifest(folder)
    runtime = open_runtime(folder, manifest)
    options = {"vad_threshold": 0, "max_tokens_per_second": manifest.max_tokens_per_second}
    spec = load_spec(study.sweep)
    with Transcriber(folder, ModelArch.TINY_STREAMING, options=options) as transcriber:
        for utterance in load_manifest(spec.data.evaluated["domain"].path).utterances[:4]:
            samples = scaled(spec, utterance)
            heard = transcriber.transcribe_without_streaming(samples.tolist(), 16000)
            ours = hear(runtime, [samples], [len(samples) / 16000]).texts[0]
            assert [line.text for line in heard.lines] == [ours]


def test_int8_is_smaller_and_its_other_words_are_listed(study: Study) -> None:
    assert study.verify("--runtime", "onnx", "--quantize", "int8", "--sets", "domain") in (0, 4)
    found = study.folder.shipped()["onnx-int8/0/sets domain"]
    assert set(found.sets) == {"domain"} and found.differences == ()
    assert found.size_bytes < 5e6 and found.encoder_apart > 1e-4


def test_nothing_of_the_extra_is_loaded_without_a_flag(study: Study, tmp_path: Path) -> None:
    """The packages are here, and export, report and validate do without them."""
    names = sorted({name for needed in optional_packages.NEEDED.values() for name in needed})
    commands = [
        ["validate", str(study.sweep)],
        ["export", str(study.sweep), "0", "--to", str(tmp_path / "adapter")],
        ["export", str(study.sweep), "0", "--to", str(tmp_path / "merged"), "--merged"],
        ["report", str(study.sweep)],
    ]
    code = (
        "import sys\n"
        "import orchestrator.tuning.deploying.verification, orchestrator.tuning.worker\n"
        "from orchestrator.cli import main\n"
        f"for command in {commands}:\n"
        "    try:\n"
        "        main(command)\n"
        "    except SystemExit as ended:\n"
        "        assert ended.code in (None, 0, 4, 5), command\n"
        f"print(sorted({{*{names}}} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


def planted_cap(folder: Path, study: Study) -> None:
    rewrite(folder, max_tokens_per_second=3.0)


def planted_tokenizer(folder: Path, study: Study) -> None:
    """Two words change places."""
    place = folder / "tokenizer.json"
    if place.is_file():
        data = json.loads(place.read_bytes())
        words = data["model"]["vocab"]
        first, second = [word for word in words if word.startswith("\u2581") and len(word) > 4][:2]
        words[first], words[second] = words[second], words[first]
        place.write_text(json.dumps(data))
    else:
        tokens = read_tokenizer_bin((folder / "tokenizer.bin").read_bytes())
        tokens[300], tokens[301] = tokens[301], tokens[300]
        (folder / "tokenizer.bin").write_bytes(tokenizer_bin(tokens))
    rewrite(folder)


def planted_windows(folder: Path, study: Study) -> None:
    """The encoder as the other reading of its widths makes it; for the authors' runtime, what
    their exporter itself makes of the merged model.
    """
    other = folder.parent / "other"
    if (folder / "tokenizer.bin").is_file():
        merged = study.export(folder.parent / "merged", "--merged")
        export_checkpoint(merged, other, "encoder")
    else:
        study.export(other, "--format", "onnx", "--encoder-windows", "inclusive")
    shutil.copyfile(other / "encoder.onnx", folder / "encoder.onnx")
    rewrite(folder)


def planted_scale(folder: Path, study: Study) -> None:
    """The graphs of the trial's adapter at the other scale of the grid."""
    manifest = read_manifest(folder)
    own = manifest.adapter_scale or 1.0
    other, again = folder.parent / "adapter", folder.parent / "again"
    shutil.copytree(study.folder.adapter_folder(0), other)
    config = json.loads((other / "adapter_config.json").read_bytes())
    config["lora_alpha"] *= (0.7 if own == 0.35 else 0.35) / own
    (other / "adapter_config.json").write_text(json.dumps(config))
    again.mkdir()
    source = Source("small", ModelSpec(id=str(study.model)), EvaluationSpec(), "stock", other)
    write_graphs(source, manifest.form, "none", again)
    for graph in again.glob("*.onnx"):
        shutil.copyfile(graph, folder / graph.name)
    rewrite(folder)


def rewrite(folder: Path, **changes: Any) -> None:
    """A manifest that vouches for the files as they are now."""
    manifest = read_manifest(folder)
    files = {name: file_sha256(folder / name) for name in manifest.files}
    (folder / "export.json").write_text(
        manifest.model_copy(update={"files": files, **changes}).model_dump_json()
    )


PLANTED: dict[str, tuple[Callable[[Path, Study], None], str]] = {
    "cap": (planted_cap, "cap (evaluation.max_tokens_per_second): the export has 3.0"),
    "tokenizer": (planted_tokenizer, "tokenizer: the file beside the graphs is not the study's"),
    "windows": (planted_windows, "encoder windows: the graphs compute 16+4,16+0,16+0"),
    "scale": (planted_scale, "adapter: the graphs compute the adapter at scale"),
}


def of_folder(study: Study, form: str, folder: Path) -> Shipped:
    """What the study keeps of an exported folder that heard its domain set."""
    return study.folder.shipped()[f"{form}/0/{name_of_export(folder)}, sets domain"]


@pytest.mark.parametrize("form", ["onnx", "moonshine"])
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_difference_is_named(
    planted: str, form: str, study: Study, exported: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "planted"
    shutil.copytree(exported[form], folder)
    plant, said = PLANTED[planted]
    plant(folder, study)
    assert study.verify("--runtime", folder, "--sets", "domain") == 4
    (named,) = of_folder(study, form, folder).differences
    assert said in named


def test_version_1_is_verified_and_a_planted_scale_is_named(
    version_1: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert version_1.verify("--runtime", "onnx") == 0
    found = version_1.folder.shipped()["onnx/0"]
    assert found.differences == () and found.unlike_record == 0
    assert all(each.margin is not None and each.margin < 1e-3 for each in found.other_words)
    folder = version_1.export(tmp_path / "planted", "--format", "onnx")
    planted_scale(folder, version_1)
    assert version_1.verify("--runtime", folder, "--sets", "domain") == 4
    (named,) = of_folder(version_1, "onnx", folder).differences
    assert "adapter: the graphs compute the adapter at scale" in named
    capsys.readouterr()
    assert version_1.verify("--runtime", "moonshine") == 2
    assert "no exporter of Moonshine version 1" in capsys.readouterr().err


def test_what_an_export_says_of_itself_is_compared_and_its_files_are_checked(
    study: Study, tmp_path: Path
) -> None:
    folder = study.export(tmp_path / "x", "--format", "onnx", "--encoder-windows", "inclusive")
    with open(folder / "tokenizer_config.json", "a") as file:
        file.write("\n")
    assert study.verify("--runtime", folder, "--sets", "domain") == 4
    assert of_folder(study, "onnx", folder).differences == (
        "encoder windows: the export has 16+4,16+0,16+0, the study 15+3,15+0,15+0",
        "tokenizer_config.json is not the file that was exported",
    )


@pytest.mark.parametrize("family", ["streaming", "v1"])
def test_both_families_leave_as_graphs_that_say_the_same_words(family: str, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    small_model(family, torch.float32).save_pretrained(model)
    tokenizer().save_pretrained(model)
    source = Source("small", ModelSpec(id=str(model)), EvaluationSpec(), "stock")
    out.mkdir()
    runtime = open_runtime(out, write_graphs(source, "onnx", "none", out))
    clips, _ = clips_and_texts(6, seed=5)
    seconds = [len(clip) / 16000 for clip in clips]
    base = wrapped(source)
    store = EncoderCache(base.family, {"set": clips}, 1 << 28, CPU)
    expected = transcribe(base, store, "set", token_caps(seconds, 6.5), ())[0]
    heard = hear(runtime, clips, seconds)
    assert heard.decoded.tokens == expected.tokens and heard.decoded.truncated == expected.truncated
    assert list(heard.texts) == [base.text(tokens) for tokens in expected.tokens]


def test_of_an_adapter_of_the_decoder_only_the_graphs_that_change_leave(
    study: Study, tmp_path: Path
) -> None:
    folder = study.export(tmp_path / "x", "--format", "moonshine", "--changed-only")
    assert {path.name for path in folder.glob("*.onnx")} == {"cross_kv.onnx", "decoder_kv.onnx"}
    assert (folder / "tokenizer.bin").is_file() and (folder / "streaming_config.json").is_file()


def test_a_verdict_that_waits_for_what_ships(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweeps").mkdir()
    small_sweep(
        tmp_path / "sweeps",
        {"train": 24, "domain": 5, "heldout": 3},
        method="grid",
        parameters={"learning_rate": 0.02, "max_steps": 4},
        guardrails={},
        acceptance={"domain_wer": {"min_gain": 0.0}, "shipped": True},
        budget={"trials": 1},
    )
    sweep = tmp_path / "sweeps" / "sweep.yaml"
    assert orchestrate("validate", sweep) == 0
    assert run(sweep) in (0, 4, 5)
    assert "onnx/0" in StudyFolder(tmp_path / "studies", "small").shipped()
    capsys.readouterr()
    orchestrate("report", sweep)
    said = " ".join(capsys.readouterr().out.split())
    assert "what ships (onnx): Every limit that holds as measured holds in this form" in said
