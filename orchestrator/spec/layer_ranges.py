"""`layers`: a part of a stack of layers, in words that mean the same for stacks of different depth.

Layer 0 stands nearest the input. Of an odd number of layers the middle one belongs to the upper half.
"""

from __future__ import annotations

import re

FORMS = ("all", "lower-half", "upper-half", "first-N", "last-N", "A-B")
"""What may be written; N counts layers, and A-B are the first and the last one, counted from 0."""

PATTERN = "^(all|lower-half|upper-half|(first|last)-[1-9][0-9]{0,2}|[0-9]{1,3}-[0-9]{1,3})$"
"""The forms as a regular expression."""


def is_layer_range(text: str) -> bool:
    """Whether `text` is one of the forms, A-B not running backwards."""
    if not re.fullmatch(PATTERN, text):
        return False
    first, _, last = text.partition("-")
    return not first.isdigit() or int(first) <= int(last)


def layers_of(text: str, count: int) -> range:
    """The layers that a form means in a stack of `count` layers; ValueError where the stack has none or too few."""
    word, _, number = text.partition("-")
    if text == "all":
        return range(count)
    if number == "half":
        chosen = range(count // 2) if word == "lower" else range(count // 2, count)
    elif word == "first":
        chosen = range(int(number))
    elif word == "last":
        chosen = range(count - int(number), count)
    else:
        chosen = range(int(word), int(number) + 1)
    if not chosen or chosen.start < 0 or chosen.stop > count:
        raise ValueError(f"layers {text} is not within a stack of {count}")
    return chosen
