"""Sweep files with what looks like a number, a space or a colon and is none; and models whose files
cannot be loaded, refused before anything is read.
"""

from __future__ import annotations

import json
import shlex
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.sweepfile.loading import load_spec
from orchestrator.sweepfile.model_folder import fault_of, model_problems
from orchestrator.sweepfile.sweep import ModelSpec
from tests.embedded import DATA


def refusal(tmp_path: Path, line: str) -> str:
    """What is said of a sweep file with this line among its parameters."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "version: 1\nname: small\nmodel: {id: some/model}\n"
        "data: {train: a.jsonl, domain: b.jsonl, heldout: c.jsonl}\n"
        f"parameters:\n  {line}\n  max_steps: 10\nbudget: {{trials: 1}}\n",
        encoding="utf-8",
    )
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("'1e-3'", "`1e-3` (in quotes it is text; take them away)"),
        ('"0.001"', "`0.001` (in quotes it is text; take them away)"),
        ("1e\u22123", "`1e\u22123` (it holds U+2212; write `1e-3` with a hyphen)"),
        ("1e\u20133", "`1e\u20133` (it holds U+2013; write `1e-3` with a hyphen)"),
        ("0,5", "`0,5` (write `0.5`, with a point)"),
        ("fast", "`fast`"),
    ],
)
def test_a_number_that_is_text_says_why(tmp_path: Path, written: str, said: str) -> None:
    found = refusal(tmp_path, f"learning_rate: {written}")
    assert f"small.yaml:6:18: learning_rate cannot be {said}; allowed: a number above 0" in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("learning_rate:\u00a01e-3", "line 6, column 17 holds U+00A0 (no-break space)"),
        ("learning_rate\uff1a 1e-3", "line 6, column 16 holds U+FF1A (fullwidth colon)"),
    ],
)
def test_what_only_looks_like_a_space_or_colon_is_named(
    tmp_path: Path, line: str, said: str
) -> None:
    assert f"{said}; write a plain one" in refusal(tmp_path, line)


Change = Callable[[Path], object]


def emptied(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def written(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def halved(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", weights[:8])
    (folder / "model.safetensors").write_bytes(weights[: 8 + size + 1000])


def without_a_part(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    parts = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(parts))


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FAULTS: dict[str, tuple[Change, str]] = {
    "no configuration": (emptied("config.json"), "has no config.json"),
    "a cut configuration": (written("config.json", b"{"), "has a config.json that is no JSON"),
    "another model": (
        written("config.json", b'{"model_type": "whisper"}'),
        "model_type `whisper`; only Moonshine is tuned here",
    ),
    "no weights": (emptied("model.safetensors"), "has no model.safetensors; copy it"),
    "a pointer": (written("model.safetensors", LFS), "a pointer of Git LFS (git lfs pull)"),
    "damaged weights": (written("model.safetensors", b"x" * 99), "it is damaged"),
    "half the weights": (halved, "has no whole model.safetensors: it has "),
    "a part is missing": (without_a_part, "has no whole b.safetensors: No such file"),
    "no tokenizer": (emptied("tokenizer.json"), "has no tokenizer.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_cannot_be_loaded_is_known_from_its_files(tmp_path: Path, fault: str) -> None:
    shutil.copytree(DATA / "base-model", tmp_path / "model")
    assert model_problems(ModelSpec(id=str(tmp_path / "model"))) == []
    change, said = FAULTS[fault]
    change(tmp_path / "model")
    (found,) = model_problems(ModelSpec(id=str(tmp_path / "model")))
    assert found.startswith(f"model.id: `{tmp_path / 'model'}` ") and said in found


def test_pickled_weights_are_rewritten_by_the_command_that_is_named(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "my model"
    shutil.copytree(DATA / "base-model", folder)
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    said = fault_of(str(folder))
    assert "pytorch_model.bin, a pickle, which can run code and is not opened" in said
    program, option, code = shlex.split(said.partition("safetensors: ")[2])
    assert (program, option) == (sys.executable, "-c"), "any other Python may lack transformers"
    exec(code, {})  # what the shell would hand to it
    assert fault_of(str(folder)) == ""
    rewritten = load_file(folder / "model.safetensors")
    assert all(torch.equal(rewritten[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model"])
def test_a_tokenizer_of_sentencepiece_needs_the_packages_that_read_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers says that tiktoken is missing, with which it cannot be read either."""
    folder = tmp_path / "model"
    shutil.copytree(DATA / "base-model", folder)
    (folder / name).write_bytes(b"")
    installed: set[str] = set()
    monkeypatch.setattr(
        "orchestrator.sweepfile.model_folder.find_spec",
        lambda module: True if module in installed else None,
    )
    assert fault_of(str(folder)) == "", "tokenizer.json is taken"
    (folder / "tokenizer.json").unlink()
    for package in ("sentencepiece", "google.protobuf"):
        said = fault_of(str(folder))
        assert f"has its tokenizer in {name} alone, which is read with sentencepiece" in said
        assert said.endswith(" -m pip install sentencepiece protobuf")
        installed.add(package)
    assert fault_of(str(folder)) == ""


@pytest.mark.parametrize("name", ["$HOME/m", "~/m", "models\\m", "a/b/c"])
def test_a_name_that_is_no_hub_id_is_refused(name: str) -> None:
    assert "is neither a folder that is there nor a hub id" in fault_of(name)
    assert fault_of("UsefulSensors/moonshine-tiny") == fault_of("gpt2") == ""


def test_a_folder_has_no_revision() -> None:
    (found,) = model_problems(ModelSpec(id=str(DATA / "base-model"), revision="v2"))
    assert found.startswith("model.revision: `v2` has no meaning for a folder")
    assert model_problems(ModelSpec(id="some/model", revision="v2")) == []


@pytest.mark.parametrize("beside", [(), ("config.json",), ("config.json", "model.safetensors")])
def test_an_adapter_is_no_model_alone_or_beside_one(
    tmp_path: Path, beside: tuple[str, ...]
) -> None:
    """Transformers loads the base that a stray adapter_config.json names, and puts it in."""
    folder, base = tmp_path / "adapter", DATA / "base-model"
    folder.mkdir()
    for name in (*beside, "tokenizer.json"):
        shutil.copy(base / name, folder)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(base)})
    )
    said = fault_of(str(folder))
    assert said.endswith("or merge the two: orchestrate export SPEC --format merged --to DIR")
    if len(beside) == 2:
        assert "holds an adapter beside the model" in said and "take its adapter_* files" in said
    else:
        assert f"is an adapter and no model; name its base, `{base}`, or" in said
        assert fault_of(str(base)) == "", "the base that is named"
