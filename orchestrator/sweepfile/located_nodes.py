"""A sweep file as a tree that remembers where everything was written, and what is wrong with it.

Knows neither YAML nor sweeps: `yaml_reading.py` makes the tree, the other files of this folder read it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NoReturn

from orchestrator.errors import SpecError
from orchestrator.typed_words import quoted_path

MAX_PROBLEMS = 100
"""More are not looked for: a person corrects these first."""

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_DASHES = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\u2014\uff0d\ufe63"), "-")
"""What word processors put for a minus."""

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Mark:
    """Where something was written. Line 0 means that `source` says it all (an override on the
    command line).
    """

    source: str
    line: int = 0
    column: int = 0

    @property
    def order(self) -> tuple[bool, str, int, int]:
        """Files first, then overrides."""
        return not self.line, self.source, self.line, self.column

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Scalar:
    """One value; `text` is how it was written."""

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
    """A key's place and what it holds."""

    mark: Mark
    node: Node


@dataclass(frozen=True)
class Mapping:
    """Keys are text, whatever they look like."""

    mark: Mark
    entries: dict[str, Entry]


Node = Scalar | Sequence | Mapping


class Problems:
    """Collects everything that is wrong, to be said at once."""

    def __init__(self) -> None:
        self.found: list[tuple[Mark, str]] = []
        self._refused: set[Mark] = set()

    def add(self, mark: Mark, message: str) -> None:
        """One problem at one place; the same one twice counts once."""
        if mark not in self._refused and (mark, message) not in self.found:
            if len(self.found) == MAX_PROBLEMS:
                raise Unreadable
            self.found.append((mark, message))

    def refuse(self, mark: Mark, message: str) -> None:
        """A value that cannot be read at all: what follows from its stand-in is not said as
        well.
        """
        self.add(mark, message)
        if mark.line:
            self._refused.add(mark)

    def abort(self, mark: Mark, message: str) -> NoReturn:
        """A problem after which nothing more can be read."""
        self.add(mark, message)
        raise Unreadable

    def raise_any(self, path: object) -> None:
        """Raise SpecError with all problems, files first, in their order, and the next step."""
        if self.found:
            ordered = sorted(self.found, key=lambda item: item[0].order)
            lines = [f"{mark}: {message}" for mark, message in ordered]
            lines += (
                [f"And more: these are the first {MAX_PROBLEMS}."]
                if len(lines) == MAX_PROBLEMS
                else []
            )
            lines.append(
                f"Nothing was started. Correct this, then check with: orchestrate validate "
                f"{quoted_path(str(path))}"
            )
            raise SpecError("\n".join(lines))


class Unreadable(Exception):
    """Raised after a problem was recorded that leaves nothing to read; never leaves the package."""


def in_backticks(text: object) -> str:
    """`text` for a message: in backticks, one printable line, at most 60 characters (a path
    whole).
    """
    printable = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )
    whole = isinstance(text, PurePath) or len(printable) <= 60
    return f"`{printable if whole else printable[:57] + '...'}`"


def did_you_mean(
    word: str, allowed: Iterable[str], written: MappingABC[str, str] | None = None
) -> str:
    """'; did you mean `x`?', or nothing when no allowed word is near. `written`: what stands for a
    word in that sentence, where it is not the word itself.
    """
    found = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean `{(written or {}).get(found[0], found[0])}`?" if found else ""


def _why_text(node: Scalar) -> str:
    """Why something that looks like a number is text; empty for anything else."""
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
    """The offending text of a node for a message."""
    if isinstance(node, Scalar):
        return f"{in_backticks(node.text)}{_why_text(node)}" if node.text else "nothing"
    if isinstance(node, Sequence):
        texts = [item.text for item in node.items if isinstance(item, Scalar)]
        return in_backticks(f"[{', '.join(texts)}]") if len(texts) == len(node.items) else "a list"
    return "a mapping"


def plain_value(node: Node) -> Any:
    """The node as Python values: dict, tuple, scalar."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return tuple(plain_value(item) for item in node.items)
    return {key: plain_value(entry.node) for key, entry in node.entries.items()}
