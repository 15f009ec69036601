"""Names of evaluation sets in measurements.

A confirm set has the name of the search's set that it replaces, with the prefix `confirm_`. Rates
are named after their sets (`domain_cer`), so they get the same prefix.
"""

from __future__ import annotations

MARK = "confirm_"


def confirm_name(name: str, confirmed: bool = True) -> str:
    """Return the name of the confirm set, or rate, for the search's `name`; `name` itself where
    `confirmed` is false.
    """
    return MARK + name if confirmed else name


def is_confirm(name: str) -> bool:
    """Whether this is the name of a confirm set or of a rate measured on one."""
    return name.startswith(MARK)


def search_name(name: str) -> str:
    """Return the name without the confirm prefix, if it has one."""
    return name.removeprefix(MARK)
