"""What programs left in the texts of a set, in words."""

from __future__ import annotations

from orchestrator.corpus.diagnosis import TRAINING_SETS
from orchestrator.corpus.manifest import Manifest
from orchestrator.corpus.manifest_errors import show
from orchestrator.scoring.artifacts import find_artifacts, without_artifacts
from orchestrator.scoring.normalizers import normalizer

_SHOWN = 5
"""Traces by name."""


def artifacts_text(name: str, manifest: Manifest, normalizer_name: str) -> str:
    """How many texts of a set count as other words than are meant, with what stands there and the
    first of them; empty where none does.
    """
    normalize = normalizer(normalizer_name)
    texts = [utterance.text for utterance in manifest.utterances]
    found = find_artifacts(texts, normalize)
    if not found.rows:
        return ""
    first = manifest.utterances[found.rows[0]]
    traces = ", ".join(f"{trace!a} {count}" for trace, count in found.traces[:_SHOWN])
    effect = "an adapter learns to write so" if name in TRAINING_SETS else "they count as errors"
    return (
        f"{len(found.rows)} of {len(texts)} texts of {name} hold traces of the programs that wrote them ({traces}), "
        f"e.g. {manifest.path}:{first.line}, where {show(_around(first.text))} is the words "
        f"{show(normalize(_around(first.text)))} and not {show(normalize(without_artifacts(_around(first.text))))}: "
        f"{effect}. Replace them in the manifest."
    )


def _around(text: str) -> str:
    """The first word of a text with a trace, as it stands."""
    return next((word for word in text.split() if without_artifacts(word) != word), text)
