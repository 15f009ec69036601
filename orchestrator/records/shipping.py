"""What is remembered of an exported form: `export.json` beside its graphs, and what the form was
heard to say.
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
from orchestrator.sweepfile.evaluation import EncoderWindows

NAME = "export.json"
Form = Literal["adapter", "merged", "onnx", "moonshine"]
FORMS: tuple[Form, ...] = get_args(Form)
GraphForm = Literal["onnx", "moonshine"]
GRAPH_FORMS: tuple[GraphForm, ...] = get_args(GraphForm)
Quantized = Literal["none", "int8"]
QUANTIZED: tuple[Quantized, ...] = get_args(Quantized)
Model = Literal["baseline", "tuned"]
"""Which model of a comparison: the untuned one, or the one with the adapter."""


@dataclass(frozen=True)
class ExportForm:
    """The form in which a model is exported."""

    form: Form = "adapter"
    quantized: Quantized = "none"
    """How the weights are quantised; for the forms with graphs only."""
    windows: EncoderWindows | None = None
    """Encoder windows other than the study's; for the forms with graphs only."""
    changed_only: bool = False
    """Write only the graphs that the adapter changes; for the moonshine form only."""


class ExportManifest(Value):
    """The content of export.json: everything that decides what an exported form says. The fields
    named in `LABELS` are compared with the study.
    """

    form: GraphForm
    quantized: Quantized
    sweep: str
    trial: int | None
    """Number of the trial; None for the untuned model."""
    step: int | None
    adapter_scale: float | None
    """The scale at which the adapter is merged into the weights."""
    adapter_sha256: str
    """Digest of adapter_model.safetensors as the study keeps it; empty without an adapter."""
    base_weights_sha256: str
    """Digest of the base model's weights, as in the evaluation's fingerprint."""
    encoder_windows: str
    """Frames before and ahead that each layer attends to, as the graphs compute them."""
    windows_form: EncoderWindows
    """The value of `evaluation.encoder_windows` that means these windows."""
    rms: float | None
    """Level to which each clip is scaled before it is transcribed; null leaves it as it is."""
    max_tokens_per_second: float
    """A clip gives at most floor(this * seconds) + 2 tokens."""
    tokenizer_sha256: str
    """Digest of the text of every token, in order."""
    start: int
    """Id of the token that the decoder starts with."""
    ends: tuple[int, ...]
    """Ids of the tokens that end a text."""
    multiple: int
    """Clips are cut to a multiple of this many samples."""
    cache_shape: tuple[int, int, int]
    """Layers, heads and head_dim of the decoder's self-attention cache."""
    files: dict[str, str]
    """File -> SHA-256 of its bytes."""

    @property
    def key(self) -> str:
        """The form and its quantisation in one word, such as onnx or onnx-int8."""
        return form_key(self.form, self.quantized)


def form_key(form: str, quantized: str) -> str:
    """Return a form and its quantisation in one word, such as onnx or onnx-int8."""
    return form if quantized == "none" else f"{form}-{quantized}"


MADE = re.compile(
    rf"({'|'.join(FORMS)})(-({'|'.join(QUANTIZED)}))?-({'|'.join(get_args(EncoderWindows))})"
    r"-(untuned|trial-\d+-\d+-[0-9.e-]+)"
)
"""The name of a folder in a study's cache in which a form was made: form, encoder windows, and
which trial at which step and adapter scale.
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
    """Yield how an export differs from what the study would have exported, by the names of
    `LABELS`.
    """
    for field, label in LABELS.items():
        theirs, ours = getattr(found, field), getattr(expected, field)
        if theirs != ours:
            shown = [
                f"{str(value)[:16]}..." if field.endswith("sha256") else str(value)
                for value in (theirs, ours)
            ]
            yield f"{label}: the export has {shown[0]}, the study {shown[1]}"


def altered_files(manifest: ExportManifest, folder: Path) -> Iterator[str]:
    """Yield, in words, the files of an export that are not as they were written."""
    for name, digest in manifest.files.items():
        place = folder / name
        if not place.is_file():
            yield f"{name} is missing"
        elif file_sha256(place) != digest:
            yield f"{name} is not the file that was exported"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(manifest: ExportManifest, folder: Path) -> None:
    """Write what an export is into its folder."""
    (folder / NAME).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> ExportManifest:
    """Return what an export says of itself. Raises ModelError for a folder that is not there, is no
    export, or is damaged.
    """
    place = folder / NAME
    if not folder.exists():
        raise ModelError(
            f"there is no folder {folder}\n"
            "  --runtime takes onnx, moonshine, or a folder that orchestrate export wrote."
        )
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
    """An utterance in which the exported form gives other words than the form that was measured."""

    set: str
    utterance: str
    model: Model
    measured: str
    """The text of the form that was measured."""
    shipped: str
    """The text of the exported form."""
    margin: float | None
    """Difference of the two best logits, in the measured form, at the first token that differs;
    None where the tokens are the same and only their text is not.
    """


class ShippedSet(Value):
    """One set, transcribed by the untuned and the tuned model in the measured and in the exported
    form.
    """

    baseline_measured: SetMeasurement
    tuned_measured: SetMeasurement
    baseline_shipped: SetMeasurement
    tuned_shipped: SetMeasurement
    audio: str = ""
    """Digest of the set's sound, as in the evaluation's fingerprint."""
    text: str = ""
    """The same of its texts."""


class Shipped(Value):
    """What one exported form of one trial was heard to say."""

    form: GraphForm
    quantized: Quantized
    trial: int
    step: int | None
    adapter_scale: float | None
    differences: tuple[str, ...]
    """How the export differs from what the study would have exported, in words; empty where it does
    not.
    """
    sets: dict[str, ShippedSet]
    """Keys are the names that measurements use; confirm sets begin with confirm_."""
    other_words: tuple[OtherWords, ...]
    unlike_record: int
    """Utterances of the search's sets whose text, in the measured form, is not the one on file."""
    encoder_apart: float
    """Largest difference of the encoder's output on one clip, as a share of its largest value."""
    logits_apart: float
    """Largest difference of the first step's logits on that clip."""
    real_time_factor: float
    """Seconds of computing per second of audio, one clip at a time, on the machine that
    transcribed.
    """
    size_bytes: int
    """Size of all graphs in bytes."""
    versions: dict[str, str]
    """Package -> its version when the form was heard."""
    part: str = ""
    """Empty for the form that the study makes itself, heard on every set; otherwise which folder
    and which sets it was.
    """

    @property
    def key(self) -> str:
        """The form and its quantisation in one word."""
        return form_key(self.form, self.quantized)

    @property
    def name(self) -> str:
        """The name under which it is kept, such as onnx-int8/3 or onnx/3/sets domain. Only one
        without a part decides a verdict.
        """
        return "/".join(filter(None, (self.key, str(self.trial), self.part)))


class ShippedFile(RootModel[dict[str, Shipped]]):
    """shipped.json: `Shipped.name` -> what that exported form was heard to say."""
