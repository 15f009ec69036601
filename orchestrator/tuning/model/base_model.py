"""The frozen base model: loading it, its parts, and the labels of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoModelForSpeechSeq2Seq,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from orchestrator.errors import ModelError, ObjectiveError
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.evaluation import EncoderWindows
from orchestrator.sweepfile.execution import KernelName
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.packed_linear import PackedLinear
from orchestrator.tuning.adapters.peft_adapter import ROOT, resolve_targets
from orchestrator.tuning.model.configuration import (
    SpecialTokens,
    ignored_settings,
    special_tokens,
)
from orchestrator.tuning.model.core_threads import Cores, cores
from orchestrator.tuning.model.decoder import Decoder
from orchestrator.tuning.model.families import Family, family_of
from orchestrator.tuning.model.hub import place_of
from orchestrator.tuning.model.identity import (
    OTHER,
    config_sha256,
    tokenizer_sha256,
    weights_sha256,
)
from orchestrator.tuning.model.kernel_choice import chosen_products
from orchestrator.tuning.model.layout import RaggedLayout
from orchestrator.tuning.model.linear_kernels import ATEN, FrozenLinear, Products
from orchestrator.tuning.model.loaded_weights import check_finite, check_weights, unused_weights
from orchestrator.tuning.model.windows import read_inclusively
from orchestrator.tuning.trial_faults import is_out_of_memory

IGNORED = -100
"""The label of a padded position."""
_OWN_CODE = (
    "take a checkpoint of transformers' own classes, or remove auto_map and tokenizer_class from "
    "tokenizer_config.json where tokenizer.json holds the whole tokenizer"
)
_BLOCKS = (f"{ROOT}encoder.layers.", f"{ROOT}decoder.layers.")


@dataclass(frozen=True)
class BaseModel:
    """One frozen model. The linear layers of its encoder and decoder blocks can compute a pack."""

    spec: ModelSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    family: Family
    decoder: Decoder
    modules: dict[str, nn.Module]
    """Every module by its path below `model.`, for target patterns."""
    linears: dict[str, PackedLinear]
    """Those of `modules` that can be adapted."""
    products: Products
    """The kernel that computes its linear layers."""
    notes: tuple[str, ...]
    """Sentences: what its files ask for or hold in vain, and why this kernel was chosen."""
    _labels: dict[str, list[int]] = field(default_factory=dict, repr=False)
    """The labels of every text so far: each text is asked for twice, to be checked and to be trained on."""

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def cores(self) -> Cores:
        """The cores that compute parts of a step, or batches of an evaluation, at the same time."""
        return cores(self.device)

    @property
    def encoder_depth(self) -> int:
        """The number of encoder layers. As an entry depth (see `encoder_cache`) it says that no
        encoder layer is adapted.
        """
        return len(self.model.model.encoder.layers)

    def first_adapted_layer(self, targets: tuple[str, ...]) -> int:
        """Return the lowest encoder layer that has a target; `encoder_depth` when none has."""
        touched = [
            int(name.split(".")[2]) for name in targets if name.startswith("encoder.layers.")
        ]
        return min(touched, default=self.encoder_depth)

    def encode(self, frames: Tensor, layout: RaggedLayout, depth: int) -> Tensor:
        """Return the encoder's output from frames (slots, F, width) at entry depth `depth`; at full
        depth these are the output already.
        """
        if depth == self.encoder_depth:
            return frames
        return self.family.encoder_layers(frames, layout, depth, self.encoder_depth)

    @cached_property
    def weights_sha256(self) -> str:
        """The SHA-256 digest of all weights, whatever name or revision they were loaded by."""
        return weights_sha256(self.model)

    @cached_property
    def config_sha256(self) -> str:
        """The SHA-256 digest of the configuration, with the tokens that begin and end a text."""
        return _config_digest(self.model, special_tokens(self.model, self.tokenizer))

    @cached_property
    def tokenizer_sha256(self) -> str:
        """The SHA-256 digest of the tokenizer."""
        return tokenizer_sha256(self.tokenizer)

    def targets(self, patterns: Iterable[str], layers: str = "all") -> tuple[str, ...]:
        """Return the modules that these patterns adapt in these layers. Raises ModelError as `resolve_targets` does."""
        return resolve_targets(self.modules, patterns, layers)

    def labels(self, texts: list[str]) -> list[list[int]]:
        """Return the labels [tokens, EOS] of each text: without EOS an adapter would learn never to
        stop, and the start token is not a label but the decoder's first input.

        Raises ObjectiveError when the tokenizer adds special tokens in spite of
        `add_special_tokens=False`, ModelError when it has tokens that the model lacks.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._labels]
        if new:
            # the check comes first, so that labels it refuses are not kept
            self._labels.update(zip(new, self._checked_labels(new), strict=True))
        return [list(self._labels[text]) for text in texts]

    def _checked_labels(self, texts: list[str]) -> list[list[int]]:
        start, eos, ends = self.decoder.start, self.decoder.eos, self.decoder.ends
        # one call for all texts: a call for each takes ten times as long
        rows = [[*row, eos] for row in self.tokenizer(texts, add_special_tokens=False).input_ids]
        for text, row in zip(texts, rows, strict=True):
            if row[:-1][:1] == [start] or not ends.isdisjoint(row[:-1]):
                raise ObjectiveError(self._why_misaligned(text, row))
            if (largest := max(row)) >= self.model.config.vocab_size:
                raise ModelError(
                    f"model {self.spec.id!r}: tokenizer.json gives {text!r} the token {largest}, and config.json has a "
                    f"vocab_size of {self.model.config.vocab_size}. Put the tokenizer there that belongs to the model."
                )
        return rows

    def _why_misaligned(self, text: str, row: list[int]) -> str:
        found = [id for id in row[:-1] if id in {self.decoder.start, *self.decoder.ends}]
        for id in self.decoder.ends.difference(self.tokenizer.all_special_ids, [self.decoder.eos]):
            if id in found:
                return (
                    f"the model's eos_token_id has {id}, {self.tokenizer.decode([id])!r}, which texts such as {text!r} "
                    "hold: every one would end there. Take it out of generation_config.json and config.json."
                )
        tokens = self.tokenizer.convert_ids_to_tokens(found)
        if written := next((token for token in tokens if token in text), ""):
            return (
                f"the text {text!r} holds {written}, a token with which this model begins or ends every text. "
                "Take it out of the manifest; orchestrate validate names the command for <s> and </s>."
            )
        return f"the tokenizer adds special tokens to {text!r}: labels {row} would be misaligned"

    def text(self, tokens: list[int]) -> str:
        """Return the text of tokens, without special ones."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def load_base_model(
    spec: ModelSpec,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    encoder_windows: EncoderWindows = "stock",
    kernel: KernelName | Literal["auto"] = "aten",
) -> BaseModel:
    """Load a model from the hub or a folder and make it ready for packs. Raises ModelError, which
    names the model and the next step. Never runs remote code.
    """
    model, tokenizer, unused = _load(spec, dtype, encoder_windows)
    products, why = chosen_products(kernel, model, device, dtype)
    return wrap_model(spec, model, tokenizer, device, products, why, unused)


def load_stock(
    spec: ModelSpec, dtype: torch.dtype = torch.float32, encoder_windows: EncoderWindows = "stock"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model and tokenizer as transformers loads them, with the encoder's windows in the form
    asked for. Raises ModelError.
    """
    model, tokenizer, _ = _load(spec, dtype, encoder_windows)
    return model, tokenizer


