"""What is remembered of an exported form: `export.json` beside its graphs, and what it was heard to
say.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import RootModel, ValidationError

from orchestrator.errors import ModelError
from orchestrator.records.results import SetMeasurement, Value
from orchestrator.sweepfile.sweep import EncoderWindows

NAME = "export.json"
Form = Literal["adapter", "merged", "onnx", "moonshine"]
FORMS: tuple[Form, ...] = get_args(Form)
GraphForm = Literal["onnx", "moonshine"]
GRAPH_FORMS: tuple[GraphForm, ...] = get_args(GraphForm)
Quantized = Literal["none", "int8"]
QUANTIZED: tuple[Quantized, ...] = get_args(Quantized)
Model = Literal["baseline", "tuned"]


@dataclass(frozen=True)
class ExportForm:
    """In which form a model leaves."""

    form: Form = "adapter"
    quantized: Quantized = "none"
    """Of graphs alone."""
    windows: EncoderWindows | None = None
    """Of graphs alone: other encoder windows than the study's."""
    changed_only: bool = False
    """Of the moonshine form: only the graphs that the adapter changes."""


class ExportManifest(Value):
    """All that decides what an exported form says. Every field but `files` is compared with the
    study.
    """

    form: GraphForm
    quantized: Quantized
    sweep: str
    trial: int | None
    """None is the untuned model."""
    step: int | None
    adapter_scale: float | None
    """In the weights already."""
    adapter_sha256: str
    """Of adapter_model.safetensors as the study keeps it; empty without an adapter."""
    base_weights_sha256: str
    """Of the base model's weights, as in the evaluation's fingerprint."""
    encoder_windows: str
    """Frames before and ahead, layer by layer, as the graphs compute them."""
    windows_form: EncoderWindows
    rms: float | None
    """Level that each clip is scaled to before it is heard; null leaves it."""
    max_tokens_per_second: float
    """A clip gives at most floor(this * seconds) + 2 tokens."""
    tokenizer_sha256: str
    """Of the text of every token, in order."""
    start: int
    ends: tuple[int, ...]
    multiple: int
    """Clips are cut to a multiple of so many samples."""
    cache_shape: tuple[int, int, int]
    """Layers, heads and head_dim of the decoder's self-attention cache."""
    files: dict[str, str]
    """File -> SHA-256 of its bytes."""

    @property
    def key(self) -> str:
        """The form in one word: onnx, onnx-int8."""
        return form_key(self.form, self.quantized)


def form_key(form: str, quantized: str) -> str:
    """A form and its quantisation in one word: onnx, onnx-int8."""
    return form if quantized == "none" else f"{form}-{quantized}"


MADE = re.compile(
    rf"({'|'.join(FORMS)})(-({'|'.join(QUANTIZED)}))?-({'|'.join(get_args(EncoderWindows))})"
    r"-(untuned|trial-\d+-\d+-[0-9.e-]+)"
)
"""The name of a folder of a study's cache in which a form was made: form, windows, and of which
trial at which step and adapter scale.
"""

LABELS = {
    "quantized": "quantisation",
    "trial": "trial",
    "step": "step",
    "adapter_scale": "adapter scale",
    "adapter_sha256": "adapter",
    "base_weights_sha256": "base model's weights",
    "encoder_windows": "encoder windows",
    "rms": "level (evaluation.rms)",
    "max_tokens_per_second": "cap (evaluation.max_tokens_per_second)",
    "tokenizer_sha256": "tokenizer",
    "start": "start token",
    "ends": "end tokens",
    "multiple": "samples a clip is cut to",
}
"""Field of a manifest -> what a person calls it."""


def differences(found: ExportManifest, expected: ExportManifest) -> Iterator[str]:
    """What an export says of itself that is not so in the study, by name."""
    for field, label in LABELS.items():
        theirs, ours = getattr(found, field), getattr(expected, field)
        if theirs != ours:
            shown = [
                f"{str(value)[:16]}..." if field.endswith("sha256") else str(value)
                for value in (theirs, ours)
            ]
            yield f"{label}: the export has {shown[0]}, the study {shown[1]}"


def altered_files(manifest: ExportManifest, folder: Path) -> Iterator[str]:
    """Files of an export that are not as they were written."""
    for name, digest in manifest.files.items():
        place = folder / name
        if not place.is_file():
            yield f"{name} is missing"
        elif file_sha256(place) != digest:
            yield f"{name} is not the file that was exported"


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(manifest: ExportManifest, folder: Path) -> None:
    """Keep what an export is, beside it."""
    (folder / NAME).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> ExportManifest:
    """What an export says of itself. Raises ModelError for a folder that is none, or is damaged."""
    place = folder / NAME
    if not place.is_file():
        raise ModelError(
            f"{folder} has no {NAME}, so it is no export in a runtime's form\n"
            "  Make one: orchestrate export SPEC [N] --to DIR --format onnx"
        )
    try:
        return ExportManifest.model_validate_json(place.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(
            f"{place} is damaged: {where}: {first['msg']}\n  Export the model again."
        ) from error


class OtherWords(Value):
    """An utterance that the exported form hears otherwise than the form that was measured."""

    set: str
    utterance: str
    model: Model
    measured: str
    shipped: str
    margin: float | None
    """How far apart the two best logits were, in the measured form, at the first token that
    differs; None where the tokens are the same and their text is not."""


class ShippedSet(Value):
    """One set, heard by baseline and winner in both forms."""

    baseline_measured: SetMeasurement
    tuned_measured: SetMeasurement
    baseline_shipped: SetMeasurement
    tuned_shipped: SetMeasurement


class Shipped(Value):
    """What one exported form of one trial was heard to say."""

    form: GraphForm
    quantized: Quantized
    trial: int
    step: int | None
    adapter_scale: float | None
    differences: tuple[str, ...]
    """What of the export is not as the study has it, by name; empty where it is the study's."""
    sets: dict[str, ShippedSet]
    """By the names that measurements use; confirm sets begin with confirm_."""
    other_words: tuple[OtherWords, ...]
    unlike_record: int
    """Utterances of the search's sets whose words in the measured form are not those on file."""
    encoder_apart: float
    """Largest difference of the encoder's output on one clip, over its largest value."""
    logits_apart: float
    """Largest difference of the first step's logits on that clip."""
    real_time_factor: float
    """Seconds of computing a second of audio, one clip at a time, on the machine that heard it."""
    size_bytes: int
    """Of the graphs."""
    versions: dict[str, str]
    part: str = ""
    """Where it is not the form that the study makes itself, heard on every set: the folder, the
    sets.
    """

    @property
    def key(self) -> str:
        """The form in one word."""
        return form_key(self.form, self.quantized)

    @property
    def name(self) -> str:
        """Under which it is kept: onnx-int8/3, onnx/3/sets domain. Only what has no part decides a
        verdict.
        """
        return "/".join(filter(None, (self.key, str(self.trial), self.part)))


class ShippedFile(RootModel[dict[str, Shipped]]):
    """shipped.json: what each exported form of the winner was heard to say, by its word and trial:
    onnx/3.
    """
