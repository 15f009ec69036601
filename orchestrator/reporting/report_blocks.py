"""A report as values: blocks that every format renders in its own way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """Begins a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Sentences, one a line."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells are plain text; no cell is markup in any format."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Commands and paths, to be copied."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A file beside the document, by its name there; `text` says what it shows where it is not
    shown.
    """

    file: str
    text: str


Block = Heading | Paragraph | Bullets | Table | Code | Picture


@dataclass(frozen=True)
class Document:
    """Title, the one-line answer, and the rest."""

    title: str
    headline: str
    blocks: tuple[Block, ...]
