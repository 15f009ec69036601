"""Binary files that went through a conversion of text on their way: line ends written anew, as by
FTP in its text mode, or bytes taken for letters. Pure.

What is left of such a file may still be read as sound, and is noise.
"""

from __future__ import annotations

_TOLD_BY = 16
"""Places that must all look converted: in sound, none of so many would by chance."""
_REPLACED = b"\xef\xbf\xbd"
"""U+FFFD in UTF-8, for each byte that is no letter."""
_AGAIN = "copy it again as it was, in binary mode"


def conversion_of(content: bytes) -> str:
    """What was done to the whole content of a sound file, and the cure; empty where it shows no
    trace of a conversion.
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
