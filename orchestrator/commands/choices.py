"""Options whose value is one of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from orchestrator.errors import SpecError

Word = TypeVar("Word", bound=str)


def choice_of(option: str, value: str, allowed: Sequence[Word]) -> Word:
    """Return the value of an option, typed as one of those allowed. Raises SpecError for
    another.
    """
    for word in allowed:
        if value == word:
            return word
    raise SpecError(f"{option} {value} is not known\n  Allowed: {', '.join(allowed)}.")
