"""A tree of values that remember where in the file each was written, and the list of problems.

Nothing here depends on YAML or on sweeps: `yaml_reading.py` makes the tree, the other files of this
folder read it.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn

from orchestrator.errors import SpecError
from orchestrator.typed_words import without_credentials

MAX_PROBLEMS = 100
"""Most problems that are reported; checking stops there, as a person corrects these first."""

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DASHES = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\u2014\uff0d\ufe63"), "-")
"""Characters that word processors write for a hyphen or minus."""

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Mark:
    """The place where something was written: a file, line and column, counted from 1. Line 0 means
    an override on the command line, which `source` describes.
    """

    source: str
    line: int = 0
    column: int = 0

    @property
    def order(self) -> tuple[bool, str, int, int]:
        """Sort key: files first, then overrides."""
        return not self.line, self.source, self.line, self.column

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Scalar:
    """A single value; `text` is how it was written."""

    mark: Mark
    value: Value
    text: str


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Entry:
    """The place of a mapping's key, and the node under it."""

    mark: Mark
    node: Node


@dataclass(frozen=True)
class Mapping:
    """A mapping. Keys are always text, even where they look like numbers."""

    mark: Mark
    entries: dict[str, Entry]


Node = Scalar | Sequence | Mapping


class Problems:
    """Collects all problems of a sweep file, so that they are reported together."""

    def __init__(self) -> None:
        self.found: list[tuple[Mark, str]] = []
        self._refused: set[Mark] = set()
        self._more = False

    def add(self, mark: Mark, message: str) -> None:
        """Record a problem. The same one at the same place counts once. Raises Unreadable after
        MAX_PROBLEMS.
        """
        if mark not in self._refused and (mark, message) not in self.found:
            if len(self.found) == MAX_PROBLEMS:
                self._more = True
                raise Unreadable
            self.found.append((mark, message))

    def refuse(self, mark: Mark, message: str) -> None:
        """Record a problem of a value that cannot be read as it stands. Later problems at the same
        place are dropped: they would be about what stands in for it.
        """
        self.add(mark, message)
        self.drop_later(mark)

    def drop_later(self, mark: Mark) -> None:
        """Drop later problems at this place: they would follow from one that is recorded already."""
        self._refused.add(mark)

    def abort(self, mark: Mark, message: str) -> NoReturn:
        """Record a problem after which nothing more can be read, and raise Unreadable."""
        self.add(mark, message)
        raise Unreadable

    def raise_any(self, named: Iterable[str]) -> None:
        """Raise SpecError where there are problems: all of them, in the order of their places, and
        the next step. `named` are the words that name the sweep on the command line.
        """
        if self.found:
            ordered = sorted(self.found, key=lambda item: item[0].order)
            lines = [f"{mark}: {message}" for mark, message in ordered]
            if self._more:
                lines.append(f"And more: these are the first {MAX_PROBLEMS}.")
            lines.append(
                "Nothing was started. Correct this, then check with: "
                f"{shlex.join(['orchestrate', 'validate', *named])}"
            )
            raise SpecError("\n".join(lines))


class Unreadable(Exception):
    """Raised after recording a problem that leaves nothing more to read. Caught within this
    package.
    """


def in_backticks(text: object) -> str:
    """Quote `text` for a message: in backticks, one printable line without the password of an
    address, at most 60 characters unless it is a path.
    """
    printable = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in without_credentials(str(text))
    )
    whole = isinstance(text, PurePath) or len(printable) <= 60
    return f"`{printable if whole else printable[:57] + '...'}`"


def did_you_mean(
    word: str, allowed: Iterable[str], written: MappingABC[str, str] | None = None
) -> str:
    """Return '; did you mean `x`?' for the most similar allowed word, or nothing where none is
    similar. `written` maps words to what the sentence shows in their place.
    """
    found = nearest(word, allowed)
    return f"; did you mean `{(written or {}).get(found, found)}`?" if found else ""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return the most similar allowed word, whatever its capitals; nothing where none is similar."""
    lowered = {each.lower(): each for each in allowed}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else ""


def _why_text(node: Scalar) -> str:
    """Say why something that looks like a number was read as text; empty for anything else."""
    if not isinstance(node.value, str):
        return ""
    if _NUMBER.fullmatch(node.text):
        return " (in quotes it is text; take them away)"
    plain = node.text.translate(_DASHES)
    other = next((c for c in node.text if ord(c) in _DASHES), "")
    if other and _NUMBER.fullmatch(plain):
        return f" (it holds U+{ord(other):04X}; write {in_backticks(plain)} with a hyphen)"
    if _NUMBER.fullmatch(plain.replace(",", ".")):
        return f" (write {in_backticks(plain.replace(',', '.'))}, with a point)"
    return ""


def describe_node(node: Node) -> str:
    """Return what was written at a node, shortened, for a message."""
    if isinstance(node, Scalar):
        return f"{in_backticks(node.text)}{_why_text(node)}" if node.text else "nothing"
    if isinstance(node, Sequence):
        texts = [item.text for item in node.items if isinstance(item, Scalar)]
        return in_backticks(f"[{', '.join(texts)}]") if len(texts) == len(node.items) else "a list"
    return "a mapping"


def plain_value(node: Node) -> Any:
    """Convert a node to Python values: dict, tuple, scalar."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return tuple(plain_value(item) for item in node.items)
    return {key: plain_value(entry.node) for key, entry in node.entries.items()}


def has_value(node: Node | None, *keys: str) -> bool:
    """Whether there is a value under this path of keys; a key without a value counts as absent."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node.entries:
            return False
        node = node.entries[key].node
    return node is not None and plain_value(node) is not None
