"""Decoding JSON by the standard: what Python's decoder accepts beyond it is refused, except a NaN
in the place of a missing value, as pandas and Python write it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from orchestrator.corpus.manifest_errors import UnusableError, show

_MAY_OVERFLOW = re.compile(rb"[eE]\+?\d{3}|\d{200}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_NUMBER = "{} is not a JSON number; write null or leave the key out"
_TIMES = ("duration", "seconds", "offset", "start", "end")
"""Keys whose value may not be NaN."""


class NotJsonError(UnusableError):
    """The text stops being JSON at a position (0-based)."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"not valid JSON at character {position + 1}: {reason}")
        self.position, self.reason = position, reason


class StrictDecoder:
    """Decodes the JSON values of one text.

    Python's decoder accepts NaN, 1e999, repeated keys and lone surrogates. All are refused here,
    except that a NaN that is the value of a key becomes null, unless the key is a time. The slow
    hooks are used only where a number might overflow or is none: inline samples are hundreds of
    thousands of floats a line.
    """

    def __init__(self, raw: bytes) -> None:
        """Search `raw`, which is the text, or more, as bytes, for what needs care: once, and not
        for each of its values, of which a document has one for every record.
        """
        self._has_nan = b"NaN" in raw
        self._is_careful = self._has_nan or _MAY_OVERFLOW.search(raw) is not None
        self._has_surrogate = _SURROGATE.search(raw) is not None

    def decode(self, text: str, start: int) -> tuple[Any, int]:
        """Decode one value of `text` from `start`, and return it with the position behind it.
        Raises UnusableError.
        """
        decoder = _CAREFUL if self._is_careful else _FAST
        try:
            value, end = decoder.raw_decode(text, start)
            if self._has_nan:
                _refuse_nan(value)
            if self._has_surrogate:
                json.dumps(value, ensure_ascii=False).encode()
        except UnusableError:
            raise
        except json.JSONDecodeError as error:
            raise NotJsonError(error.pos, error.msg) from error
        except UnicodeEncodeError as error:
            raise UnusableError("a \\u escape is half of a surrogate pair") from error
        except RecursionError as error:
            raise UnusableError("the JSON is nested too deeply") from error
        except ValueError as error:  # an integer has more digits than Python converts
            raise UnusableError("a number has too many digits") from error
        return value, end


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs. Raises UnusableError where a key is repeated."""
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise UnusableError(f"the key {show(repeated)} appears twice in one object")
    return record


def _without_nan(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object as `_unique_pairs` does, with null for NaN where the key is no time."""
    record = _unique_pairs(pairs)
    return {
        key: None if _is_nan(value) and key not in _TIMES else value
        for key, value in record.items()
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _refuse_nan(value: Any) -> None:
    """Raise UnusableError for a NaN that is left in a decoded value: among samples, or as
    a time.
    """
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise UnusableError(_NO_NUMBER.format("NaN")) from None


def _nan_alone(name: str) -> float:
    """Return NaN for "NaN". Raises UnusableError for the infinities."""
    if name != "NaN":
        raise UnusableError(_NO_NUMBER.format(name))
    return math.nan


def _finite_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise UnusableError(f"the number {digits[:20]} is too large")
    return value


_FAST = json.JSONDecoder(object_pairs_hook=_unique_pairs, parse_constant=_nan_alone)
_CAREFUL = json.JSONDecoder(
    object_pairs_hook=_without_nan, parse_constant=_nan_alone, parse_float=_finite_float
)
