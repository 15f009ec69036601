"""The blocks of which documents are made, independent of the format that they are rendered in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The heading of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table. Cells are plain text, which every format escapes."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Lines of code or commands, to be copied."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """An image file in the document's folder; `text` describes it where it is not shown."""

    file: str
    text: str


Block = Heading | Paragraph | Bullets | Table | Code | Picture


@dataclass(frozen=True)
class Document:
    """A document: its title, the one-line answer, and its blocks."""

    title: str
    headline: str
    blocks: tuple[Block, ...]
