"""Detects binary files that were treated as text on their way: line ends rewritten, as by FTP in
its text mode, or bytes re-encoded as characters. Pure.

What is left of such a file may still be read as sound, and is noise.
"""

from __future__ import annotations

_TOLD_BY = 16
"""The number of places that must all look converted before a file counts as converted: in sound,
none of so many would by chance.
"""
_REPLACED = b"\xef\xbf\xbd"
"""U+FFFD in UTF-8, which a conversion puts in the place of each byte that is no character."""
_AGAIN = "copy it again as it was, in binary mode"


def conversion_of(content: bytes) -> str:
    """Say which conversion the whole content of a sound file went through, and the cure; empty
    where it shows no trace of one.
    """
    ends = content.count(b"\n")
    if ends >= _TOLD_BY and content.count(b"\r\n") == ends:
        return f"every line feed in it became two bytes, as FTP does in text mode; {_AGAIN}"
    if content.count(_REPLACED) >= _TOLD_BY and _is_utf8(content):
        return f"its bytes were taken for letters and many replaced (U+FFFD), for good; {_AGAIN}"
    if sum(byte > 0x7F for byte in content[:4096]) >= _TOLD_BY and _is_utf8(content):
        return f"its bytes were taken for letters and written as UTF-8; {_AGAIN}"
    return ""


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
