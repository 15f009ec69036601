"""The parameter `layers`: a part of a stack of layers, in forms that apply to stacks of any depth.

Layer 0 is nearest to the input. Of an odd number of layers the middle one belongs to the upper
half.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

FORMS = ("all", "lower-half", "upper-half", "first-N", "last-N", "A-B")
"""The forms that may be written; N is a number of layers, A and B are the first and the last layer,
counted from 0.
"""

PATTERN = "^(all|lower-half|upper-half|(first|last)-[1-9][0-9]{0,2}|[0-9]{1,3}-[0-9]{1,3})$"
"""The forms as a regular expression."""


@dataclass(frozen=True)
class LayerRange:
    """One of the forms, parsed."""

    kind: str
    """all, lower, upper, first, last or span."""
    first: int = 0
    """The number of layers (first, last), or the index of the first layer (span)."""
    last: int = 0
    """The index of the last layer, inclusive (span only)."""

    @classmethod
    def parse(cls, text: str) -> LayerRange:
        """Parse a form. Raises ValueError for any other text, and for a span that runs
        backwards.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError(text)
        word, _, number = text.partition("-")
        if not word.isdigit():
            return cls(word, int(number)) if number.isdigit() else cls(word)
        if int(word) > int(number):
            raise ValueError(text)
        return cls("span", int(word), int(number))

    def within(self, count: int) -> range:
        """Return the layers in a stack of `count` layers. They may lie outside it, see
        `layers_of`.
        """
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
    """Whether `text` is one of the forms, and no span that runs backwards."""
    try:
        LayerRange.parse(text)
    except ValueError:
        return False
    return True


def layers_of(text: str, count: int) -> range:
    """Return the layers that a form means in a stack of `count` layers. Raises ValueError where the
    stack has too few; `all` is allowed for any stack.
    """
    layers = LayerRange.parse(text).within(count)
    if text != "all" and (not layers or layers.start < 0 or layers.stop > count):
        raise ValueError(f"layers {text} is not within a stack of {count}")
    return layers


def fault_of_layers(text: str, stack: str, count: int, numbers: Collection[int]) -> str:
    """Say why no target of a stack of `count` layers is in those that a form means, with the next
    step; `numbers` are the layers that have targets. Empty where one is, and where none has any.
    """
    if text == "all" or not numbers:
        return ""
    advice = f"Choose others, or target_modules that leave the {stack} out."
    try:
        chosen = layers_of(text, count)
    except ValueError as error:
        return f"{error}, which the {stack} has. {advice}"
    if any(number in chosen for number in numbers):
        return ""
    return f"layers {text} holds none of the {stack}'s target modules. {advice}"
