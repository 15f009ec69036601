"""The base model with an exported adapter merged in, as a plain transformers folder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from orchestrator.errors import ModelError
from orchestrator.sweepfile.cached_model import model_file
from orchestrator.sweepfile.evaluation import EncoderWindows
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.model.configuration import greedy_generation
from orchestrator.tuning.model.hub import PROCESSOR_CONFIGURATIONS, place_of
from orchestrator.tuning.model.windows import INCLUSIVE, read_inclusively
from orchestrator.tuning.trial_faults import is_out_of_memory

_SHARED = ("embed_tokens", "proj_out")
"""Names of the two modules that are one matrix where a model ties them."""


def export_merged(
    model: ModelSpec, adapter: Path, folder: Path, encoder_windows: EncoderWindows = "stock"
) -> None:
    """Write the merged weights, configuration and processor to `folder`, which is made.

    `adapter` is a folder as `peft_adapter.export` writes it: its adapter scale is in its weights
    already. The weights are float32 whatever those of the base model are, because bfloat16 would
    round most of a small update away; and `generate` is left nothing but greedy decoding, as it was
    measured. With inclusive `encoder_windows` the configuration written is one with which
    transformers computes those windows. Raises ModelError when the base model cannot be loaded.
    """
    disable_progress_bar()  # it would appear among the messages
    name, where = place_of(model)
    try:
        base = AutoModelForSpeechSeq2Seq.from_pretrained(
            name, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **where
        )
        processor = _load_processor(model, name, where)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"model {model.id!r} cannot be loaded: {said}. Next: check the folder, or the name and the network."
        ) from error
    if encoder_windows == "inclusive":
        read_inclusively(model, base)
        setattr(base.config, INCLUSIVE, True)
    base.generation_config = greedy_generation(base, getattr(processor, "tokenizer", processor))
    merged = with_adapter(base, adapter)
    merged.save_pretrained(folder)
    processor.save_pretrained(folder)


def with_adapter(base: Any, adapter: Path) -> Any:
    """Return the model with the adapter of a folder merged into its weights. Raises whatever PEFT
    raises where the two do not fit, and ValueError where merging would change other weights, too.
    """
    is_tied = base.get_output_embeddings().weight is base.get_input_embeddings().weight
    with warnings.catch_warnings():
        # PEFT calls functions that transformers deprecates, about which a user can do nothing
        warnings.simplefilter("ignore", FutureWarning)
        # and warns of a head of its own that config.json calls tied, which stays as it is
        warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
        adapted = peft.PeftModel.from_pretrained(base, str(adapter))
        for name, module in adapted.named_modules():
            if is_tied and isinstance(module, BaseTunerLayer) and name.endswith(_SHARED):
                raise ValueError(
                    f"it adapts {name.rpartition('.')[2]}, whose weights the base model has in two places; they would "
                    "be changed in both"
                )
        return adapted.merge_and_unload()


def _load_processor(model: ModelSpec, name: str, where: dict[str, str]) -> Any:
    """Return the model's processor, or its tokenizer alone where the model has no configuration of
    one. Raises what transformers raises where that is damaged.
    """
    try:
        return AutoProcessor.from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, ValueError):
        if any(model_file(model, file) for file in PROCESSOR_CONFIGURATIONS):
            raise
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
