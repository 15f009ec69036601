"""Verifying an exported form: the winner of a study and the untuned model transcribe its sets in
that form, and the words are compared with those that were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.errors import ModelError
from orchestrator.files.atomic import new_folder
from orchestrator.records.readiness.reading_sets import read_evaluation_set
from orchestrator.records.shipping import (
    ExportManifest,
    GraphForm,
    Model,
    OtherWords,
    Quantized,
    Shipped,
    ShippedSet,
    altered_files,
    differences,
    form_key,
    read_manifest,
)
from orchestrator.records.worker_protocol import Hypotheses
from orchestrator.set_names import search_name
from orchestrator.sweepfile.data import SetSource
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.decoding.evaluation_fingerprint import set_parts
from orchestrator.tuning.decoding.evaluation_set import EvaluationSet, load_evaluation_set
from orchestrator.tuning.decoding.greedy_decoding import Decoded, transcribe
from orchestrator.tuning.deploying.export_comparison import (
    Numbers,
    apart,
    engine_numbers,
    margin,
    name_cause,
    runtime_numbers,
)
from orchestrator.tuning.deploying.moonshine_export import (
    TOKENIZER,
    read_tokenizer_bin,
    token_bytes,
)
from orchestrator.tuning.deploying.runtime import (
    OnnxRuntime,
    Runtime,
    RuntimeHearing,
    hear,
    open_runtime,
)
from orchestrator.tuning.deploying.writing import (
    Source,
    describe,
    vocabulary_sha256,
    wrapped,
    write_graphs,
)
from orchestrator.tuning.model.base_model import BaseModel, refuse_other_model
from orchestrator.tuning.model.device import autocast_to
from orchestrator.tuning.model.encoder_cache import EncoderCache
from orchestrator.tuning.model.windows import EncoderWindow, inclusive_windows

MEMORY = 2**29
"""Bytes that the frames of a set may take."""


@dataclass(frozen=True)
class Verification:
    """A verification that is to be made."""

    spec: SweepSpec
    sets: Mapping[str, SetSource]
    """The sets by the names that measurements use, such as domain and confirm_domain."""
    source: Source
    """The winner, as the study has it."""
    form: GraphForm
    quantized: Quantized
    export: Path | None
    """The exported folder to verify; None makes one."""
    cache: Path
    """The cache of the study."""
    project_cache: Path
    """The cache of all studies of the project."""
    recorded: Mapping[Model, Hypotheses]
    """The hypotheses that the search recorded, of the sets that it measured."""
    measured: Mapping[str, str]
    """The parts of an evaluation's fingerprint that tell the study's base model, as far as known."""

    @property
    def untuned(self) -> Source:
        """The base model without the adapter."""
        return replace(self.source, adapter=None, trial=None, step=None, adapter_scale=None)


def verify(job: Verification, say: Callable[[str], None]) -> Shipped:
    """Transcribe every set four times, by the baseline and by the winner, each as it was measured
    and as it ships; return the measurements, and how the export differs from the study's model.

    Raises ModelError, ManifestError or SpecError where a form cannot be made or run, ModelError also
    where the base model is not the one that the study was measured with.
    """
    tuned, untuned = wrapped(job.source), wrapped(job.untuned)
    base = untuned.weights_sha256
    refuse_other_model(job.spec.model, untuned.model, untuned.tokenizer, job.measured)
    say(f"exporting the {form_key(job.form, job.quantized)} form")
    folder = job.export or _made(job, job.source, base)
    manifest = read_manifest(folder)
    ships = replace(job.untuned, windows=manifest.windows_form)
    beside = _made(replace(job, form=manifest.form, quantized=manifest.quantized), ships, base)
    runtime = open_runtime(folder, manifest)
    named = [*_named(job, tuned, untuned, runtime, folder)]
    sets = {name: _load(job, name, source, untuned) for name, source in job.sets.items()}
    probe = _clip(sets)
    numbers, ours = runtime_numbers(runtime, probe), engine_numbers(tuned, probe)
    if not named and manifest.quantized == "none":
        named += _cause(job, numbers, tuned, untuned, probe)
    models: dict[Model, tuple[BaseModel, Runtime]] = {
        "baseline": (untuned, open_runtime(beside, read_manifest(beside))),
        "tuned": (tuned, runtime),
    }
    return _measure_models(job, manifest, models, sets, say).model_copy(
        update={
            "differences": tuple(named),
            "encoder_apart": _finite(apart(numbers.encoded, ours.encoded)),
            "logits_apart": _finite(float(np.abs(numbers.logits - ours.logits).max())),
            "size_bytes": sum(path.stat().st_size for path in folder.glob("*.onnx")),
        }
    )


def _finite(value: float) -> float:
    """Return a number that a JSON file can hold: other shapes are infinitely far apart."""
    return min(value, 1e9)


def _made(job: Verification, source: Source, base_weights: str) -> Path:
    """Return the folder of an export in the study's cache; it is written where it is missing,
    damaged, or of another source or base model.
    """
    which = (
        "untuned"
        if source.trial is None
        else f"trial-{source.trial}-{source.step}-{source.adapter_scale!r}"
    )
    folder = job.cache / "shipped" / f"{form_key(job.form, job.quantized)}-{source.windows}-{which}"
    if _is_kept(folder, source, base_weights):
        return folder
    with new_folder(folder) as aside:
        write_graphs(source, job.form, job.quantized, aside)
    return folder


def _is_kept(folder: Path, source: Source, base_weights: str) -> bool:
    """Return whether the folder holds an undamaged export of this base model, adapter, level and
    token cap; encoder windows, trial, step and adapter scale are in its name.
    """
    try:
        manifest = read_manifest(folder)
    except ModelError:
        return False
    wanted = source.evaluation
    same = (
        manifest.base_weights_sha256 == base_weights
        and manifest.adapter_sha256 == source.adapter_sha256
        and manifest.rms == wanted.rms
        and manifest.max_tokens_per_second == wanted.max_tokens_per_second
    )
    return same and not [*altered_files(manifest, folder)]


def _named(
    job: Verification, tuned: BaseModel, untuned: BaseModel, runtime: Runtime, folder: Path
) -> Iterator[str]:
    """Yield a sentence for each way in which an export is not the study's winner, by its manifest
    and by its files.
    """
    manifest = runtime.manifest
    expected = describe(
        job.source,
        manifest.form,
        job.quantized if job.export is None else manifest.quantized,
        tuned.model,
        tuned.tokenizer,
        tuned.family,
        untuned.weights_sha256,
    )
    yield from differences(manifest, expected)
    yield from altered_files(manifest, folder)
    own = _vocabulary_sha256(runtime, folder, tuned)
    if own != expected.tokenizer_sha256 and manifest.tokenizer_sha256 == expected.tokenizer_sha256:
        yield "tokenizer: the file beside the graphs is not the study's, whatever export.json says"


def _vocabulary_sha256(runtime: Runtime, folder: Path, base: BaseModel) -> str:
    if isinstance(runtime, OnnxRuntime):
        return vocabulary_sha256(token_bytes(runtime.tokenizer, base.model.config.vocab_size))
    return vocabulary_sha256(read_tokenizer_bin((folder / TOKENIZER).read_bytes()))


def _cause(
    job: Verification, numbers: Numbers, tuned: BaseModel, untuned: BaseModel, clip: np.ndarray
) -> Iterator[str]:
    """Yield why the export's numbers are not those of the study's model, although by its manifest
    it is that model.
    """
    used = tuned.family.windows
    readings: list[list[EncoderWindow]] = []
    if used:
        widths = [(window.before, window.ahead) for window in used]
        more = inclusive_windows([(before + 1, ahead + (ahead > 0)) for before, ahead in widths])
        fewer = inclusive_windows(
            [(max(0, before - 1), max(0, ahead - 1)) for before, ahead in widths]
        )
        readings = [more, fewer]
    own = job.source.adapter_scale or 1.0
    scales = sorted({0.0, 1.0, *job.spec.parameters.adapter_scales} - {own})
    yield from name_cause(
        numbers, tuned, untuned, clip, readings, {scale: scale / own for scale in scales}
    )


def _load(job: Verification, name: str, source: SetSource, base: BaseModel) -> EvaluationSet:
    """Load a set. Terms are counted on the confirm set of the domain as on the search's own."""
    manifest = read_evaluation_set(job.spec, source, job.project_cache)
    return load_evaluation_set(job.spec, search_name(name), manifest, base, job.project_cache)


