"""Finds texts in a language for which a WER by the rules in force says little."""

from __future__ import annotations

from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.manifests.manifest import Manifest
from orchestrator.corpus.sets.unspaced_scripts import without_spaces
from orchestrator.scoring.normalizers import normalizer

_FOREIGN = 0.2
"""The share of the texts of a set from which on they are of another language; in English ones some
names have such letters.
"""


def foreign_text(name: str, manifest: Manifest, normalizer_name: str) -> str:
    """Return a message: texts of a set are of another language under the rules for English, which
    read its numbers otherwise and drop some of its words, so that real errors would not count.
    Empty where they are not.
    """
    if normalizer_name != "whisper-en":
        return ""
    texts = [utterance.text for utterance in manifest.utterances]
    foreign = [text for text in texts if any(c.isalpha() and not c.isascii() for c in text)]
    if len(foreign) <= _FOREIGN * len(texts):
        return ""
    counted = normalizer(normalizer_name)(foreign[0])
    return (
        f"{len(foreign)} of {len(texts)} texts of {name} have letters that English does not write, and "
        f"normalizer whisper-en has the rules for English alone: {show(foreign[0])} counts as {show(counted)}."
    )


def unspaced_text(name: str, manifest: Manifest) -> str:
    """Return a message: the references of a set are written without spaces. Empty where they are
    not.
    """
    if not without_spaces(utterance.text for utterance in manifest.utterances):
        return ""
    return (
        f"the references of {name} are written without spaces between words; a WER takes what is between two spaces "
        "as one word, so one wrong character counts as much as all."
    )
