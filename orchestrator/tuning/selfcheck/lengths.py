"""Clips and texts of every set against what the model was made for, confirm sets too, before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.checks import Finding, finding, stop
from orchestrator.corpus.clips import SAMPLE_RATE
from orchestrator.corpus.diagnosis import check_limits, is_upper_case, listed, used
from orchestrator.corpus.manifest import Manifest, Utterance
from orchestrator.errors import DataError
from orchestrator.records.sets import read_sets
from orchestrator.sweepfile.sweep import SweepSpec
from orchestrator.tuning.model.base_model import BaseModel

TOKENS_MORE = 5
"""Than the frames of its clip a text may have: the end of the text, and the edges of a very short clip."""


def check_lengths(spec: SweepSpec, base: BaseModel) -> tuple[Finding, ...]:
    """What is left out or ignored. Raises DataError with all clips and texts that do not fit, each with file and line;
    ManifestError."""
    sets, most = read_sets(spec), spec.data.max_seconds
    findings = check_limits(sets, most, base.family.longest_seconds)
    for name, manifest in sets.items():
        findings += _label_length(base, name, manifest, used(name, manifest, most))
    stop(findings, spec.checks.ignore, "The model cannot take the data as they are", DataError)
    return tuple(findings)


def _label_length(base: BaseModel, name: str, manifest: Manifest, heard: list[Utterance]) -> Iterator[Finding]:
    texts = [each.text for each in heard]
    labels = base.labels([text.lower() for text in texts] if is_upper_case(texts) else texts)
    said = [(each, _fault(base, each, len(row))) for each, row in zip(heard, labels, strict=True)]
    faults = [(each, fault) for each, fault in said if fault]
    if faults:
        yield finding(
            "label-length",
            f"{len(faults)} of {len(heard)} texts of {name} are longer than the model can learn or say: "
            f"{listed(manifest, faults)}. Give each line the words of its own clip, or cut or delete it.",
        )


def _fault(base: BaseModel, utterance: Utterance, tokens: int) -> str:
    """What is wrong with a text of so many tokens, its end included; empty where nothing is."""
    seconds = utterance.duration or 0.0
    frames = int(seconds * SAMPLE_RATE / base.family.stride)
    if tokens > base.decoder.positions:
        return f"{tokens} tokens beside {seconds:.1f} s; the decoder has {base.decoder.positions} positions"
    if tokens > frames + TOKENS_MORE:
        return f"{tokens} tokens beside {seconds:.1f} s, which are {frames} encoder frames"
    return ""
