"""Exports and what is kept of them at their edges: links, missing folders, forms that nobody measured, names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from orchestrator.errors import ModelError, SpecError, StudyError
from orchestrator.records.adapter_owner import study_of_adapter
from orchestrator.records.base_weights import read_base_model
from orchestrator.records.shipping import ExportForm, ExportManifest
from orchestrator.records.transcription_settings import read_transcription
from orchestrator.reporting.cards.model_card import _differs_from_measured
from orchestrator.running.processor_files import FILES, copy_processor_files
from orchestrator.running.verifying import chosen_sets, name_of_export
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.model_folder import TOKENIZERS
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.verdicts.saved_adapters import check_if_kept
from tests.cli_project import SWEEP, folder_of, make_project, orchestrate, ran_project


def declared(folder: Path, **changes: object) -> Path:
    """A folder with the manifest of an export."""
    folder.mkdir(parents=True)
    values: dict[str, object] = {
        **{"form": "onnx", "quantized": "none", "sweep": "demo", "trial": 1, "step": 2},
        **{"adapter_scale": 1.0, "adapter_sha256": "a", "base_weights_sha256": "b"},
        **{"encoder_windows": "16,4", "windows_form": "stock", "rms": 0.075},
        **{"max_tokens_per_second": 6.5, "tokenizer_sha256": "c", "start": 1, "ends": (2,)},
        **{"multiple": 80, "cache_shape": (3, 3, 40), "files": {}},
    }
    manifest = ExportManifest.model_validate(values | changes)
    (folder / "export.json").write_text(manifest.model_dump_json())
    return folder


def test_an_export_is_known_by_its_content_whatever_path_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = declared(tmp_path / "x1" / "f")
    other = declared(tmp_path / "x2" / "f", windows_form="inclusive")
    names = {name_of_export(good), name_of_export(other)}
    assert len(names) == 2 and all(re.fullmatch(r"f [0-9a-f]{8}", name) for name in names)
    monkeypatch.chdir(good)
    assert name_of_export(Path()) == name_of_export(good)
    elsewhere = declared(tmp_path / "caf\udce9")  # bytes that are no UTF-8, and no text of a study
    assert re.fullmatch(r"caf  [0-9a-f]{8}", name_of_export(elsewhere))


@pytest.mark.parametrize("names", ["", ",", " "])
def test_a_list_of_no_sets_is_refused(names: str, tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path))
    with pytest.raises(SpecError, match=r"--sets names no set\n  Allowed: domain, heldout"):
        chosen_sets(spec, tuple(name for name in names.split(",") if name.strip()))


def test_an_export_leaves_a_link_that_leads_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ran_project(tmp_path / "project")
    link = tmp_path / "usb"
    link.symlink_to(tmp_path / "not mounted")
    assert orchestrate("export", spec, "--to", link) == 3
    assert f"{link} exists" in capsys.readouterr().err and link.is_symlink()


def test_an_adapter_is_not_exported_without_its_tokenizer(tmp_path: Path) -> None:
    model = ModelSpec(id=str(tmp_path / "model"))
    with pytest.raises(ModelError, match=r"is not there, .*\n  Put the folder back"):
        copy_processor_files(model, tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    copy_processor_files(model, tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()


def test_an_adapter_without_a_tokenizer_in_the_cache_of_the_hub_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on another machine than the one that ran the sweep."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    spec = ran_project(tmp_path / "project")
    assert orchestrate("export", spec, "--to", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    assert capsys.readouterr().err == (
        "no tokenizer lies beside the adapter, which load.py reads: this machine's cache has none of fake/model. "
        "Download it, then export again: hf download fake/model\n"
    )
    kept = tmp_path / "hub" / "models--fake--model"
    (kept / "snapshots" / "0").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0")
    (kept / "snapshots" / "0" / "tokenizer.json").write_text("{}")
    assert orchestrate("export", spec, "--to", tmp_path / "whole") == 0
    assert (tmp_path / "whole" / "tokenizer.json").is_file() and not capsys.readouterr().err


def test_every_file_that_makes_a_tokenizer_goes_with_an_adapter() -> None:
    assert set(TOKENIZERS) <= set(FILES)


def test_the_card_of_another_form_than_the_measured_says_so(tmp_path: Path) -> None:
    spec = load_spec(make_project(tmp_path))
    assert _differs_from_measured(spec, ExportForm("onnx", windows="stock")) == ""
    said = _differs_from_measured(spec, ExportForm("onnx", "int8", "inclusive"))
    assert "quantized (int8)" in said and "encoder windows are inclusive, and stock" in said


def test_the_adapter_folder_of_a_study_says_how_it_was_measured(tmp_path: Path) -> None:
    sweep = SWEEP.replace(
        "evaluation: {every: 100}",
        "evaluation: {every: 100, encoder_windows: inclusive, rms: 0.05, max_tokens_per_second: 9}",
    )
    spec = make_project(tmp_path, sweep)
    assert orchestrate(spec, "--quiet") in (0, 4, 5)
    adapter = folder_of(spec).adapter_folder(0)
    settings = read_transcription(adapter)
    assert settings.encoder_windows == "inclusive"
    assert (settings.rms, settings.max_tokens_per_second) == (0.05, 9)
    evaluations = folder_of(spec).path / "evaluations.json"
    weights = {parts.get("weights") for parts in json.loads(evaluations.read_bytes()).values()}
    assert {read_base_model(adapter).get("weights")} == weights
    assert read_transcription(tmp_path).encoder_windows == "stock"
    assert read_base_model(tmp_path) == {}


def test_an_export_within_the_folder_of_a_study_is_no_adapter_of_the_study(tmp_path: Path) -> None:
    folder = folder_of(ran_project(tmp_path))
    own = folder.adapter_folder(0)
    for place in (own, folder.final_folder(12345), folder.adapter_folder(-1)):
        found = study_of_adapter(place)
        assert found is not None and found.path == folder.path
    export = folder.path / "exports" / "both" / "trial-0"
    shutil.copytree(own, export)
    (export / "README.md").write_text("a card")
    assert study_of_adapter(export) is None
    check_if_kept(export)
    with pytest.raises(StudyError, match="was not written by a run of this study"):
        (own / "README.md").write_text("a card")
        check_if_kept(own)


def test_a_cap_on_tokens_is_a_finite_number(capsys: pytest.CaptureFixture[str]) -> None:
    for cap in ("inf", "1e9"):
        assert orchestrate("transcribe", "model", "a.wav", "--max-tokens-per-second", cap) == 2
        assert "1000" in capsys.readouterr().err
