"""The names of evaluation sets in measurements: a confirm set has the name of the search's set that
it stands for, marked. Rates are named after their sets (`domain_cer`), so they are marked alike.
"""

from __future__ import annotations

MARK = "confirm_"


def confirm_name(name: str, confirmed: bool = True) -> str:
    """The name of the confirm set, or of its rate; `name` itself where `confirmed` is false."""
    return MARK + name if confirmed else name


def is_confirm(name: str) -> bool:
    """Whether a set, or a rate, is one of the confirmation."""
    return name.startswith(MARK)


def search_name(name: str) -> str:
    """The search's name of a set or rate, whichever of the two it is of."""
    return name.removeprefix(MARK)
