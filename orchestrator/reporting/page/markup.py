"""HTML of blocks, tables and glossary terms. All text is escaped by `html_text`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.reporting.page.glossary import GLOSSARY, HEADINGS
from orchestrator.reporting.rendering.escape import html_text
from orchestrator.reporting.rendering.report_blocks import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Picture,
    Table,
)


def block_html(block: Block) -> str:
    """Return the HTML of a document's block."""
    match block:
        case Heading(text):
            return f"<h2>{html_text(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html_text(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{html_text(item)}</li>" for item in items) + "</ul>"
        case Table(columns, rows):
            return table_html(columns, rows)
        case Code(lines):
            return '<pre tabindex="0">' + "\n".join(map(html_text, lines)) + "</pre>"
        case Picture(file, text):
            return f"<p>{html_text(text)}: {html_text(file)}</p>"  # a page loads no other file


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that scrolls where it is too wide, and whose columns can be sorted; cells are
    text.
    """
    head = "".join(f'<th scope="col">{heading_html(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(map(_table_cell, row)) + "</tr>" for row in rows)
    label = html_text(", ".join(columns[:3]))
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="Table: {label}">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _table_cell(text: str) -> str:
    return f"<td>{html_text(text)}</td>"


def heading_html(text: str) -> str:
    """Return the heading of a column, with its explanation where the glossary has one."""
    key = HEADINGS.get(text)
    return f"<span>{html_text(text)}</span>" + (term_html(key, "?") if key else "")


def term_html(key: str, text: str = "") -> str:
    """Return a term as a button that shows its meaning on hover and on keyboard focus. `text` is
    what it says, by default the term as the glossary writes it.
    """
    name = GLOSSARY[key][0]
    label = f' aria-label="What is {html_text(name)}?"' if text == "?" else ""
    shown = html_text(text or name)
    kind = "term hint" if text == "?" else "term"
    about = f'data-term="{key}" aria-describedby="term-{key}"{label}'
    return f'<button type="button" class="{kind}" {about}>{shown}</button>'


def glossary_html(keys: Iterable[str] = GLOSSARY) -> str:
    """Return the list of terms with their meaning, by default of all."""
    rows = (
        f'<dt>{html_text(name)}</dt><dd id="term-{key}">{html_text(text)}</dd>'
        for key, (name, text) in ((key, GLOSSARY[key]) for key in keys)
    )
    return f"<dl>{''.join(rows)}</dl>"
