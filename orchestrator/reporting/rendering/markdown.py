"""Rendering of a document as Markdown, such as report.md."""

from __future__ import annotations

from orchestrator.reporting.rendering.escape import markdown, plain
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    Picture,
    Table,
)


def render(document: Document) -> str:
    """Return GitHub-flavoured Markdown; all text is escaped."""
    parts = [f"# {markdown(document.title)}", f"**{markdown(document.headline)}**"]
    parts += [text for block in document.blocks if (text := _block_text(block))]
    return "\n\n".join(parts) + "\n"


def _block_text(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {markdown(text)}"
        case Paragraph(text):
            return markdown(text)
        case Bullets(items):
            return "\n".join(f"- {markdown(item)}" for item in items)
        case Table(columns, rows):
            head = [_row_text(columns), "|" + " --- |" * len(columns)]
            return "\n".join([*head, *map(_row_text, rows)])
        case Code(lines):
            # indented, because a line of the content could close a fence
            return "\n".join(f"    {plain(line)}" for line in lines)
        case Picture(file, text):
            return f"![{markdown(text)}]({file})"


def _row_text(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(markdown, cells)) + " |"
