"""A report as one HTML file that loads nothing: report.html."""

from __future__ import annotations

from orchestrator.reporting.document import (
    AlignedText,
    AlignedUtterance,
    AlignedUtterances,
    Block,
    Bullets,
    Code,
    Document,
    Heading,
    Paragraph,
    Plot,
    Table,
)
from orchestrator.reporting.escape import html_text

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #8886; padding: .2rem .6rem; text-align: left; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
pre { background: #8882; padding: .6rem; overflow-x: auto; }
del { color: #b3261e; }
ins { color: #1a7f37; font-weight: 600; }
@media (prefers-color-scheme: dark) { del { color: #ff8a80; } ins { color: #7ee787; } }
dt { font-size: .85rem; opacity: .75; }
svg { max-width: 44rem; width: 100%; }
svg text { fill: currentColor; }
.headline { font-size: 1.3rem; font-weight: 600; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="headline">{headline}</p>
{body}
</body>
</html>
"""


def render(document: Document) -> str:
    """A complete page; every text is escaped, scripts and remote content are forbidden by its
    policy.
    """
    body = "\n".join(map(_block, (*document.blocks, *document.details)))
    title, headline = html_text(document.title), html_text(document.headline)
    return _PAGE.format(title=title, headline=headline, style=_STYLE, body=body)


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{html_text(text)}</h2>"
        case Paragraph(text):
            return f"<p>{html_text(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{html_text(item)}</li>" for item in items) + "</ul>"
        case Table(columns, rows):
            body = "".join(_row("td", row) for row in rows)
            return f"<table><thead>{_row('th', columns)}</thead><tbody>{body}</tbody></table>"
        case Code(lines):
            return "<pre>" + "\n".join(map(html_text, lines)) + "</pre>"
        case Plot(title, svg):
            return f"<h2>{html_text(title)}</h2>{svg}"
        case AlignedUtterances(title, utterances):
            return f"<h3>{html_text(title)}</h3>" + "".join(map(_utterance, utterances))


def _utterance(utterance: AlignedUtterance) -> str:
    lines = [("said", html_text(utterance.reference))]
    lines += [(text.label, _marked(text)) for text in utterance.texts]
    body = "".join(f"<dt>{html_text(label)}</dt><dd>{line}</dd>" for label, line in lines)
    return f"<details><summary>{html_text(utterance.title)}</summary><dl>{body}</dl></details>"


def _marked(text: AlignedText) -> str:
    """Missed words struck out, added words underlined, a mistaken word as both."""
    return " ".join(_word(said, heard) for said, heard in text.words)


def _word(said: str, heard: str) -> str:
    if said == heard:
        return html_text(said)
    missed = f"<del>{html_text(said)}</del>" if said else ""
    return missed + (f"<ins>{html_text(heard)}</ins>" if heard else "")


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html_text(cell)}</{tag}>" for cell in cells) + "</tr>"
