"""A reader of YAML 1.2 text that returns a tree of values with their places. Nothing here depends
on what a sweep is.

It is built on the event stream of ruamel.yaml, before objects are constructed, so that only what is
handled here can happen: tags, anchors, aliases, merge keys and duplicate keys are refused, and no
text becomes a date or an octal number.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from orchestrator.sweepfile.located_nodes import (
    Entry,
    Mapping,
    Mark,
    Node,
    Problems,
    Scalar,
    Sequence,
    Unreadable,
    Value,
    in_backticks,
)

MAX_BYTES = 256_000
MAX_DEPTH = 20
MAX_INTEGER = 2**53
"""Largest integer. Optuna stores parameters as doubles, which cannot hold every larger one."""

_LIKE_COLONS = "\uff1a\ufe55\ua789\u2236"

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
"""A character beyond U+FFFF as JSON escapes it, `\\ud83d\\ude00`: as two halves."""
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {
    word: value
    for value in (True, False)
    for word in (str(value), str(value).lower(), str(value).upper())
}


def resolve_scalar(text: str) -> Value:
    """Convert a plain (unquoted) scalar by the core schema of YAML 1.2. Raises ValueError, with the
    reason, for one that is refused.

    `1e-4` is a float, `yes`, `on`, `1_000` and `12:30` are text, `010` is refused because YAML 1.1
    reads 8.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
            raise ValueError("is too large a number; the largest whole number is 2**53")
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError(
            "starts with a zero, which some readers take as octal; write it without the zero or quote it"
        )
    if _NOT_FINITE.fullmatch(text) or (_FLOAT.fullmatch(text) and not math.isfinite(float(text))):
        raise ValueError(
            "is not a finite number; write a number within 1e308, or quote it if it is text"
        )
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_text(text: str, source: Mark, problems: Problems) -> Node:
    """Parse one YAML document and record problems. Raises Unreadable, after recording why, where
    parsing cannot go on.
    """
    try:
        return _Reader(text, source, problems).document()
    except Unreadable:
        raise
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        problems.abort(
            _mark_at(source, line, column),
            f"character {error.character!r} is not allowed in YAML; remove it",
        )
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _mark_at(source, mark.line + 1, mark.column + 1) if mark else source
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        hint = "check indentation, brackets, quotes and colons here"
        if mark:
            hint = _strange_character(text, mark.line) or hint
        problems.abort(place, f"not valid YAML: {reason}; {hint}")


def _strange_character(text: str, line: int) -> str:
    """Find a character that looks like a space or a colon and is none, on the `line` (from 0) where
    the parser failed or the two before it, and describe it; empty where there is none.
    """
    lines = text.split("\n")
    for number in range(line, max(-1, line - 3), -1):
        for column, character in enumerate(lines[number] if number < len(lines) else ""):
            spaced = unicodedata.category(character) in ("Zs", "Cf") and character != " "
            if spaced or character in _LIKE_COLONS:
                name = unicodedata.name(character, "no name").lower()
                place = f"line {number + 1}, column {column + 1}"
                return f"{place} holds U+{ord(character):04X} ({name}); write a plain one"
    return ""


def _parser_events(text: str, source: Mark, problems: Problems) -> Iterator[Any]:
    """Yield the parser's events. Raises YAMLError; any other exception of the parser is recorded as
    a problem, and Unreadable is raised.
    """
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except YAMLError:
        raise
    except (
        Exception
    ) as error:  # only the parser runs in here, so this is a bug of its own on malformed text
        problems.abort(
            _mark_at(source, 1, 1),
            f"not valid YAML ({type(error).__name__}: {error}); rewrite the file",
        )


