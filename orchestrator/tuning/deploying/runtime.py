"""An exported form, heard by onnxruntime: greedy, clip by clip, with the cap and the tokenizer that
travel with it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.errors import ModelError
from orchestrator.records.model_limits import token_caps
from orchestrator.records.shipping import ExportManifest
from orchestrator.tuning.decoding.greedy_decoding import Decoded
from orchestrator.tuning.deploying.moonshine_export import (
    GRAPHS,
    TOKENIZER,
    read_tokenizer_bin,
    text_of,
)

Array = NDArray[Any]


class Heard(NamedTuple):
    """One clip as the decoder reads it."""

    encoded: Array
    """(1, T, width) float32."""
    keys: Array
    """(layers, 1, heads, T, head_dim)."""
    values: Array


class Cache(NamedTuple):
    """Keys and values of the tokens so far, each (layers, 1, heads, past, head_dim)."""

    keys: Array
    values: Array


class Runtime(Protocol):
    """The graphs of one form."""

    manifest: ExportManifest

    def encode(self, clip: Array) -> Heard:
        """float32 samples at 16 kHz, cut to the form's multiple."""

    def step(self, tokens: Sequence[int], cache: Cache, heard: Heard) -> tuple[Array, Cache]:
        """Logits (tokens, vocabulary) of the next tokens, and the cache with them."""

    def text(self, tokens: Sequence[int]) -> str:
        """What the form's own tokenizer writes."""


def open_runtime(folder: Path, manifest: ExportManifest) -> Runtime:
    """The graphs of an exported folder. Raises ModelError where they cannot be loaded."""
    return (
        OnnxRuntime(folder, manifest)
        if manifest.form == "onnx"
        else MoonshineRuntime(folder, manifest)
    )


def empty_cache(manifest: ExportManifest) -> Cache:
    """The cache before the first token."""
    layers, heads, head_dim = manifest.cache_shape
    empty = np.zeros((layers, 1, heads, 0, head_dim), np.float32)
    return Cache(empty, empty)


def _session(folder: Path, name: str) -> Any:
    import onnxruntime

    place = folder / f"{name}.onnx"
    if not place.is_file():
        raise ModelError(
            f"{folder} lacks {place.name}\n  Export the model again; of an export of the changed graphs alone, put the "
            "others of the untuned model's export beside them."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS rules both
    try:
        return onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of kinds of its own, below Exception
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"onnxruntime cannot load {place}: {said}\n  Export the model again."
        ) from error


class OnnxRuntime:
    """The `onnx` form."""

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        from transformers import AutoTokenizer

        self.manifest = manifest
        self._encoder, self._decoder = _session(folder, "encoder"), _session(folder, "decoder")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def encode(self, clip: Array) -> Heard:
        return Heard(*self._encoder.run(None, {"audio": clip[None]}))

    def step(self, tokens: Sequence[int], cache: Cache, heard: Heard) -> tuple[Array, Cache]:
        inputs = {
            "token": np.array([tokens], np.int64),
            "k_self": cache.keys,
            "v_self": cache.values,
        }
        logits, keys, values = self._decoder.run(
            None, inputs | {"k_cross": heard.keys, "v_cross": heard.values}
        )
        return logits[0], Cache(keys, values)

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


class MoonshineRuntime:
    """The five graphs of the authors' layout, each clip in one chunk."""

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        self.manifest = manifest
        self._graphs = {name: _session(folder, name) for name in GRAPHS}
        self.vocabulary = read_tokenizer_bin((folder / TOKENIZER).read_bytes())

    def encode(self, clip: Array) -> Heard:
        frontend = self._graphs["frontend"]
        state = {
            node.name: _zeros(node) for node in frontend.get_inputs() if node.name != "audio_chunk"
        }
        features = frontend.run(["features"], {"audio_chunk": clip[None], **state})[0]
        encoded = self._graphs["encoder"].run(None, {"features": features})[0]
        offset = np.zeros(1, np.int64)
        memory = self._graphs["adapter"].run(None, {"encoded": encoded, "pos_offset": offset})[0]
        return Heard(encoded, *self._graphs["cross_kv"].run(None, {"memory": memory}))

    def step(self, tokens: Sequence[int], cache: Cache, heard: Heard) -> tuple[Array, Cache]:
        inputs = {
            "token": np.array([tokens], np.int64),
            "k_self": cache.keys,
            "v_self": cache.values,
        }
        cross = {"out_k_cross": heard.keys, "out_v_cross": heard.values}
        names = ["logits", "out_k_self", "out_v_self"]
        logits, keys, values = self._graphs["decoder_kv"].run(names, inputs | cross)
        return logits[0], Cache(keys, values)

    def text(self, tokens: Sequence[int]) -> str:
        return text_of(list(tokens), self.vocabulary)


def _zeros(argument: Any) -> Array:
    """The state of the frontend before any audio."""
    return np.zeros(argument.shape, np.int64 if "int64" in argument.type else np.float32)


@dataclass(frozen=True)
class RuntimeHearing:
    """A set as a runtime heard it."""

    decoded: Decoded
    texts: tuple[str, ...]
    seconds: float
    """Of computing."""


def cut(clip: Array, manifest: ExportManifest) -> Array:
    """A clip without the samples that make no whole frame."""
    return np.ascontiguousarray(
        clip[: len(clip) // manifest.multiple * manifest.multiple], np.float32
    )


def hear(runtime: Runtime, clips: Sequence[Array], seconds: Sequence[float]) -> RuntimeHearing:
    """Greedy tokens and texts of clips of so many seconds each."""
    started = time.perf_counter()
    caps = token_caps(seconds, runtime.manifest.max_tokens_per_second)
    rows = [greedy(runtime, clip, cap) for clip, cap in zip(clips, caps, strict=True)]
    spent = time.perf_counter() - started
    decoded = Decoded([tokens for tokens, _ in rows], [truncated for _, truncated in rows])
    return RuntimeHearing(decoded, tuple(runtime.text(tokens) for tokens, _ in rows), spent)


def greedy(runtime: Runtime, clip: Array, cap: int) -> tuple[list[int], bool]:
    """The tokens of a clip without its end token, and whether the cap cut them off."""
    heard, cache = runtime.encode(cut(clip, runtime.manifest)), empty_cache(runtime.manifest)
    tokens: list[int] = []
    last = runtime.manifest.start
    while len(tokens) < cap:
        logits, cache = runtime.step([last], cache, heard)
        last = int(logits[-1].argmax())
        if last in runtime.manifest.ends:
            return tokens, False
        tokens.append(last)
    return tokens, True