def _clip(sets: Mapping[str, EvaluationSet]) -> np.ndarray:
    """Return the longest clip of up to ten seconds of the first set, long enough that wrong windows
    and positions show; the shortest where all are longer.
    """
    clips = next(iter(sets.values())).clips
    lengths = clips.sounds.lengths
    short = [row for row in range(len(clips)) if lengths[row] <= 10 * SAMPLE_RATE]
    return clips[max(short, key=lengths.__getitem__) if short else int(np.argmin(lengths))]


def _measure_models(
    job: Verification,
    manifest: ExportManifest,
    models: Mapping[Model, tuple[BaseModel, Runtime]],
    sets: Mapping[str, EvaluationSet],
    say: Callable[[str], None],
) -> Shipped:
    """Measure every set with every model in both forms; the fields of comparison stay empty."""
    found: dict[str, ShippedSet] = {}
    other: list[OtherWords] = []
    unlike, computing, sound = 0, 0.0, 0.0
    for name, evaluation_set in sets.items():
        say(f"hearing {name}: {len(evaluation_set.clips)} utterances, in both forms")
        measured: dict[str, object] = dict(set_parts(evaluation_set))
        for model, (base, runtime) in models.items():
            hearing = hear(
                runtime, _levelled(evaluation_set, job, runtime), evaluation_set.clips.seconds
            )
            with autocast_to(job.spec.precision_of(name), base.device):
                decoded = _by_engine(base, evaluation_set)
                texts = [base.text(tokens) for tokens in decoded.tokens]
                other += _other_words(name, model, evaluation_set, base, decoded, texts, hearing)
            measured[f"{model}_measured"] = evaluation_set.score(texts, decoded)
            measured[f"{model}_shipped"] = evaluation_set.score(hearing.texts, hearing.decoded)
            unlike += _unlike(job.recorded.get(model, {}).get(name), texts)
            computing, sound = (
                computing + hearing.seconds,
                sound + sum(evaluation_set.clips.seconds),
            )
        found[name] = ShippedSet.model_validate(measured)
    return Shipped(
        form=manifest.form,
        quantized=manifest.quantized,
        trial=-1 if job.source.trial is None else job.source.trial,
        step=job.source.step,
        adapter_scale=job.source.adapter_scale,
        differences=(),
        sets=found,
        other_words=tuple(other),
        unlike_record=unlike,
        encoder_apart=0.0,
        logits_apart=0.0,
        real_time_factor=computing / sound,
        size_bytes=0,
        versions={name: version(name) for name in ("onnxruntime", "torch", "transformers")},
    )


