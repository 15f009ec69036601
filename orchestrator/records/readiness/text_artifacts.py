"""Finds text in the transcripts of a set that nobody says: traces of programs, marks of corpora,
texts that are only notes, and texts beside others that may be the ones that are said.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from orchestrator.corpus.importing.selecting import without_brackets
from orchestrator.corpus.manifest_errors import place_text, show
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.manifests.words_beside import words_beside
from orchestrator.corpus.sets.diagnosis import TRAINING_SETS
from orchestrator.records.readiness.corpus_tags import cure_of_tags, find_tags
from orchestrator.scoring.artifacts import Artifacts, find_artifacts, without_artifacts
from orchestrator.scoring.normalizers import normalizer
from orchestrator.typed_words import quoted_path

_SHOWN = 5
"""How many kinds of traces a message names."""

_BRACKETED = {"[": r"\[[^][]*\]", "(": r"\([^()]*\)", "<": r"<[^<>]*>", "{": r"\{[^{}]*\}"}
"""The pattern of a part in brackets, by the bracket that opens it."""


def artifact_texts(name: str, manifest: Manifest, normalizer_name: str) -> Iterator[str]:
    """Yield messages: how many texts of a set count as other words than are meant, what is in them,
    where the first is, and what helps. Yields nothing where all are fine.
    """
    normalize = normalizer(normalizer_name)
    texts = [utterance.text for utterance in manifest.utterances]
    in_training = name in TRAINING_SETS
    effect = "an adapter learns to write so" if in_training else "they count as errors"
    if (found := find_artifacts(texts, normalize)).rows:
        first = _around(texts[found.rows[0]])
        yield (
            f"{len(found.rows)} of {len(texts)} texts of {name} hold traces of the programs that wrote them "
            f"({_named(found)}), e.g. {_place(manifest, found.rows[0])}, where {show(first)} is the words "
            f"{show(normalize(first))} and not {show(normalize(without_artifacts(first)))}: "
            f"{effect}. Replace them in the manifest."
        )
    if (tags := find_tags(texts, normalize, in_training)).rows:
        marked = [texts[row] for row in tags.rows]
        if any(tag in ("<s>", "</s>") for tag, _ in tags.traces):
            effect = "a text with the model's own tokens stops the sweep"
        cure = cure_of_tags([tag for tag, _ in tags.traces], marked, manifest.path)
        yield (
            f"{len(tags.rows)} of {len(texts)} texts of {name} hold marks of their corpus ({_named(tags)}), "
            f"e.g. {_place(manifest, tags.rows[0])} ({show(marked[0])}): {effect}. "
            f"Write what is said, or leave it out: {cure}"
        )


def other_texts(name: str, manifest: Manifest) -> Iterator[str]:
    """Yield a message for each further key of the records that holds other words than the text that
    was taken.
    """
    found: dict[str, list[int]] = {}
    for row, utterance in enumerate(manifest.utterances):
        for key, _ in words_beside(utterance.text, utterance.extra):
            found.setdefault(key, []).append(row)
    for key, rows in found.items():
        first = manifest.utterances[rows[0]]
        yield (
            f'{len(rows)} of {len(manifest.utterances)} lines of {name} say something else in "{key}" than in the '
            f"text that is taken, e.g. {_place(manifest, rows[0])}: {show(first.text)} is taken, and not "
            f'{show(first.extra[key])}. Keep one of the two; where "{key}" is what is said, call it "text" and '
            "the other one otherwise."
        )


def wordless_text(name: str, manifest: Manifest, normalizer_name: str) -> str:
    """Return a message: how many texts of a set are only notes in brackets or signs, such as
    [noise], of which the normaliser leaves no word, where the first is, and what helps. Empty where
    none is.
    """
    normalize = normalizer(normalizer_name)
    texts = [utterance.text for utterance in manifest.utterances]
    # an empty text is left to the model to label; fillers that the normaliser drops are really said
    rows = [
        row
        for row, text in enumerate(texts)
        if text and not re.search(r"\w", without_brackets(text)) and not normalize(text)
    ]
    if not rows:
        return ""
    effect = (
        "an adapter learns to write so"
        if name in TRAINING_SETS
        else "whatever is heard there counts as an insertion"
    )
    said = manifest.path.with_name(f"{manifest.path.stem}-said.jsonl")
    source, out = map(quoted_path, (manifest.path, said))
    notes = shlex.quote(_pattern_of_notes([texts[row] for row in rows]))
    return (
        f"{len(rows)} of {len(texts)} texts of {name} have no word left by normalizer {normalizer_name}, "
        f"e.g. {_place(manifest, rows[0])} ({show(texts[rows[0]])}): {effect}. Leave them out: "
        f"orchestrate manifest filter {source} {out} --without-text {notes}"
    )


def _pattern_of_notes(texts: Sequence[str]) -> str:
    """Return a pattern of texts that are only signs, and parts in brackets of the kinds that these
    texts have.
    """
    kinds = [part for bracket, part in _BRACKETED.items() if any(bracket in text for text in texts)]
    return rf"^(?>{'|'.join(kinds)}|\W)+$" if kinds else r"^\W+$"


def _named(found: Artifacts) -> str:
    return ", ".join(f"{trace!a} {count}" for trace, count in found.traces[:_SHOWN])


def _place(manifest: Manifest, row: int) -> str:
    return place_text(manifest.path, manifest.utterances[row].place)


def _around(text: str) -> str:
    """Return the first word of a text with a trace in it, unchanged."""
    return next((word for word in text.split() if without_artifacts(word) != word), text)