def _load(
    spec: ModelSpec, dtype: torch.dtype, encoder_windows: EncoderWindows
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
    """Like `load_stock`, and return also a sentence about weights that the model has no place for;
    empty where there are none.
    """
    transformers.utils.logging.disable_progress_bar()  # the sweep shows its own
    name, where = place_of(spec)
    try:
        with _without_warnings():
            model, found = AutoModelForSpeechSeq2Seq.from_pretrained(
                name,
                dtype=dtype,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # `check_weights` refuses them, by name
                output_loading_info=True,
                **where,
            )
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    except Exception as error:  # damaged files raise exceptions of many unrelated classes
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"model {spec.id!r} cannot be loaded: {_why_not_loaded(error, not where)}."
        ) from error
    check_weights(spec, found)
    check_finite(spec, model)
    if encoder_windows == "inclusive":
        read_inclusively(spec, model)
    return model, tokenizer, unused_weights(found["unexpected_keys"])


@contextmanager
def _without_warnings() -> Iterator[None]:
    """A context without the warnings of transformers about weights and settings: what of them
    matters, this module says itself, as a refusal or a note.
    """
    before = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(before)


def _why_not_loaded(error: Exception, local: bool) -> str:
    """Return what went wrong in loading, and the next step."""
    said = " ".join(str(error).split())[:200].partition(". ")[0].removesuffix(".")
    hint = "check the name and the network, or download it and name the folder in place of the id"
    if local:
        hint = (
            "the folder needs config.json, model.safetensors and tokenizer.json, all of one model"
        )
    if "custom code" in said:
        said, hint = "it has code of its own (auto_map), which is never run", _OWN_CODE
    return f"{said or type(error).__name__}. Next: {hint}"


