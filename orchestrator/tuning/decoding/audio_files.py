"""Transcribing audio files with a base model, with an exported adapter on its base, or with a
merged model.

Audio is read and decoded as in an evaluation, so a file gives the same words here and there.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from orchestrator.corpus.manifest_errors import UnusableError, show
from orchestrator.corpus.recordings.audio import load_audio
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.corpus.recordings.locating import locate
from orchestrator.corpus.recordings.loudness import scale_to_rms
from orchestrator.corpus.recordings.pause_segmentation import split_at_pauses
from orchestrator.corpus.samples import SAMPLE_RATE, Samples
from orchestrator.corpus.utterance import Utterance
from orchestrator.errors import ManifestError, ModelError
from orchestrator.host.hub_access import how_to_name, names_folder
from orchestrator.records.base_weights import read_base_model
from orchestrator.records.readiness.model_limits import token_caps
from orchestrator.records.transcription_settings import NAME, Transcription, read_transcription
from orchestrator.sweepfile.sweep import ModelSpec
from orchestrator.tuning.adapters.merging import with_adapter
from orchestrator.tuning.decoding.greedy_decoding import Decoded, transcribe
from orchestrator.tuning.model.base_model import (
    BaseModel,
    load_base_model,
    load_stock,
    other_part,
    wrap_model,
)
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.hub import hub_file
from orchestrator.tuning.model.identity import OTHER
from orchestrator.tuning.model.linear_kernels import ATEN
from orchestrator.tuning.trial_faults import is_out_of_memory
from orchestrator.verdicts.saved_adapters import check_if_kept

LONGEST = 30.0
"""Seconds of the longest piece of a recording; these models were trained on no longer speech."""

TOGETHER = 64
"""Clips decoded at once. A larger number would show the first text later."""


MEMORY = 2**30
"""Bytes that the frames of those clips may take; where they need more, they are not kept but
computed when they are used.
"""


@dataclass(frozen=True)
class Transcript:
    """The words of one file."""

    path: str
    """The path as the user gave it."""
    text: str
    truncated: bool
    """Whether the token cap cut the text off."""
    fault: str = ""
    """Why the file cannot be transcribed; empty where it can."""


@dataclass(frozen=True)
class _Recording:
    """One audio file, decoded, scaled and cut into pieces that the model takes; or, in `fault`, why
    it cannot be.
    """

    path: str
    pieces: tuple[Samples, ...]
    fault: str = ""


def _what_to_name(folder: Path) -> str:
    """Say what is named in the place of a folder that is no model and no adapter."""
    # the last pattern is that of the hub's cache, which keeps a model below its revision
    for kind, pattern in (
        ("adapters", "*/adapter_config.json"),
        ("models", "*/config.json"),
        ("models", "snapshots/*/config.json"),
    ):
        if inside := sorted(each.parent for each in folder.glob(pattern)):
            return f"Name one of the {kind} in it: {', '.join(map(str, inside))}."
    return "Name a model folder, or an adapter folder as `orchestrate export` writes it."


def _refuse_missing_folder(name: str) -> None:
    """Raise ModelError where a name on the command line means a folder that is not there."""
    if names_folder(name, Path.cwd()) and not os.path.exists(name):
        cure = how_to_name(name, "a hub id, such as UsefulSensors/moonshine-tiny")
        raise ModelError(f"there is no model folder {name}\n  {cure}")


def open_model(name: str, device: torch.device, base: str | None = None) -> BaseModel:
    """Load the model of a hub id or folder. A PEFT adapter folder is merged by stock PEFT into the
    base model that its configuration names, or into `base`. Raises ModelError, and StudyError for a
    study's adapter that is not as it was written."""
    disable_progress_bar()  # loading takes a second, and its bar would appear among the messages
    if not name:
        raise ModelError(
            "the model's name is empty\n  Name a hub id, a model folder or an adapter folder."
        )
    name = os.path.expanduser(name)
    folder = Path(name)
    check_if_kept(folder)
    windows = read_transcription(folder).encoder_windows
    if not (folder / "adapter_config.json").is_file():
        if base is not None:
            raise ModelError(
                f"{name} is no adapter folder (no adapter_config.json); --base goes with an adapter alone"
            )
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise ModelError(
                f"{name} holds neither config.json nor adapter_config.json\n  {_what_to_name(folder)}"
            )
        _refuse_missing_folder(name)
        return load_base_model(ModelSpec(id=name), device, encoder_windows=windows)
    _check_adapter(folder)
    spec = _base_of(folder, base)
    try:
        model, tokenizer = load_stock(spec, encoder_windows=windows)
    except ModelError as error:
        if base is not None:
            raise
        place = folder / "adapter_config.json"
        raise ModelError(
            f"{place} names the base model {spec.id}, which cannot be loaded: {error}\n"
            "  Where that is a folder elsewhere, name it with --base."
        ) from error
    part = other_part(model, tokenizer, read_base_model(folder))
    note = part and (
        f"adapter {name} was measured with {OTHER[part]} than {spec.id} has: as it is, it hears other words"
    )
    if note and base is None:
        raise ModelError(
            f"{note}\n  Put the files back that were there, or name the folder that holds them with --base."
        )
    try:
        merged = with_adapter(model, folder)
    except Exception as error:  # PEFT raises many unrelated classes for what it cannot read
        if is_out_of_memory(error):
            raise
        first = " ".join(str(error).split())[:200]
        raise ModelError(
            f"adapter {name} does not fit {spec.id}: {first}\n  Name its own base with --base."
        ) from error
    return wrap_model(spec, merged, tokenizer, device, ATEN, note)


