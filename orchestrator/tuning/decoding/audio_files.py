"""What a model hears in audio files: a base model, an exported adapter on its base, or a merged model.

The audio path and the decoding are those of an evaluation, so a file here gives the words it gives there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar

from orchestrator.corpus.audio import SAMPLE_RATE, load_audio, scale_to_rms
from orchestrator.corpus.faults import UnusableError, show
from orchestrator.corpus.formats import Samples
from orchestrator.corpus.headers import locate, read_header
from orchestrator.corpus.manifest import Utterance
from orchestrator.errors import ManifestError, ModelError
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.decoding.transcription import Decoded, token_caps, transcribe
from orchestrator.tuning.model.base_model import BaseModel, load_base_model, load_stock, wrap
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.verdicts.saved_adapters import check_if_kept

TOGETHER = 64
"""Clips decoded at once: text appears while the rest is still being heard."""


MEMORY = 2**30
"""Bytes that the frames of those clips may keep; they are computed again where that is not enough."""


@dataclass(frozen=True)
class Transcript:
    """The words of one file."""

    path: str
    """As it was asked for."""
    text: str
    truncated: bool
    """The token cap cut the text off."""


def open_model(name: str, device: torch.device, base: str | None = None) -> BaseModel:
    """A hub id or model folder as it is; a PEFT adapter folder merged by stock PEFT into the base its configuration
    names, or into `base`. Raises ModelError, and StudyError for a study's adapter that is not as it was written."""
    disable_progress_bar()  # loading takes a second, and its bar would stand among the messages
    folder = Path(name)
    if not name:
        raise ModelError("the model's name is empty\n  Name a hub id, a model folder or an adapter folder.")
    check_if_kept(folder)
    if not (folder / "adapter_config.json").is_file():
        if base is not None:
            raise ModelError(f"{name} is no adapter folder (no adapter_config.json); --base goes with an adapter alone")
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise ModelError(
                f"{name} holds neither config.json nor adapter_config.json\n"
                "  Name a model folder, or an adapter folder as `orchestrate export` writes it."
            )
        return load_base_model(ModelSpec(id=name), device)
    _check_adapter(folder)
    spec = _base_of(folder, base)
    model, tokenizer = load_stock(spec)
    try:
        merged = peft.PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        first = " ".join(str(error).split())[:200]
        raise ModelError(f"adapter {name} does not fit {spec.id}: {first}\n  Name its own base with --base.") from error
    return wrap(spec, merged, tokenizer, device)


def _config_of(folder: Path) -> dict[str, Any]:
    """An adapter's configuration. Raises ModelError where it is none."""
    place = folder / "adapter_config.json"
    try:
        config: Any = json.loads(place.read_bytes(), parse_constant=_not_finite)
        return dict(config.items())
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{place} is damaged: {str(error)[:200]}\n  Export the adapter again.") from error


def _not_finite(word: str) -> float:
    raise ValueError(f"{word} is no number that an adapter can have")


def _check_adapter(folder: Path) -> None:
    """Raise ModelError where PEFT would load something else than weights, or compute with what is no number."""
    config = _config_of(folder)
    for name in ("r", "lora_alpha"):
        value = config.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ModelError(
                f"{folder / 'adapter_config.json'} is damaged: {name} is {str(value)[:40]}, must be a number above 0\n"
                "  Export the adapter again."
            )
    if not (folder / "adapter_model.safetensors").is_file():
        pickled = (folder / "adapter_model.bin").exists()
        raise ModelError(
            f"{folder} has no adapter_model.safetensors"
            + (", and adapter_model.bin is a pickle, which can run code and is not opened" if pickled else "")
            + "\n  Save the adapter again with a PEFT that writes safetensors."
        )


def _base_of(folder: Path, base: str | None) -> ModelSpec:
    """The base model of an adapter folder."""
    if base is not None:
        return ModelSpec(id=base)
    place, config = folder / "adapter_config.json", _config_of(folder)
    written, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(written, str) or not written:
        raise ModelError(f"{place} names no base model\n  Name it with --base.")
    if written.startswith("./"):  # inside a study: from the project's folder on, which holds studies/
        above = (parent / written for parent in folder.resolve().parents)
        written = str(next((model for model in above if model.is_dir()), Path(written).absolute()))
    if Path(written).is_absolute() and not Path(written).is_dir():
        raise ModelError(f"{place} names the base model {written}, which is not there\n  Name it with --base.")
    return ModelSpec(id=written, revision=revision if isinstance(revision, str) and revision else "main")


def transcribe_files(
    base: BaseModel, paths: Sequence[str], *, rms: float | None, max_tokens_per_second: float
) -> Iterator[Transcript]:
    """The words of every file, in order. Raises ManifestError with all files that cannot be heard, before the first
    word: each must be a regular audio file within what the model takes."""
    clips = _clips(base, paths, rms)
    for start in range(0, len(clips), TOGETHER):
        here = clips[start : start + TOGETHER]
        decoded = decode(base, here, max_tokens_per_second)
        for path, tokens, truncated in zip(paths[start:], decoded.tokens, decoded.truncated, strict=False):
            yield Transcript(path, base.text(tokens), truncated)


def decode(base: BaseModel, clips: Sequence[Samples], max_tokens_per_second: float) -> Decoded:
    """What the model as it is hears in clips of no set; about `TOGETHER` of them, for all their frames are kept."""
    store = EncoderCache(base.family, {"clips": clips}, MEMORY, base.device)
    max_new_tokens = token_caps([len(clip) / SAMPLE_RATE for clip in clips], max_tokens_per_second)
    return transcribe(base, store, "clips", max_new_tokens, ())[0]


def _clips(base: BaseModel, paths: Sequence[str], rms: float | None) -> list[Samples]:
    clips: list[Samples] = []
    faults: list[str] = []
    for path in paths:
        try:
            samples = _decoded(base, path)
        except ManifestError as error:
            faults.append(str(error))
        else:
            clips.append(samples if rms is None else scale_to_rms(samples, rms)[0])
    if faults:
        raise ManifestError(
            f"{len(faults)} of {len(paths)} files cannot be heard:\n" + "\n".join(f"  {each}" for each in faults)
        )
    return clips


def _decoded(base: BaseModel, path: str) -> Samples:
    name, audio = f"audio file {show(path)}", locate(path, Path.cwd())
    seconds = read_header(audio, name).seconds
    if seconds > base.family.longest_seconds:
        raise UnusableError(
            f"{name} lasts {seconds:.1f} s; the model takes {base.family.longest_seconds:.1f} s, so cut it"
        )
    samples = load_audio(Utterance(id=path, text="", audio=audio)).samples
    if len(samples) < base.family.shortest:
        raise UnusableError(f"{name} has {len(samples)} samples; the model needs at least {base.family.shortest}")
    return samples
