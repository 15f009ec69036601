"""Reads the list of terms that a sweep file names under `evaluation.terms`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import DataError
from orchestrator.scoring.terms import Terms


def read_terms(path: Path, normalize: Callable[[str], str]) -> Terms:
    """Read a list of terms, one word or phrase per line; empty lines and lines that begin with #
    are skipped.

    Each is normalised as references and hypotheses are. Raises DataError, naming file and line, for
    a file that is not text, a line of which the normaliser leaves nothing, and a list without
    terms.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(
            f"{path} cannot be read: {why}\n  evaluation.terms is a text file, a word or phrase a line."
        ) from error
    phrases: dict[tuple[str, ...], None] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            words = tuple(normalize(line).split())
            if not words:
                raise DataError(
                    f"{path}:{number}: the normaliser leaves nothing of {line.strip()[:80]!r}\n"
                    "  Remove the line, or choose another evaluation.normalizer."
                )
            phrases.setdefault(words)
    if not phrases:
        raise DataError(
            f"{path} lists no terms\n  Write a word or phrase a line, or remove evaluation.terms."
        )
    return Terms(tuple(phrases))