def settings_of(name: str) -> Transcription:
    """Return what a model that `open_model` opened was measured with, by the file beside it in its
    folder or on the hub. Raises as `read_transcription` does.
    """
    folder = Path(os.path.expanduser(name))
    if not folder.is_dir() and (place := hub_file(ModelSpec(id=name), NAME)):
        folder = place.parent
    return read_transcription(folder)


def _config_of(folder: Path) -> dict[str, Any]:
    """Return the configuration of an adapter folder. Raises ModelError where it is damaged."""
    place = folder / "adapter_config.json"
    try:
        config: Any = json.loads(place.read_bytes(), parse_constant=_not_finite)
        return dict(config.items())
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{place} is damaged: {str(error)[:200]}\n  Export the adapter again."
        ) from error


def _not_finite(word: str) -> float:
    raise ValueError(f"{word} is no number that an adapter can have")


def _check_adapter(folder: Path) -> None:
    """Raise ModelError for an adapter folder that holds no safetensors weights, or whose rank or
    alpha is no positive finite number: PEFT would unpickle code, or compute nonsense.
    """
    config = _config_of(folder)
    for name in ("r", "lora_alpha"):
        if name == "r" and config.get("peft_type") == "OFT":
            continue  # 0 there, where the size of its blocks is given
        value = config.get(name, 1)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise ModelError(
                f"{folder / 'adapter_config.json'} is damaged: {name} is {str(value)[:40]}, must be a number above 0\n"
                "  Export the adapter again."
            )
    if not (folder / "adapter_model.safetensors").is_file():
        pickled = (folder / "adapter_model.bin").exists()
        raise ModelError(
            f"{folder} has no adapter_model.safetensors"
            + (
                ", and adapter_model.bin is a pickle, which can run code and is not opened"
                if pickled
                else ""
            )
            + "\n  Save the adapter again with a PEFT that writes safetensors."
        )


def _base_of(folder: Path, base: str | None) -> ModelSpec:
    """Return the base model of an adapter folder: `base`, or else the one that its configuration
    names. Raises ModelError where it names none, or a folder that is not there.
    """
    if base is not None:
        base = os.path.expanduser(base)
        _refuse_missing_folder(base)
        return ModelSpec(id=base)
    place, config = folder / "adapter_config.json", _config_of(folder)
    written, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(written, str) or not written:
        raise ModelError(f"{place} names no base model\n  Name it with --base.")
    # an adapter inside a study names it relative to the project's folder, which is above studies/
    if written.startswith("./"):
        above = (parent / written for parent in folder.resolve().parents)
        written = str(next((model for model in above if model.is_dir()), Path(written).absolute()))
    if Path(written).is_absolute() and not Path(written).is_dir():
        raise ModelError(
            f"{place} names the base model {written}, which is not there\n  Name it with --base."
        )
    return ModelSpec(
        id=written, revision=revision if isinstance(revision, str) and revision else "main"
    )


def transcribe_files(
    base: BaseModel, paths: Sequence[str], *, rms: float | None, max_tokens_per_second: float
) -> Iterator[Transcript]:
    """Yield the transcript of every file, in order, or why it has none. Recordings that are longer
    than `LONGEST` seconds, or than the model takes, are cut at pauses and transcribed in pieces."""
    waiting: list[_Recording] = []
    for path in paths:
        waiting.append(_load_recording(base, path, rms))
        if sum(len(recording.pieces) for recording in waiting) >= TOGETHER:
            yield from _transcribe_recordings(base, waiting, max_tokens_per_second)
            waiting = []
    yield from _transcribe_recordings(base, waiting, max_tokens_per_second)


def _transcribe_recordings(
    base: BaseModel, recordings: Sequence[_Recording], max_tokens_per_second: float
) -> Iterator[Transcript]:
    clips = [clip for recording in recordings for clip in recording.pieces]
    decoded = decode_clips(base, clips, max_tokens_per_second) if clips else Decoded([], [])
    said = iter(zip(decoded.tokens, decoded.truncated, strict=True))
    for recording in recordings:
        parts = [next(said) for _ in recording.pieces]
        text = " ".join(filter(None, (base.text(tokens) for tokens, _ in parts)))
        yield Transcript(
            recording.path, text, any(truncated for _, truncated in parts), recording.fault
        )


def decode_clips(
    base: BaseModel, clips: Sequence[Samples], max_tokens_per_second: float
) -> Decoded:
    """Decode clips that belong to no set, with the model as it is. There should be about `TOGETHER`
    of them, because all their frames are kept at once.
    """
    store = EncoderCache(base.family, {"clips": clips}, MEMORY, base.device)
    max_new_tokens = token_caps([len(clip) / SAMPLE_RATE for clip in clips], max_tokens_per_second)
    return transcribe(base, store, "clips", max_new_tokens, ())[0]


def _load_recording(base: BaseModel, path: str, rms: float | None) -> _Recording:
    try:
        samples = _decode_file(base, path)
    except ManifestError as error:
        return _Recording(path, (), str(error))
    scaled = samples if rms is None else scale_to_rms(samples, rms)[0]
    longest = int(SAMPLE_RATE * min(LONGEST, base.family.longest_seconds))
    return _Recording(path, tuple(split_at_pauses(scaled, longest)))


def _decode_file(base: BaseModel, path: str) -> Samples:
    name, audio = f"audio file {show(path)}", locate(path, Path.cwd())
    read_header(audio, name)
    samples = load_audio(Utterance(id=path, text="", audio=audio)).samples
    if len(samples) < base.family.shortest:
        raise UnusableError(
            f"{name} has {len(samples)} samples; the model needs at least {base.family.shortest}"
        )
    return samples
