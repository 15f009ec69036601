"""The output of `orchestrate diagnose MANIFEST...`: lengths and parts of manifests, and the WER of
a model on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.diagnosis import FEW_TRAINING_UTTERANCES
from orchestrator.corpus.sets.durations_and_speakers import SURVIVAL_LIMITS
from orchestrator.corpus.sets.manifest_diagnosis import ManifestBaseline, ManifestDiagnosis
from orchestrator.records.readiness.text_artifacts import (
    artifact_texts,
    other_texts,
    wordless_text,
)
from orchestrator.records.readiness.text_language import foreign_text, unspaced_text
from orchestrator.reporting.rendering.report_blocks import Block, Bullets, Document, Heading, Table
from orchestrator.reporting.wording import counted
from orchestrator.verdicts.headroom import HEADROOM, HIGH, on_its_side


def build(
    found: Sequence[ManifestDiagnosis],
    max_seconds: float,
    baselines: Mapping[Path, ManifestBaseline],
    model: str,
    normalizer: str,
) -> Document:
    """Build the document. `baselines` are the measurements of `model` by the manifest's path; empty
    where none were asked for.
    """
    flags = list(_flag_sentences(found, max_seconds, baselines))
    for each in found:
        name = str(each.manifest.path)
        flags += artifact_texts(name, each.manifest, normalizer)
        flags += other_texts(name, each.manifest)
        flags += filter(None, [wordless_text(name, each.manifest, normalizer)])
        if each.manifest.path in baselines:
            flags += _language_sentences(each.manifest, normalizer)
    blocks: list[Block] = [
        Heading("Lengths"),
        _lengths_table(found),
        Heading("Parts"),
        _parts_table(found, max_seconds),
    ]
    if baselines:
        blocks += [Heading(f"Baseline WER of {model}"), _baselines_table(baselines)]
    if flags:
        blocks += [Heading("To know"), Bullets(tuple(flags))]
    return Document(
        f"Data of {counted(len(found), 'manifest')}",
        f"{counted(len(flags), 'thing')} to know" if flags else "Nothing to object",
        tuple(blocks),
    )


def _lengths_table(found: Sequence[ManifestDiagnosis]) -> Table:
    rows = []
    for each in found:
        total = each.profile.total.utterances
        kept = [each.profile.survivors[limit].utterances for limit in SURVIVAL_LIMITS]
        shares = [f"{count} ({100 * count / total:.1f} %)" for count in kept]
        rows.append((str(each.manifest.path), str(total), f"{each.mean_seconds:.2f}", *shares))
    columns = (
        "manifest",
        "samples",
        "mean s",
        *(f"up to {limit:g} s" for limit in SURVIVAL_LIMITS),
    )
    return Table(columns, tuple(rows))


def _parts_table(found: Sequence[ManifestDiagnosis], max_seconds: float) -> Table:
    columns = ("manifest", f"filtered (up to {max_seconds:g} s)", "train", "validation", "split")
    rows = tuple(
        (
            str(each.manifest.path),
            str(each.kept),
            str(each.train),
            str(each.validation),
            _split_text(each),
        )
        for each in found
    )
    return Table(columns, rows)


def _split_text(found: ManifestDiagnosis) -> str:
    if found.by == "speaker":
        return "by speaker"
    if 0 < found.nameless < found.kept:
        return f"random: {found.nameless} of {found.kept} lines name no speaker"
    return "random: lines name no two speakers"


def _baselines_table(baselines: Mapping[Path, ManifestBaseline]) -> Table:
    rows = tuple(
        (
            str(path),
            _shown_wer(baseline),
            str(baseline.heard),
            str(baseline.too_long),
            f"below {HEADROOM:g} %" * (baseline.wer < HEADROOM)
            + f"above {HIGH:g} %" * (baseline.wer > HIGH),
        )
        for path, baseline in baselines.items()
    )
    return Table(("manifest", "WER %", "utterances heard", "too long to hear", "flag"), rows)


def _shown_wer(baseline: ManifestBaseline) -> str:
    return on_its_side(baseline.wer, HEADROOM if baseline.wer < HEADROOM else HIGH, 2)


def _language_sentences(manifest: Manifest, normalizer: str) -> Iterator[str]:
    """Yield sentences on a language for which the WER that was measured says little."""
    name = str(manifest.path)
    if said := foreign_text(name, manifest, normalizer):
        yield f"{said} For another language measure again with --normalizer basic."
    if said := unspaced_text(name, manifest):
        yield f"{said} For such languages the CER counts, which a sweep measures."


def _flag_sentences(
    found: Sequence[ManifestDiagnosis],
    max_seconds: float,
    baselines: Mapping[Path, ManifestBaseline],
) -> Iterator[str]:
    for each in found:
        if each.kept < FEW_TRAINING_UTTERANCES:
            yield (
                f"{each.manifest.path}: {each.kept} samples are left within {max_seconds:g} s; to train on fewer "
                f"than {FEW_TRAINING_UTTERANCES}, most trials memorise them."
            )
    for path, measured in baselines.items():
        if measured.cut_off:
            yield (
                f"{path}: {measured.cut_off} of {measured.heard} transcripts were cut off at "
                f"{measured.max_tokens_per_second:g} tokens a second, and the WER counts what is missing. Where the "
                "speech is that dense, a sweep needs a larger evaluation.max_tokens_per_second; hear some with "
                "orchestrate transcribe --max-tokens-per-second."
            )
        if measured.wer < HEADROOM:
            yield (
                f"{path}: the model's WER is {_shown_wer(measured)} %, below {HEADROOM:g} %: as a domain "
                "set it leaves little to gain."
            )
        elif measured.wer > HIGH:
            yield (
                f"{path}: the model's WER is {_shown_wer(measured)} %, above {HIGH:g} %: it may hear nothing of what "
                "is said. Listen, and read what it hears: orchestrate transcribe."
            )
