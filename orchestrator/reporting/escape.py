"""Text from manifests and sweep files, made harmless for the place it is printed in.

A name such as `[/foo]` breaks rich, an escape byte drives the terminal, `|` ends a Markdown cell,
`<` opens a tag.
"""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~])")
_TAG = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])", re.IGNORECASE)


def plain(text: object) -> str:
    """One line without control characters, line separators, direction overrides and bytes of a path
    that are no text: each becomes a space.
    """
    return _CONTROL.sub(" ", str(text))


def markup(text: object) -> str:
    """For a string that rich will parse: as `rich.markup.escape`, without importing rich."""
    escaped = _TAG.sub(lambda match: match[1] * 2 + "\\" + match[2], plain(text))
    return escaped + "\\" if escaped.endswith("\\") and not escaped.endswith("\\\\") else escaped


def markdown(text: object) -> str:
    """For running text and table cells of Markdown, HTML included."""
    return _MARKDOWN.sub(r"\\\1", plain(text)).replace("\\<", "&lt;").replace("\\>", "&gt;")


def html_text(text: object) -> str:
    """For HTML and SVG, in text and in quoted attributes."""
    return html.escape(plain(text), quote=True)
