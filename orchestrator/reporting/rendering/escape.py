"""Escaping of text from manifests and sweep files for the place where it is printed.

Without it, a name such as `[/foo]` is an error in rich, an escape byte controls the terminal, `|`
ends a Markdown cell, and `<` opens a tag.
"""

from __future__ import annotations

import html
import re

_DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}\ud800-\udfff]")
_UNSHOWN = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~])")


def plain(text: object) -> str:
    """Make one printable line: control characters, line separators, marks and overrides of the
    direction and surrogates (bytes of a path that are no text) become spaces.
    """
    return _CONTROL.sub(" ", str(text))


def visible(text: str) -> str:
    """Replace what `plain` makes spaces, but tabs and line ends, by U+FFFD, as pages show it."""
    return _UNSHOWN.sub("\ufffd", text)


def markdown(text: object) -> str:
    """Escape for running text and table cells of Markdown, including its HTML."""
    escaped = _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;"))
    return escaped.replace("\\<", "&lt;").replace("\\>", "&gt;")


def html_text(text: object) -> str:
    """Escape for text and quoted attributes of HTML and SVG."""
    return html.escape(plain(visible(str(text))), quote=True)
