"""Other words that a record or row holds beside the text that is taken of it, such as a
recogniser's draft beside a person's correction. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.manifests.plain_words import plain_words

KEYS_OF_WORDS = ("text", "transcript", "transcription", "sentence", "txt", "wrd")
"""Keys of records, and columns of tables, each of which may hold what is said. Others, such as
`raw_text`, hold it in another form by their name.
"""


def words_beside(text: str, extra: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a record, with their values, that hold other words than the `text` that was
    taken; `extra` are its keys that nothing was taken of.
    """
    for key in KEYS_OF_WORDS:
        other = extra.get(key)
        if isinstance(other, str) and (words := _words(other)) and words != _words(text):
            yield key, other


def other_text_note(key: str, count: int, rows: int, text: str, other: str, origin: str) -> str:
    """Return a sentence: how many of the rows say something else under a key than the text that is taken, with one of
    them.
    """
    return (
        f'in {count} of {rows} rows "{key}" says something else than the text that is taken, e.g. {origin}: '
        f"{show(text)} is taken, and not {show(other)}"
    )


def _words(text: str) -> list[str]:
    """Return the words of a text without apostrophes, whose kinds differ between spellings."""
    return " ".join(plain_words(text)).replace("'", " ").split()
