"""Selecting the utterances that go into a manifest: by length, name and text. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.corpus.manifest_errors import show
from orchestrator.corpus.manifests.manifest_writing import Made
from orchestrator.corpus.manifests.unicode_forms import composed
from orchestrator.errors import ManifestError
from orchestrator.typed_words import quoted_path

Brackets = Literal["keep", "drop", "strip"]
"""What to do with a text that has a part in brackets, such as [tone], (noise) or <unk>: keep it,
drop the line, or strip the part.
"""

BRACKETS: tuple[Brackets, ...] = get_args(Brackets)
_BRACKETED = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<(?!\s)[^<>]*(?<!\s)>|\{[^{}]*\}")
_BEFORE_A_SIGN = re.compile(rf"\s*(?:{_BRACKETED.pattern})(?=[,.;:!?])")
"""A part in brackets without brackets inside; `a < b and c > d` has none."""


@dataclass(frozen=True)
class Selection:
    """The criteria for utterances; None asks for nothing."""

    min_seconds: float | None = None
    max_seconds: float | None = None
    name: str | None = None
    """A glob for the path, the file's name or the id."""
    text: str | None = None
    """A regular expression that must be found in the text."""
    without_text: str | None = None
    """A regular expression that must not be found in the text."""
    brackets: Brackets = "keep"

    def why_not_name(self, names: Iterable[str]) -> str | None:
        """Return the reason to leave out an utterance that has these names, or None."""
        if self.name is None or any(
            fnmatchcase(composed(name), composed(self.name)) for name in names
        ):
            return None
        return f"whose name is not {self.name}"

    def why_not(self, made: Made) -> str | None:
        """Return the reason to leave an utterance out, or None."""
        seconds, text = made.line.get("duration"), composed(str(made.line["text"]))
        if self.min_seconds is not None and seconds is not None and seconds < self.min_seconds:
            return f"shorter than {self.min_seconds:g} s"
        if self.max_seconds is not None and seconds is not None and seconds > self.max_seconds:
            return f"longer than {self.max_seconds:g} s"
        if self.brackets == "drop" and _BRACKETED.search(text):
            return "whose text has a part in brackets"
        if self.brackets == "strip" and text and not without_brackets(text):
            return "whose text is all in brackets"
        if self.text is not None and not re.search(composed(self.text), text):
            return f"whose text has no {self.text}"
        if self.without_text is not None and re.search(composed(self.without_text), text):
            return f"whose text has {self.without_text}"
        return self.why_not_name(made.names)


def without_brackets(text: str) -> str:
    """Return the text without its parts in brackets, nested ones too."""
    while (shorter := _BRACKETED.sub(" ", _BEFORE_A_SIGN.sub("", text))) != text:
        text = shorter
    return " ".join(text.split())


def bracketed_part(text: str) -> str:
    """Return the first part in brackets; empty where there is none."""
    found = _BRACKETED.search(text)
    return found[0] if found else ""


def bracket_note(lines: Iterable[Mapping[str, Any]], what: str, cure: str) -> str:
    """Return a sentence on brackets in the texts of lines, which are `what`, with what to do; empty where there are
    none.
    """
    found = [part for line in lines if (part := bracketed_part(str(line["text"])))]
    if not found:
        return ""
    return (
        f"of {len(found)} {what} the text has something in brackets, such as {show(found[0][:40])}, and it is "
        f"learnt as words; {cure}"
    )


def filter_command(out: Path) -> str:
    """Return the command that copies a manifest at `out` without what stands in brackets."""
    other = out.with_name(f"{out.stem}-said.jsonl")
    return (
        "this leaves it out: orchestrate manifest filter "
        f"{quoted_path(out)} {quoted_path(other)} --brackets strip"
    )


def select(lines: Iterable[Made], wanted: Selection) -> tuple[list[Made], Counter[str]]:
    """Return the lines that are wanted, their brackets stripped where that is asked for, and how
    many others there are by the reason against them.
    """
    kept, reasons = [], Counter[str]()
    for made in lines:
        if why := wanted.why_not(made):
            reasons[why] += 1
        elif wanted.brackets == "strip" and _BRACKETED.search(str(made.line["text"])):
            kept.append(
                replace(made, line={**made.line, "text": without_brackets(str(made.line["text"]))})
            )
        else:
            kept.append(made)
    return kept, reasons


def left_out(reasons: Mapping[str, int], kept: int) -> str:
    """Say how many were left out and why; empty where none was."""
    if not (count := sum(reasons.values())):
        return ""
    return f"left out {count} of {count + kept}: " + ", ".join(
        f"{number} {why}" for why, number in reasons.items()
    )


def require_any(place: object, kept: int, reasons: Mapping[str, int]) -> None:
    """Raise ManifestError where nothing is left."""
    if not kept:
        raise ManifestError(
            f"nothing of {place} is left: {left_out(reasons, kept)}\n  Ask for less, or of another place."
        )
