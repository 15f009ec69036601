"""Compares the clips and texts of every set, confirm sets too, with what the model was made for,
from manifests and headers alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.checks import Finding, finding
from orchestrator.corpus.manifest_errors import place_text, show
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.corpus.sets.diagnosis import (
    TRAINING_SETS,
    check_limits,
    is_upper_case,
    listed_lines,
    used_utterances,
)
from orchestrator.corpus.utterance import Utterance
from orchestrator.records.readiness.model_limits import ModelLimits, token_caps
from orchestrator.sweepfile.sweep import SweepSpec

TOKENS_MORE = 5
"""How many more tokens than encoder frames a text may have: room for the end token, and for the
edges of a very short clip.
"""


CUT_OFF = 0.01
"""Share of a set's references that the token cap may cut without a finding: a few are dense by
mistake.
"""


@dataclass(frozen=True)
class _UsedTexts:
    """The utterances of one set that are used, with their texts as the model learns them and the
    tokens of each text, its end included.
    """

    model: ModelLimits
    """The limits of the model."""
    name: str
    manifest: Manifest
    utterances: Sequence[Utterance]
    texts: Sequence[str]
    labels: Sequence[list[int]]

    def fault(self, utterance: Utterance, tokens: int) -> str:
        """Say what is wrong with a text of so many tokens, its end included; empty where nothing
        is.
        """
        seconds = utterance.seconds
        frames = int(seconds * SAMPLE_RATE / self.model.stride)
        positions = self.model.positions
        if tokens > positions:
            return f"{tokens} tokens beside {seconds:.1f} s; the decoder has {positions} positions"
        if tokens > frames + TOKENS_MORE:
            return f"{tokens} tokens beside {seconds:.1f} s, which are {frames} encoder frames"
        return ""


CANNOT_TAKE = "The model cannot take the data as they are"
"""Heading above the findings that stop a sweep."""


def find_limit_violations(
    spec: SweepSpec, sets: Mapping[str, Manifest], model: ModelLimits
) -> list[Finding]:
    """Return what the model cannot take, cannot say or leaves out of the sets as they were read."""
    longest = spec.data.max_seconds
    findings = check_limits(sets, longest, model.longest_seconds)
    for name, manifest in sets.items():
        texts = _used_texts(model, name, manifest, longest)
        findings += _label_length(texts)
        findings += _unknown_tokens(texts)
        if name not in TRAINING_SETS:
            findings += _too_short(texts)
            findings += _token_cap(texts, spec.evaluation.max_tokens_per_second)
    return findings


def _used_texts(model: ModelLimits, name: str, manifest: Manifest, longest: float) -> _UsedTexts:
    utterances = used_utterances(name, manifest, longest)
    texts = [utterance.text for utterance in utterances]
    if is_upper_case(texts):
        texts = [text.lower() for text in texts]
    return _UsedTexts(model, name, manifest, utterances, texts, model.labels(texts))


def _label_length(texts: _UsedTexts) -> Iterator[Finding]:
    """Find texts with more tokens than the model can learn or say."""
    lengths = zip(texts.utterances, texts.labels, strict=True)
    said = [(utterance, texts.fault(utterance, len(tokens))) for utterance, tokens in lengths]
    faults = [(utterance, fault) for utterance, fault in said if fault]
    if faults:
        yield finding(
            "label-length",
            f"{len(faults)} of {len(said)} texts of {texts.name} are longer than the model can learn or say: "
            f"{listed_lines(texts.manifest, faults)}. Give each line the words of its own clip, or cut or delete it.",
        )


def _too_short(texts: _UsedTexts) -> Iterator[Finding]:
    """Find clips of an evaluation set that are shorter than the model needs; in a training set such
    a clip is a bad line.
    """
    least = texts.model.shortest
    faults = []
    for utterance in texts.utterances:
        samples = round(utterance.seconds * SAMPLE_RATE)
        if samples < least:
            faults.append((utterance, f"{samples} samples"))
    if faults:
        yield finding(
            "too-short",
            f"{len(faults)} of {len(texts.utterances)} clips of {texts.name} are shorter than the {least} samples that "
            f"the model needs (16 kHz): {listed_lines(texts.manifest, faults)}. Delete the lines, or give them their "
            "whole "
            "sound.",
        )


def _token_cap(texts: _UsedTexts, rate: float) -> Iterator[Finding]:
    """Find references that the model could say, but that the sweep's token cap would cut in every
    decode.
    """
    seconds = [utterance.seconds for utterance in texts.utterances]
    needed = [len(tokens) for tokens in texts.labels]
    over = []
    for utterance, need, cap in zip(
        texts.utterances, needed, token_caps(seconds, rate), strict=True
    ):
        if need > cap and not texts.fault(utterance, need):
            over.append((utterance, f"{need} tokens, at most {cap}"))
    if len(over) > CUT_OFF * len(texts.utterances):
        densest = max(need / length for need, length in zip(needed, seconds, strict=True) if length)
        yield finding(
            "token-cap",
            f"{len(over)} of {len(texts.utterances)} references of {texts.name} are longer than "
            f"evaluation.max_tokens_per_second = {rate:g} lets the model say: "
            # one number mends them all, so nobody has to find the others
            f"{listed_lines(texts.manifest, over, most=3)}. The densest needs {densest:.1f}: raise it.",
        )


def _unknown_tokens(texts: _UsedTexts) -> Iterator[Finding]:
    """Find characters that are lost when a text is turned into tokens and back: an unknown token,
    or nothing, is in their place.
    """
    again = texts.model.texts([list(tokens) for tokens in texts.labels])
    lost = [
        Counter() if text == back else _lost_characters(text, back)
        for text, back in zip(texts.texts, again, strict=True)
    ]
    rows = [row for row, is_lost in enumerate(lost) if is_lost]
    if not rows:
        return
    first, total = texts.utterances[rows[0]], sum(lost, Counter())
    given = " ".join(show(character)[1:-1] for character, _ in total.most_common(10))
    effect = "no model can say them"
    if texts.name in TRAINING_SETS:
        effect = "an adapter learns to leave them out"
    yield finding(
        "unknown-tokens",
        f"{len(rows)} of {len(lost)} texts of {texts.name} have characters that the model's tokenizer cannot write "
        f"({given}), e.g. {place_text(texts.manifest.path, first.place)} ({show(first.text)}): {effect}. "
        "Spell them with characters that the model has.",
    )


def _lost_characters(text: str, back: str) -> Counter[str]:
    """Count the characters of a text that `back` lacks, as they stand there, but for those that it
    has in another case or width.
    """
    missing = _count_characters(text) - _count_characters(back)
    lost = Counter(text) - Counter(back) if missing else Counter[str]()
    return Counter({each: n for each, n in lost.items() if _count_characters(each) & missing})


def _count_characters(text: str) -> Counter[str]:
    """Count the characters of a text, ignoring case, width and spaces."""
    return Counter("".join(unicodedata.normalize("NFKC", text).casefold().split()))
