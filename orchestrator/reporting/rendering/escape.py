"""Escaping of text from manifests and sweep files for the place where it is printed.

Without it, a name such as `[/foo]` is an error in rich, an escape byte controls the terminal, `|`
ends a Markdown cell, and `<` opens a tag.
"""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~])")
_TAG = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])", re.IGNORECASE)


def plain(text: object) -> str:
    """Make one printable line: control characters, line separators, direction overrides and
    surrogates (bytes of a path that are no text) become spaces.
    """
    return _CONTROL.sub(" ", str(text))


def markup(text: object) -> str:
    """Escape for a string that rich parses, as `rich.markup.escape` does, without
    importing rich.
    """
    escaped = _TAG.sub(lambda match: match[1] * 2 + "\\" + match[2], plain(text))
    return escaped + "\\" if escaped.endswith("\\") and not escaped.endswith("\\\\") else escaped


def markdown(text: object) -> str:
    """Escape for running text and table cells of Markdown, including its HTML."""
    return _MARKDOWN.sub(r"\\\1", plain(text)).replace("\\<", "&lt;").replace("\\>", "&gt;")


def html_text(text: object) -> str:
    """Escape for text and quoted attributes of HTML and SVG."""
    return html.escape(plain(text), quote=True)
