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
class Plot:
    """Inline SVG, made here and trusted, under its own heading; formats without pictures leave both
    out.
    """

    title: str
    svg: str


@dataclass(frozen=True)
class AlignedText:
    """What one model heard, beside what was said: (said, heard) a place, empty where nothing was."""

    label: str
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AlignedUtterance:
    """One utterance: its line, what was said, and what each model heard."""

    title: str
    reference: str
    texts: tuple[AlignedText, ...]


@dataclass(frozen=True)
class AlignedUtterances:
    """Utterances with their errors marked, under their own heading; formats without marks leave
    both out.
    """

    title: str
    utterances: tuple[AlignedUtterance, ...]


Block = Heading | Paragraph | Bullets | Table | Code | Plot | AlignedUtterances


@dataclass(frozen=True)
class Document:
    """Title, the one-line answer, and the rest; `details` are for pages that fold them away, not
    for a terminal.
    """

    title: str
    headline: str
    blocks: tuple[Block, ...]
    details: tuple[Block, ...] = ()