def _unlike(recorded: Sequence[str] | None, texts: Sequence[str]) -> int:
    """Return how many hypotheses are not those that the search recorded, if it did."""
    return 0 if recorded is None else sum(a != b for a, b in zip(recorded, texts, strict=True))


def _by_engine(base: BaseModel, evaluation_set: EvaluationSet) -> Decoded:
    store = EncoderCache(base.family, {"set": evaluation_set.clips.sounds}, MEMORY, base.device)
    return transcribe(base, store, "set", evaluation_set.max_new_tokens, ())[0]


def _levelled(
    evaluation_set: EvaluationSet, job: Verification, runtime: Runtime
) -> Sequence[np.ndarray]:
    """Return the clips at the level that the export's manifest asks for, which is the study's
    unless the export is another.
    """
    wanted, own = runtime.manifest.rms, job.spec.evaluation.rms
    if wanted == own or wanted is None or own is None:
        return evaluation_set.clips.sounds
    return [np.clip(clip * np.float32(wanted / own), -1, 1) for clip in evaluation_set.clips]


def _other_words(
    name: str,
    model: Model,
    evaluation_set: EvaluationSet,
    base: BaseModel,
    decoded: Decoded,
    texts: Sequence[str],
    hearing: RuntimeHearing,
) -> Iterator[OtherWords]:
    """Yield the utterances whose words are not the measured ones, each with the margin between the
    two best tokens of the engine where the token sequences part.
    """
    for row, (measured, shipped) in enumerate(zip(texts, hearing.texts, strict=True)):
        if measured == shipped:
            continue
        ours, theirs = decoded.tokens[row], hearing.decoded.tokens[row]
        at = next(
            (i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]),
            None,
        )
        if at is None and len(ours) != len(theirs):
            at = min(len(ours), len(theirs))
        gap = None if at is None else margin(base, evaluation_set.clips[row], ours[:at])
        yield OtherWords(
            set=name,
            utterance=evaluation_set.clips.ids[row],
            model=model,
            measured=measured,
            shipped=shipped,
            margin=gap,
        )
