"""Models and adapters as they arrive damaged, cut off or in other forms: one sentence each, and no
pickle is opened.
"""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.errors import ModelError
from orchestrator.sweepfile.model_folder import fault_of
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters import peft_adapter as adapters
from orchestrator.tuning.adapters.merging import export_merged
from orchestrator.tuning.adapters.packed_linear import PackedLinear
from orchestrator.tuning.decoding import pseudo_labels as pseudo_labels
from orchestrator.tuning.decoding.audio_files import open_model
from orchestrator.tuning.model.base_model import load_base_model
from tests.embedded import DATA
from tests.tuning_models import params

CPU = torch.device("cpu")
NAMES = (
    "decoder.layers.0.self_attn.q_proj",
    "decoder.layers.0.self_attn.v_proj",
    "decoder.layers.1.self_attn.k_proj",
)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was opened')",))


def model_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(DATA / "base-model", folder)
    return folder


def write_adapter(folder: Path) -> None:
    linears = {name: PackedLinear(torch.nn.Linear(8, 8, bias=False)) for name in NAMES}
    adapter = adapters.initial_adapter(linears, NAMES, params(rank=2))
    adapters.export(linears, adapter, 1.0, ModelSpec(id=str(DATA / "base-model")), folder)


def refusal(act: Any) -> str:
    with pytest.raises(ModelError) as caught:
        act()
    said = str(caught.value)
    assert len(said) < 900 and "Traceback" not in said
    return said


def test_weights_cut_off_in_the_download_are_one_sentence(tmp_path: Path) -> None:
    folder = model_copy(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    for act in (
        lambda: load_base_model(ModelSpec(id=str(folder)), CPU),
        lambda: export_merged(ModelSpec(id=str(folder)), tmp_path, tmp_path / "out"),
    ):
        said = refusal(act)
        assert str(folder) in said and "cannot be loaded" in said


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (None, "no JSON object; copy it again"),
    ],
    ids=["pointer", "cut off"],
)
def test_a_damaged_file_beside_the_configuration_is_found_before_anything_is_loaded(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    folder = model_copy(tmp_path)
    assert fault_of(str(folder)) == ""
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert f"has a {name} that is" in fault_of(str(folder)) and said in fault_of(str(folder))
    large = b'{"a": "' + b"x" * 200_000
    for ending, fault in ((b'"}', ""), (b'"', "no JSON object")):
        (folder / name).write_bytes(large + ending)
        assert (fault in fault_of(str(folder))) if fault else fault_of(str(folder)) == ""


def test_a_configuration_of_another_size_is_one_sentence(tmp_path: Path) -> None:
    folder = model_copy(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"vocab_size": config["vocab_size"] + 8})
    )
    assert "config.json asks for" in refusal(
        lambda: load_base_model(ModelSpec(id=str(folder)), CPU)
    )


def test_a_pickled_model_is_not_opened(tmp_path: Path) -> None:
    folder = model_copy(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert "cannot be loaded" in refusal(lambda: load_base_model(ModelSpec(id=str(folder)), CPU))
    assert "cannot be loaded" in refusal(
        lambda: export_merged(ModelSpec(id=str(folder)), tmp_path, tmp_path / "out")
    )


def test_a_model_with_code_of_its_own_does_not_run_it(tmp_path: Path) -> None:
    folder = model_copy(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForSpeechSeq2Seq": "evil.Model"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('remote code ran')")
    refusal(lambda: load_base_model(ModelSpec(id=str(folder)), CPU))


def test_a_pickled_adapter_is_not_opened(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    (tmp_path / "a" / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert "is a pickle, which can run code and is not opened" in refusal(
        lambda: open_model(str(tmp_path / "a"), CPU)
    )


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "true", '"16"', "[" * 100_000])
def test_an_alpha_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    write_adapter(tmp_path / "a")
    place = tmp_path / "a" / "adapter_config.json"
    config = json.loads(place.read_text())
    config.pop("lora_alpha")
    place.write_text(json.dumps(config)[:-1] + f', "lora_alpha": {value}}}')
    assert "adapter_config.json is damaged" in refusal(lambda: open_model(str(tmp_path / "a"), CPU))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha_pattern", None),
        ("rank_pattern", None),
        ("bias", None),
        ("init_lora_weights", -1),
        ("trainable_token_indices", []),
        ("megatron_config", {"x": 1}),
    ],
)
def test_a_configuration_that_peft_cannot_read_is_one_sentence(
    tmp_path: Path, key: str, value: object
) -> None:
    write_adapter(tmp_path / "a")
    place = tmp_path / "a" / "adapter_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {key: value}))
    assert "does not fit" in refusal(lambda: open_model(str(tmp_path / "a"), CPU))


def test_an_adapter_cut_off_is_one_sentence(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a")
    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "does not fit" in refusal(lambda: open_model(str(tmp_path / "a"), CPU))


@pytest.mark.slow
def test_the_configuration_of_an_adapter_does_not_depend_on_the_process(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.faults.test_damaged_models import write_adapter; "
    code += "write_adapter(Path(sys.argv[1]))"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(
            command, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        )
    first, second = ((tmp_path / seed / "adapter_config.json").read_bytes() for seed in "12")
    assert first == second
    assert json.loads(first)["target_modules"] == sorted(f"model.{name}" for name in NAMES)


@pytest.mark.parametrize(
    "held", [b"", b"[[1, 2], [3", b"\xff\xfe", b'{"a": 1}', b"[" * 100_000, b'[["x"]]']
)
def test_a_damaged_cache_of_labels_is_made_again(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "labels.json").write_bytes(held)
    assert pseudo_labels._cached_labels(tmp_path / "labels.json") is None
