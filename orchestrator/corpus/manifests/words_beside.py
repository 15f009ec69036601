"""Other words that a record or row holds beside the text that is taken of it, such as a
recogniser's draft beside a person's correction. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.corpus.manifests.plain_words import plain_words

_SAID = ("text", "transcript", "transcription", "sentence", "txt", "wrd")
"""Keys of records, and columns of tables, each of which may hold what is said. Others, such as
`raw_text`, hold it in another form by their name.
"""


def words_beside(text: str, extra: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a record, with their values, that hold other words than the `text` that was
    taken; `extra` are its keys that nothing was taken of.
    """
    for key in _SAID:
        other = extra.get(key)
        if isinstance(other, str) and (words := _words(other)) and words != _words(text):
            yield key, other


def _words(text: str) -> list[str]:
    """Return the words of a text without apostrophes, whose kinds differ between spellings."""
    return " ".join(plain_words(text)).replace("'", " ").split()
