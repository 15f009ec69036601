"""Checks of a model's name and of the files in its folder before anything is loaded: a
configuration of a known kind, complete weights, a tokenizer. Imports neither torch nor
transformers.

Format of the weights (https://huggingface.co/docs/safetensors): 8 bytes with the header's length, a
JSON header with the place of every tensor, and the tensors.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator.sweepfile.located_nodes import in_backticks
from orchestrator.sweepfile.sweep import ModelSpec

MODEL_TYPES = ("moonshine", "moonshine_streaming")
"""Values of `model_type` in config.json that are supported."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WEIGHTS, _INDEX, _PICKLE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)
_PIECES = ("tokenizer.model", "spiece.model")
"""Tokenizers of SentencePiece, which transformers reads with two further packages."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", *_PIECES)
"""Files from which transformers makes a tokenizer, alone or with others."""
_FURTHER_JSON = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
    *("generation_config.json", "preprocessor_config.json", "processor_config.json"),
)
"""Files beside config.json that hold a JSON object where a model has them."""
_DTYPES = ("float32", "float16", "bfloat16", "float64", "auto")
"""Values of `dtype` in config.json that a model can be loaded with."""
_LARGEST_READ = 100_000
"""Most bytes of a JSON file that is read whole."""
_LFS = b"version https://git-lfs"
_NO_SAFETENSORS = "it is damaged or no safetensors file"
_LARGEST_HEADER = 100_000_000
"""Most bytes of a header; safetensors itself accepts no more."""


def model_problems(model: ModelSpec) -> list[str]:
    """Return the problems, one line each, that keep a run from using its model. Of a hub id only
    the form of the name is checked.
    """
    if os.path.isabs(model.id) and not os.path.exists(model.id):
        return [
            f"model.id: there is no folder {in_backticks(Path(model.id))}; put the model there or give a hub id"
        ]
    found = (
        [f"model.id: {in_backticks(Path(model.id))} {fault}"]
        if (fault := fault_of(model.id))
        else []
    )
    if os.path.isdir(model.id) and model.revision != "main":
        found.append(
            f"model.revision: {in_backticks(model.revision)} has no meaning for a folder, whose files are taken as "
            "they are; remove it, or give a hub id"
        )
    return found


def fault_of(name: str) -> str:
    """Say why a folder is no model that can be loaded, or a name no hub id, as the rest of a
    sentence that begins with the name, and with the next step; empty where nothing is wrong.
    """
    if os.path.isdir(name):
        return next(_folder_faults(Path(name)), "")
    if os.path.isfile(name):
        return f"is a file; name its folder, {Path(name).parent}"
    if not _HUB_ID.fullmatch(name):
        return (
            "is neither a folder that is there nor a hub id, such as UsefulSensors/moonshine-tiny"
        )
    return ""


def lasting_fault_of(folder: Path) -> str:
    """Say why a folder that may still be incomplete, such as one of the hub's cache, can never
    become a model that can be loaded; empty where nothing is wrong with the files that are there.
    """
    faults = [*_closed_files(folder), *_configuration_faults(folder / "config.json")]
    if (folder / _WEIGHTS).exists() and (why := _damage(folder / _WEIGHTS)):
        faults.append(f"has no whole {_WEIGHTS}: {why}; delete that folder")
    return next(iter(faults), "")


def _folder_faults(folder: Path) -> Iterator[str]:
    yield from _closed_files(folder)
    yield from _adapter_faults(folder)
    if not (folder / "config.json").is_file():
        yield "has no config.json; name the folder that holds config.json, model.safetensors and tokenizer.json"
    yield from _configuration_faults(folder / "config.json")
    yield from _weight_faults(folder)
    yield from _tokenizer_faults(folder)
    for name in _FURTHER_JSON:
        place = folder / name
        if place.is_file() and os.access(place, os.R_OK) and not _is_object(place):
            yield f"has a {name} that is no JSON object{_other_text(place)}; copy it again"


def _closed_files(folder: Path) -> Iterator[str]:
    """Yield a fault where this user may not read files of a model, so that they cannot be
    checked.
    """
    files = [path for path in folder.glob("*") if path.suffix in (".json", ".safetensors")]
    closed = [
        path.name for path in sorted(files) if path.is_file() and not os.access(path, os.R_OK)
    ]
    if closed:
        yield f"has files that may not be read ({', '.join(closed)}); fix their permissions"


def _adapter_faults(folder: Path) -> Iterator[str]:
    """Yield faults where the folder holds a PEFT adapter, alone or beside a model: transformers
    would load the base that the adapter names, and the adapter into it.
    """
    adapter = folder / "adapter_config.json"
    if not adapter.is_file():
        return
    base = (_read_json(adapter) or {}).get("base_model_name_or_path")
    named = f", {in_backticks(base)}," if base and isinstance(base, str) else ""
    merge = "or merge the two: orchestrate export SPEC --format merged --to DIR"
    if any((folder / name).exists() for name in (_WEIGHTS, _INDEX)):
        yield (
            "holds an adapter beside the model (adapter_config.json), which would be loaded with it; "
            f"take its adapter_* files out of the folder, {merge}"
        )
    yield f"is an adapter and no model; name its base{named or ','} {merge}"


def _configuration_faults(place: Path) -> Iterator[str]:
    config = _read_json(place)
    if config is None:
        yield f"has a config.json that is no JSON object{_other_text(place)}; copy it again"
    elif config.get("model_type") not in MODEL_TYPES:
        yield (
            f"has a config.json of model_type {in_backticks(config.get('model_type'))}; only Moonshine is tuned here, "
            f"whose model_type is {' or '.join(MODEL_TYPES)}"
        )
    else:
        yield from _number_format_faults(config)


def _number_format_faults(config: dict[str, Any]) -> Iterator[str]:
    dtype = config.get("dtype", config.get("torch_dtype"))
    if dtype is not None and dtype not in _DTYPES:
        yield (
            f"has a config.json of dtype {in_backticks(dtype)}; write one of {', '.join(_DTYPES)} there"
        )
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        yield (
            f"has a config.json with a quantization_config ({in_backticks(method)}); adapters are trained on plain "
            "weights: take the checkpoint from before it was quantised"
        )


def _weight_faults(folder: Path) -> Iterator[str]:
    """Yield faults of the weights, which are one file or the parts that an index names, in the
    order in which transformers looks for them.
    """
    if (folder / _WEIGHTS).exists():
        names = [_WEIGHTS]
    elif (folder / _INDEX).exists():
        parts = (_read_json(folder / _INDEX) or {}).get("weight_map")
        if not isinstance(parts, dict) or not parts:
            yield f"has a {_INDEX} without a weight_map; copy it again"
            return
        names = sorted({str(part) for part in parts.values()})
    elif (folder / _PICKLE).exists() or (folder / f"{_PICKLE}.index.json").exists():
        yield (
            f"has its weights in {_PICKLE}, a pickle, which can run code and is not opened; where you trust it, write "
            f"them as safetensors: {_rewrite(folder)}"
        )
        return
    else:
        yield f"has no {_WEIGHTS}; copy it from where the model is from"
        return
    for name in names:
        if why := _damage(folder / name):
            yield f"has no whole {name}: {why}; copy it again"


def _tokenizer_faults(folder: Path) -> Iterator[str]:
    """Yield a fault where there is no tokenizer, or none that the installed packages can read."""
    there = [name for name in TOKENIZERS if (folder / name).is_file()]
    if not there:
        yield "has no tokenizer.json; copy it from where the model is from"
    elif there[0] in _PIECES and not all(map(_is_installed, ("sentencepiece", "google.protobuf"))):
        yield (
            f"has its tokenizer in {there[0]} alone, which is read with sentencepiece and protobuf; copy its "
            "tokenizer.json where the model has one, or install them: "
            f"{shlex.quote(sys.executable)} -m pip install sentencepiece protobuf"
        )


def _is_installed(module: str) -> bool:
    """Whether a module can be imported; the packages above it are."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _rewrite(folder: Path) -> str:
    place = json.dumps(str(folder), ensure_ascii=False)
    code = (
        "from transformers import AutoModelForSpeechSeq2Seq as M; "
        f"M.from_pretrained({place}).save_pretrained({place})"
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def weights_header(weights: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, by the name of each tensor, and where the tensors
    begin, in bytes. Raises ValueError where the file has none, OSError where it cannot be read.
    """
    with weights.open("rb") as stream:
        start = stream.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or size > _LARGEST_HEADER:
            raise ValueError("no header of a safetensors file")
        header: dict[str, Any] = json.loads(stream.read(size))
        return header, 8 + size


def _damage(weights: Path) -> str:
    """Say why a file is no complete safetensors file; empty where it is one."""
    try:
        header, begin = weights_header(weights)
        ends = [
            tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"
        ]
        promised, there = begin + max(ends, default=0), weights.stat().st_size
    except OSError as error:
        return str(error.strerror)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
        with weights.open("rb") as stream:
            is_pointer = stream.read(len(_LFS)) == _LFS
        return "it is a pointer of Git LFS (git lfs pull)" if is_pointer else _NO_SAFETENSORS
    return "" if there >= promised else f"it has {there} bytes of {promised}"


def _other_text(place: Path) -> str:
    """Say what a file is that is no JSON in UTF-8; empty where it is not known."""
    try:
        with place.open("rb") as stream:
            start = stream.read(len(_LFS))
    except OSError as error:
        return f" ({error.strerror})"
    if start == _LFS:
        return " but a pointer of Git LFS (git lfs pull)"
    marked = start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
    return " in plain UTF-8, for it begins with a byte order mark" if marked else ""


def _is_object(place: Path) -> bool:
    """Whether a file holds a JSON object. Of a large one only the ends are looked at: a vocabulary
    has megabytes, for which every command would wait.
    """
    if place.stat().st_size <= _LARGEST_READ:
        return _read_json(place) is not None
    with place.open("rb") as stream:
        start = stream.read(64).lstrip()
        stream.seek(-64, os.SEEK_END)
        return start.startswith(b"{") and stream.read().rstrip().endswith(b"}")


def _read_json(place: Path) -> dict[str, Any] | None:
    """Read a JSON object as transformers does, or return None. It must be UTF-8 without a byte
    order mark, hence the explicit decoding: `json.loads` would skip the mark in bytes.
    """
    try:
        found = json.loads(place.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
