"""Clips and texts of every set against what a model was made for, confirm sets too, from manifests and
headers alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.checks import Finding, finding
from orchestrator.corpus.clips import SAMPLE_RATE
from orchestrator.corpus.diagnosis import TRAINING_SETS, check_limits, is_upper_case, listed, used
from orchestrator.corpus.faults import show
from orchestrator.corpus.manifest import Manifest, Utterance
from orchestrator.records.model_limits import ModelLimits, token_caps
from orchestrator.sweepfile.sweep import SweepSpec

TOKENS_MORE = 5
"""Than the frames of its clip a text may have: the end of the text, and the edges of a very short
clip.
"""


CUT_OFF = 0.01
"""Share of the references of a set that the token cap may cut: a few are dense by mistake."""


def find_lengths(
    spec: SweepSpec, sets: Mapping[str, Manifest], model: ModelLimits
) -> list[Finding]:
    """What of the sets, as they were read, the model cannot take, cannot say or leaves out."""
    most = spec.data.max_seconds
    findings = check_limits(sets, most, model.longest_seconds)
    for name, manifest in sets.items():
        heard = used(name, manifest, most)
        texts = [utterance.text for utterance in heard]
        texts = [text.lower() for text in texts] if is_upper_case(texts) else texts
        labels = model.labels(texts)
        findings += _label_length(model, name, manifest, heard, labels)
        findings += _unknown_tokens(model, name, manifest, heard, texts, labels)
        if name not in TRAINING_SETS:
            findings += _too_short(model, name, manifest, heard)
            findings += _token_cap(
                model, spec.evaluation.max_tokens_per_second, name, manifest, heard, labels
            )
    return findings


def _label_length(
    model: ModelLimits,
    name: str,
    manifest: Manifest,
    heard: Sequence[Utterance],
    labels: Sequence[list[int]],
) -> Iterator[Finding]:
    said = [
        (utterance, _fault(model, utterance, len(row)))
        for utterance, row in zip(heard, labels, strict=True)
    ]
    faults = [(utterance, fault) for utterance, fault in said if fault]
    if faults:
        yield finding(
            "label-length",
            f"{len(faults)} of {len(heard)} texts of {name} are longer than the model can learn or say: "
            f"{listed(manifest, faults)}. Give each line the words of its own clip, or cut or delete it.",
        )


def _too_short(
    model: ModelLimits, name: str, manifest: Manifest, heard: Sequence[Utterance]
) -> Iterator[Finding]:
    """Of evaluation sets; a training clip that is too short is a bad line."""
    least = model.shortest
    samples = [(utterance, round((utterance.duration or 0.0) * SAMPLE_RATE)) for utterance in heard]
    faults = [(utterance, f"{count} samples") for utterance, count in samples if count < least]
    if faults:
        yield finding(
            "too-short",
            f"{len(faults)} of {len(heard)} clips of {name} are shorter than the {least} samples that the model needs "
            f"(16 kHz): {listed(manifest, faults)}. Delete the lines, or give them their whole sound.",
        )


def _token_cap(
    model: ModelLimits,
    rate: float,
    name: str,
    manifest: Manifest,
    heard: Sequence[Utterance],
    labels: Sequence[list[int]],
) -> Iterator[Finding]:
    """References that the model could say, and no decode of the sweep could give in full."""
    seconds = [utterance.duration or 0.0 for utterance in heard]
    needed = [
        (utterance, len(row), cap)
        for utterance, row, cap in zip(heard, labels, token_caps(seconds, rate), strict=True)
    ]
    over = [
        (utterance, f"{need} tokens, at most {cap}")
        for utterance, need, cap in needed
        if need > cap and not _fault(model, utterance, need)
    ]
    if len(over) > CUT_OFF * len(heard):
        densest = max(len(row) / most for row, most in zip(labels, seconds, strict=True) if most)
        yield finding(
            "token-cap",
            f"{len(over)} of {len(heard)} references of {name} are longer than evaluation.max_tokens_per_second = "
            f"{rate:g} lets the model say: {listed(manifest, over)}. The densest needs {densest:.1f}: raise it.",
        )


def _unknown_tokens(
    model: ModelLimits,
    name: str,
    manifest: Manifest,
    heard: Sequence[Utterance],
    texts: Sequence[str],
    labels: Sequence[list[int]],
) -> Iterator[Finding]:
    """Characters that do not come back from the tokens of their text: an unknown token, or nothing,
    in their place.
    """
    again = model.texts([list(row) for row in labels])
    lost = [
        Counter() if text == back else _characters(text) - _characters(back)
        for text, back in zip(texts, again, strict=True)
    ]
    rows = [row for row, is_lost in enumerate(lost) if is_lost]
    if not rows:
        return
    first, total = heard[rows[0]], sum(lost, Counter())
    given = " ".join(show(character)[1:-1] for character, _ in total.most_common(10))
    effect = (
        "an adapter learns to leave them out" if name in TRAINING_SETS else "no model can say them"
    )
    yield finding(
        "unknown-tokens",
        f"{len(rows)} of {len(texts)} texts of {name} have characters that the model's tokenizer cannot write "
        f"({given}), e.g. {manifest.path}:{first.line} ({show(first.text)}): {effect}. Spell them with characters that "
        "the model has.",
    )


def _characters(text: str) -> Counter[str]:
    """Of a text, without regard to case, width and spaces."""
    return Counter("".join(unicodedata.normalize("NFKC", text).casefold().split()))


def _fault(model: ModelLimits, utterance: Utterance, tokens: int) -> str:
    """What is wrong with a text of so many tokens, its end included; empty where nothing is."""
    seconds = utterance.duration or 0.0
    frames = int(seconds * SAMPLE_RATE / model.stride)
    if tokens > model.positions:
        return (
            f"{tokens} tokens beside {seconds:.1f} s; the decoder has {model.positions} positions"
        )
    if tokens > frames + TOKENS_MORE:
        return f"{tokens} tokens beside {seconds:.1f} s, which are {frames} encoder frames"
    return ""
