"""Writing an export: the graphs of a base model with or without an adapter, in a folder with
tokenizer, configuration and manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.records.readiness.optional_packages import check_installed
from orchestrator.records.shipping import (
    ExportManifest,
    GraphForm,
    Quantized,
    file_sha256,
    write_manifest,
)
from orchestrator.sweepfile.evaluation import EncoderWindows, EvaluationSpec
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import with_adapter
from orchestrator.tuning.deploying.moonshine_export import (
    CONFIG,
    GRAPHS,
    TOKENIZER,
    export_moonshine,
    token_bytes,
)
from orchestrator.tuning.deploying.onnx_export import export_onnx, quantize_int8
from orchestrator.tuning.model.base_model import BaseModel, load_stock, wrap_model
from orchestrator.tuning.model.configuration import special_tokens
from orchestrator.tuning.model.families import Family, family_of
from orchestrator.tuning.model.identity import weights_sha256
from orchestrator.tuning.model.windows import windows_text

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Source:
    """What an export is made of: a base model, perhaps an adapter, and the trial and settings of
    the study that measured them.
    """

    sweep: str
    model: ModelSpec
    evaluation: EvaluationSpec
    windows: EncoderWindows
    adapter: Path | None = None
    """A PEFT folder as a study keeps it; None stands for the untuned model."""
    trial: int | None = None
    step: int | None = None
    adapter_scale: float | None = None

    @property
    def adapter_sha256(self) -> str:
        """The SHA-256 digest of the adapter's weights file; empty without an adapter."""
        return (
            "" if self.adapter is None else file_sha256(self.adapter / "adapter_model.safetensors")
        )


def write_graphs(
    source: Source, form: GraphForm, quantized: Quantized, folder: Path, changed_only: bool = False
) -> ExportManifest:
    """Write a form of the model to `folder`, which exists, and return the manifest that is written
    with it.

    With `changed_only`, of the moonshine form only the graphs that the adapter changes are written.
    Raises SpecError where a package is missing, ModelError for a model that has no such form.
    """
    check_installed(form, f"--format {form}")
    model, tokenizer = load_stock(source.model, torch.float32, source.windows)
    base_digest = weights_sha256(model)
    model = merged(source, model)
    family = family_of(model.eval())
    if form == "onnx":
        export_onnx(model, family, folder)
        tokenizer.save_pretrained(folder)
    else:
        export_moonshine(
            model, tokenizer, family, folder, changed(source.adapter) if changed_only else GRAPHS
        )
    if quantized == "int8":
        quantize_int8(folder)
    files = [
        path for path in sorted(folder.iterdir()) if path.suffix == ".onnx" or path.name in _BESIDE
    ]
    manifest = describe(source, form, quantized, model, tokenizer, family, base_digest).model_copy(
        update={"files": {path.name: file_sha256(path) for path in files}}
    )
    write_manifest(manifest, folder)
    return manifest


_BESIDE = (CONFIG, TOKENIZER, "tokenizer.json", "tokenizer_config.json")
"""The files beside the graphs whose digests the manifest holds."""


def stock(source: Source) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the stock model in float32 with the adapter merged in and the windows asked for, and
    its tokenizer.
    """
    model, tokenizer = load_stock(source.model, torch.float32, source.windows)
    return merged(source, model), tokenizer


def merged(source: Source, model: PreTrainedModel) -> PreTrainedModel:
    """Return the model with the adapter merged into its weights; as it is without an adapter."""
    return model if source.adapter is None else with_adapter(model, source.adapter)


def wrapped(source: Source) -> BaseModel:
    """Return the model of `stock` as the engine runs it, on the CPU."""
    model, tokenizer = stock(source)
    return wrap_model(source.model, model, tokenizer, CPU)


def describe(
    source: Source,
    form: GraphForm,
    quantized: Quantized,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    base_digest: str,
) -> ExportManifest:
    """Return the manifest of an export of `source`, without the digests of its files."""
    tokens, decoder = special_tokens(model, tokenizer), model.model.decoder
    attention: Any = decoder.layers[0].self_attn
    heads = len(attention.k_proj.weight) // attention.head_dim
    return ExportManifest(
        form=form,
        quantized=quantized,
        sweep=source.sweep,
        trial=source.trial,
        step=source.step,
        adapter_scale=source.adapter_scale,
        adapter_sha256=source.adapter_sha256,
        base_weights_sha256=base_digest,
        encoder_windows=windows_text(family.windows),
        windows_form=source.windows,
        rms=source.evaluation.rms,
        max_tokens_per_second=source.evaluation.max_tokens_per_second,
        tokenizer_sha256=vocabulary_sha256(token_bytes(tokenizer, model.config.vocab_size)),
        start=tokens.start,
        ends=tuple(sorted(tokens.ends)),
        multiple=family.multiple,
        cache_shape=(len(decoder.layers), heads, attention.head_dim),
        files={},
    )


def vocabulary_sha256(tokens: list[bytes]) -> str:
    """Return the SHA-256 digest of the bytes of all tokens in order, from whatever file."""
    return hashlib.sha256(b"\0".join(tokens)).hexdigest()


def changed(adapter: Path | None) -> tuple[str, ...]:
    """Return the graphs of the moonshine form that an adapter changes; all of them without one."""
    if adapter is None:
        return GRAPHS
    targets = json.loads((adapter / "adapter_config.json").read_bytes())["target_modules"]
    if any(".encoder.layers." in f".{name}" for name in targets):
        return GRAPHS  # what the decoder reads of the encoder changes with it
    # cross_kv holds the projections of the encoder's output to cross-attention keys and values
    reads = any("encoder_attn" in name and name.endswith(("k_proj", "v_proj")) for name in targets)
    return ("cross_kv", "decoder_kv") if reads else ("decoder_kv",)
