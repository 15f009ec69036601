"""Names of evaluation sets and of the rates measured on them.

A confirm set has the name of the search's set that it replaces, with the prefix `confirm_`. Rates
are named after their sets (`domain_cer`), so they get the same prefix.
"""

from __future__ import annotations

MARK = "confirm_"
_RATES = ("_cer", "_terms_recall", "_terms_precision")
"""Endings of rates; a set's WER has the name of the set."""


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


def set_of_rate(rate: str) -> str:
    """Return the set that a rate is measured on, with its confirm prefix if it has one: `domain` for
    domain and domain_cer.
    """
    ending = next((ending for ending in _RATES if rate.endswith(ending)), "")
    return rate.removesuffix(ending)


def is_wer(rate: str) -> bool:
    """Whether a rate is the WER of a set, which has the name of the set."""
    return set_of_rate(rate) == rate


def is_ambiguous(name: str) -> bool:
    """Whether a set of this name would be taken for something else: a rate of another set
    (`domain_cer`), or the terms of the domain set (`terms`, `terms_far`).
    """
    return not is_wer(name) or f"{name}_".startswith("terms_")