def check_same_model(
    spec: ModelSpec, encoder_windows: EncoderWindows, measured: Mapping[str, str]
) -> None:
    """Load the model of a sweep and raise ModelError as `refuse_other_model` does, or where it
    cannot be loaded.
    """
    refuse_other_model(spec, *load_stock(spec, encoder_windows=encoder_windows), measured)


def refuse_other_model(
    spec: ModelSpec,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    measured: Mapping[str, str],
) -> None:
    """Raise ModelError where a part of a loaded model is not the one `measured`; see `other_part`."""
    if part := other_part(model, tokenizer, measured):
        raise ModelError(
            f"model {spec.id!r} has {OTHER[part]} than the study was measured with: with the adapter it would hear "
            "other words than were recorded. Next: put the files back that were there, or run the sweep anew with "
            "--fork NAME."
        )


def other_part(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, measured: Mapping[str, str]
) -> str:
    """Return the first key of `OTHER` in which a loaded model differs from `measured`, parts of an
    evaluation's fingerprint of which some may be missing; empty where it does in none.

    Configuration and tokenizer are compared where the installed transformers read them then, too:
    every version fills in what their files leave out.
    """
    now = {"weights": weights_sha256(model)}
    if measured.get("transformers") == transformers.__version__:
        now["config"] = _config_digest(model, special_tokens(model, tokenizer))
        now["tokenizer"] = tokenizer_sha256(tokenizer)
    return next((part for part in now if measured.get(part, now[part]) != now[part]), "")


def _config_digest(model: PreTrainedModel, tokens: SpecialTokens) -> str:
    return digest([config_sha256(model.config), tokens.start, tokens.eos, sorted(tokens.ends)])


def wrap_model(
    spec: ModelSpec,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    device: torch.device,
    products: Products = ATEN,
    *notes: str,
) -> BaseModel:
    """Freeze a loaded model, replace its linear layers by ones that `products` computes, and make
    those of its blocks ready for packs. `notes` are further notes on it; empty ones are left out.
    """
    family = family_of(model)
    model.requires_grad_(False).eval().to(device)
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            parent, _, child = name.rpartition(".")
            kind = PackedLinear if name.startswith(_BLOCKS) else FrozenLinear
            setattr(model.get_submodule(parent), child, kind(module, products))
    modules = {name: module for name, module in model.named_modules() if name}
    below = {name.removeprefix(ROOT): module for name, module in modules.items()}
    linears = {name: module for name, module in below.items() if isinstance(module, PackedLinear)}
    return BaseModel(
        spec,
        model,
        tokenizer,
        family,
        Decoder(model, tokenizer),
        below,
        linears,
        products,
        (*ignored_settings(model), *filter(None, notes)),
    )


def padded_labels(rows: list[list[int]], start: int) -> tuple[Tensor, Tensor]:
    """Return the decoder's inputs (n, T) and the labels (n, T) of rows [tokens, EOS], int64. Inputs
    are the labels moved right by one, after `start`; labels are padded with IGNORED.
    """
    labels = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, IGNORED)
    inputs = labels.roll(1, 1).masked_fill(labels.roll(1, 1) == IGNORED, start)
    inputs[:, 0] = start
    return inputs, labels
