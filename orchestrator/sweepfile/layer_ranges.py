"""`layers`: a part of a stack of layers, in words that mean the same for stacks of different depth.

Layer 0 stands nearest the input. Of an odd number of layers the middle one belongs to the upper
half.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMS = ("all", "lower-half", "upper-half", "first-N", "last-N", "A-B")
"""What may be written; N counts layers, and A-B are the first and the last one, counted from 0."""

PATTERN = "^(all|lower-half|upper-half|(first|last)-[1-9][0-9]{0,2}|[0-9]{1,3}-[0-9]{1,3})$"
"""The forms as a regular expression."""


@dataclass(frozen=True)
class LayerRange:
    """A form, read."""

    kind: str
    """all, lower, upper, first, last or span."""
    first: int = 0
    """How many layers (first, last), or the first one (span)."""
    last: int = 0

    @classmethod
    def parse(cls, text: str) -> LayerRange:
        """Raises ValueError for what is none of the forms, and for a span that runs backwards."""
        if not re.fullmatch(PATTERN, text):
            raise ValueError(text)
        word, _, number = text.partition("-")
        if not word.isdigit():
            return cls(word, int(number)) if number.isdigit() else cls(word)
        if int(word) > int(number):
            raise ValueError(text)
        return cls("span", int(word), int(number))

    def within(self, count: int) -> range:
        """The layers meant in a stack of `count` layers; they may lie outside it."""
        ranges = {
            "all": range(count),
            "lower": range(count // 2),
            "upper": range(count // 2, count),
            "first": range(self.first),
            "last": range(count - self.first, count),
            "span": range(self.first, self.last + 1),
        }
        return ranges[self.kind]


def is_layer_range(text: str) -> bool:
    """Whether `text` is one of the forms, A-B not running backwards."""
    try:
        LayerRange.parse(text)
    except ValueError:
        return False
    return True


def layers_of(text: str, count: int) -> range:
    """The layers that a form means in a stack of `count` layers; ValueError where the stack has
    none or too few.
    """
    layers = LayerRange.parse(text).within(count)
    if text != "all" and (not layers or layers.start < 0 or layers.stop > count):
        raise ValueError(f"layers {text} is not within a stack of {count}")
    return layers