def _joined(halves: re.Match[str]) -> str:
    return halves[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _mark_at(source: Mark, line: int, column: int) -> Mark:
    return Mark(source.source, line, column) if source.line else source


class _Reader:
    """Recursive descent over the parser's events. MAX_DEPTH limits the recursion."""

    def __init__(self, text: str, source: Mark, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.events = _parser_events(text, source, problems)

    def document(self) -> Node:
        next(self.events)
        if type(next(self.events)).__name__ == "StreamEndEvent":
            return Mapping(_mark_at(self.source, 1, 1), {})
        node = self.node(next(self.events), 1)
        next(self.events)
        following = next(self.events)
        if type(following).__name__ != "StreamEndEvent":
            self.problems.add(
                self.mark(following), "a second document starts here; a sweep file holds one"
            )
        return node

    def mark(self, event: Any) -> Mark:
        return _mark_at(self.source, event.start_mark.line + 1, event.start_mark.column + 1)

    def node(self, event: Any, depth: int) -> Node:
        mark = self.mark(event)
        if isinstance(event, AliasEvent):
            alias = f"*{event.anchor}"
            self.problems.refuse(
                mark,
                f"alias {in_backticks(alias)}: write the value out; aliases are refused",
            )
            return Scalar(mark, alias, alias)
        if event.anchor is not None:
            self.problems.refuse(
                mark,
                f"anchor {in_backticks('&' + str(event.anchor))}: remove it; anchors are refused",
            )
        if event.tag is not None:
            self.problems.refuse(
                mark,
                f"tag {in_backticks(event.tag)}: remove it; the kind of a value follows from its text",
            )
        self.check_depth(mark, depth)
        if isinstance(event, ScalarEvent):
            return self.scalar(event, mark)
        return (
            self.sequence(mark, depth)
            if isinstance(event, SequenceStartEvent)
            else self.mapping(mark, depth)
        )

    def scalar(self, event: Any, mark: Mark) -> Scalar:
        text = _PAIR.sub(_joined, str(event.value))
        if any(
            (c < " " and c not in "\n\t") or "\ud800" <= c <= "\udfff" or c == "\x7f" for c in text
        ):
            self.problems.refuse(mark, f"{in_backticks(text)} holds a control character; remove it")
            return Scalar(mark, ascii(text), ascii(text))
        if event.style is not None:
            return Scalar(mark, text, text)
        try:
            return Scalar(mark, resolve_scalar(text), text)
        except ValueError as error:
            self.problems.refuse(mark, f"{in_backticks(text)} {error}")
            # as text: a null would count as not written, and be missed elsewhere
            return Scalar(mark, text, text)

    def sequence(self, mark: Mark, depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return Sequence(mark, tuple(items))

    def mapping(self, mark: Mark, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            place = self.mark(event)
            key = self.key(event, place, depth)
            if key is None:
                self.problems.drop_later(mark)  # such as what it lacks without this entry
                self.skip(next(self.events), depth + 1)
                continue
            node = self.node(next(self.events), depth + 1)
            if key in entries:
                self.problems.add(
                    place,
                    f"key {in_backticks(key)} a second time; it is already at {entries[key].mark}: keep one",
                )
                # which of the two will be kept is not known, so no more is said of either
                self.problems.drop_later(entries[key].node.mark)
                self.problems.drop_later(node.mark)
            entries[key] = Entry(place, node)
        return Mapping(mark, entries)

    def skip(self, event: Any, depth: int) -> None:
        """Read past a node of which nothing is said: enough was said of its place."""
        outside = depth
        while True:
            if isinstance(event, (SequenceStartEvent, MappingStartEvent)):
                self.check_depth(self.mark(event), depth)
                depth += 1
            elif isinstance(event, (SequenceEndEvent, MappingEndEvent)):
                depth -= 1
            if depth == outside:
                return
            event = next(self.events)

    def check_depth(self, mark: Mark, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.problems.abort(mark, f"nested deeper than {MAX_DEPTH} levels; no sweep needs that")

    def key(self, event: Any, place: Mark, depth: int) -> str | None:
        """Return the text of a key; None, after recording why, for what is no name."""
        if isinstance(event, (SequenceStartEvent, MappingStartEvent)):
            self.skip(event, depth + 1)
            self.problems.add(place, "a key must be a name, not a list or a mapping")
            return None
        key = self.node(event, depth + 1)
        assert isinstance(key, Scalar), "neither a list nor a mapping"
        if key.text == "<<":
            self.problems.add(
                place, "merge key `<<`: use `extends: other.yaml`; merge keys are refused"
            )
        return None if isinstance(event, AliasEvent) or key.text == "<<" else key.text
