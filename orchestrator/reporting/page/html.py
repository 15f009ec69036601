"""Rendering of a document as one self-contained HTML file, which loads no other file."""

from __future__ import annotations

from orchestrator.reporting.page.glossary import GLOSSARY
from orchestrator.reporting.page.markup import block_html, glossary_html
from orchestrator.reporting.page.shell import page
from orchestrator.reporting.rendering.escape import html_text
from orchestrator.reporting.rendering.report_blocks import Document


def render(document: Document) -> str:
    """Return a complete page. All text is escaped, and the page's content security policy allows
    only its own scripts.
    """
    title, headline = html_text(document.title), html_text(document.headline)
    blocks = "\n".join(map(block_html, document.blocks))
    explained = [key for key in GLOSSARY if f'data-term="{key}"' in blocks]
    terms = f"<h2>Glossary</h2>{glossary_html(explained)}" if explained else ""
    body = f'<main><h1>{title}</h1><p class="headline">{headline}</p>{blocks}{terms}</main>'
    return page(document.title, body + '<div id="tip" role="tooltip" hidden></div>', {})
