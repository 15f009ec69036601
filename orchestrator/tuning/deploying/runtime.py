"""Transcribing with an exported form by onnxruntime: greedy, clip by clip, with the token cap and
the tokenizer that are exported with it.
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
from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.records.shipping import ExportManifest
from orchestrator.tuning.decoding.greedy_decoding import Decoded
from orchestrator.tuning.deploying.moonshine_export import (
    GRAPHS,
    TOKENIZER,
    read_tokenizer_bin,
    text_of,
)

Array = NDArray[Any]


class EncodedClip(NamedTuple):
    """One encoded clip: the encoder's output, and its keys and values for cross-attention."""

    encoded: Array
    """(1, T, width) float32."""
    keys: Array
    """(layers, 1, heads, T, head_dim), as the values are."""
    values: Array


class Cache(NamedTuple):
    """The self-attention keys and values of the tokens so far, each (layers, 1, heads, past,
    head_dim).
    """

    keys: Array
    values: Array


class Runtime(Protocol):
    """The graphs of one exported form, ready to run."""

    manifest: ExportManifest

    def encode(self, clip: Array) -> EncodedClip:
        """Encode one clip: float32 samples at 16 kHz, as `cut` leaves them."""

    def step(
        self, tokens: Sequence[int], cache: Cache, encoded: EncodedClip
    ) -> tuple[Array, Cache]:
        """Feed the next tokens to the decoder; return the logits (tokens, vocabulary) after each,
        and the cache with these tokens added.
        """

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens by the form's own tokenizer."""


def open_runtime(folder: Path, manifest: ExportManifest) -> Runtime:
    """Load the graphs of an exported folder. Raises ModelError where they cannot be loaded."""
    return (
        OnnxRuntime(folder, manifest)
        if manifest.form == "onnx"
        else MoonshineRuntime(folder, manifest)
    )


def empty_cache(manifest: ExportManifest) -> Cache:
    """Return the cache before the first token."""
    layers, heads, head_dim = manifest.cache_shape
    empty = np.zeros((layers, 1, heads, 0, head_dim), np.float32)
    return Cache(empty, empty)


def _session(folder: Path, name: str) -> Any:
    """Load one graph of a folder on the CPU. Raises ModelError where it is missing or damaged."""
    import onnxruntime

    place = folder / f"{name}.onnx"
    if not place.is_file():
        raise ModelError(
            f"{folder} lacks {place.name}\n  Export the model again; of an export of the changed graphs alone, put the "
            "others of the untuned model's export beside them."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # so OMP_NUM_THREADS holds for both
    try:
        return onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no other common base class
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"onnxruntime cannot load {place}: {said}\n  Export the model again."
        ) from error


class OnnxRuntime:
    """The two graphs of the `onnx` form."""

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        from transformers import AutoTokenizer

        self.manifest = manifest
        self._encoder, self._decoder = _session(folder, "encoder"), _session(folder, "decoder")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

    def encode(self, clip: Array) -> EncodedClip:
        return EncodedClip(*self._encoder.run(None, {"audio": clip[None]}))

    def step(
        self, tokens: Sequence[int], cache: Cache, encoded: EncodedClip
    ) -> tuple[Array, Cache]:
        inputs = {
            "token": np.array([tokens], np.int64),
            "k_self": cache.keys,
            "v_self": cache.values,
        }
        logits, keys, values = self._decoder.run(
            None, inputs | {"k_cross": encoded.keys, "v_cross": encoded.values}
        )
        return logits[0], Cache(keys, values)

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


class MoonshineRuntime:
    """The five graphs of the `moonshine` form. Each clip is given to them as one chunk."""

    def __init__(self, folder: Path, manifest: ExportManifest) -> None:
        self.manifest = manifest
        self._graphs = {name: _session(folder, name) for name in GRAPHS}
        self.vocabulary = read_tokenizer_bin((folder / TOKENIZER).read_bytes())

    def encode(self, clip: Array) -> EncodedClip:
        frontend = self._graphs["frontend"]
        state = {
            node.name: _zeros(node) for node in frontend.get_inputs() if node.name != "audio_chunk"
        }
        features = frontend.run(["features"], {"audio_chunk": clip[None], **state})[0]
        encoded = self._graphs["encoder"].run(None, {"features": features})[0]
        offset = np.zeros(1, np.int64)
        memory = self._graphs["adapter"].run(None, {"encoded": encoded, "pos_offset": offset})[0]
        return EncodedClip(encoded, *self._graphs["cross_kv"].run(None, {"memory": memory}))

    def step(
        self, tokens: Sequence[int], cache: Cache, encoded: EncodedClip
    ) -> tuple[Array, Cache]:
        inputs = {
            "token": np.array([tokens], np.int64),
            "k_self": cache.keys,
            "v_self": cache.values,
        }
        cross = {"out_k_cross": encoded.keys, "out_v_cross": encoded.values}
        names = ["logits", "out_k_self", "out_v_self"]
        logits, keys, values = self._graphs["decoder_kv"].run(names, inputs | cross)
        return logits[0], Cache(keys, values)

    def text(self, tokens: Sequence[int]) -> str:
        return text_of(list(tokens), self.vocabulary)


def _zeros(argument: Any) -> Array:
    """Return zeros for one state input of the frontend: its state before any audio."""
    return np.zeros(argument.shape, np.int64 if "int64" in argument.type else np.float32)


@dataclass(frozen=True)
class RuntimeHearing:
    """The transcripts of a set by a runtime."""

    decoded: Decoded
    texts: tuple[str, ...]
    seconds: float
    """The time that computing them took."""


def cut(clip: Array, manifest: ExportManifest) -> Array:
    """Return a clip without the samples at its end that make no whole frame."""
    return np.ascontiguousarray(
        clip[: len(clip) // manifest.multiple * manifest.multiple], np.float32
    )


def hear(runtime: Runtime, clips: Sequence[Array], seconds: Sequence[float]) -> RuntimeHearing:
    """Transcribe clips greedily; their lengths in `seconds` give their token caps."""
    started = time.perf_counter()
    caps = token_caps(seconds, runtime.manifest.max_tokens_per_second)
    rows = [greedy(runtime, clip, cap) for clip, cap in zip(clips, caps, strict=True)]
    spent = time.perf_counter() - started
    decoded = Decoded([tokens for tokens, _ in rows], [truncated for _, truncated in rows])
    return RuntimeHearing(decoded, tuple(runtime.text(tokens) for tokens, _ in rows), spent)


def greedy(runtime: Runtime, clip: Array, cap: int) -> tuple[list[int], bool]:
    """Return the tokens of a clip without the end token, and whether the token cap cut them off."""
    encoded, cache = runtime.encode(cut(clip, runtime.manifest)), empty_cache(runtime.manifest)
    tokens: list[int] = []
    last = runtime.manifest.start
    while len(tokens) < cap:
        logits, cache = runtime.step([last], cache, encoded)
        last = int(logits[-1].argmax())
        if last in runtime.manifest.ends:
            return tokens, False
        tokens.append(last)
    return tokens, True
