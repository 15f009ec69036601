"""Finds marks that a corpus keeps in its texts and nobody says: GigaSpeech's <COMMA> and <MUSIC>,
TED-LIUM's {BREATH} and ignore_time_segment_in_scoring, CMU Sphinx's ++NOISE++, Kaldi's <SPOKEN_NOISE>, %HESITATION,
Whisper's <|en|>, [laughter], the <b> of a web page, the <s> and </s> of language models, and <unk> or [inaudible] in
the place of words that are said.

Sources: https://github.com/SpeechColab/GigaSpeech, the STM files and the dictionary of TED-LIUM, and
https://cmusphinx.github.io/wiki/tutorialam.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orchestrator.corpus.manifests.toolkit_lists import PUNCTUATION
from orchestrator.scoring.artifacts import Artifacts
from orchestrator.scoring.normalizers import Normalizer
from orchestrator.typed_words import quoted_path

_SIGNS = {f"<{name}>": sign for name, sign in PUNCTUATION.items()}
_UNHEARD = (
    r"inaudible|unintelligible|unclear|unverständlich|unverst\.|unv\.|inintelligible|incompréhensible|ininteligible|"
    r"incomprensible|incomprensibile|inaudível|onverstaanbaar|неразборчиво|нрзб\.?"
)
"""What transcribers write in several languages where they did not understand what is said."""
_TAG = re.compile(
    rf"{'|'.join(_SIGNS)}|<(?:MUSIC|NOISE|SIL|OTHER)>"
    r"|(?P<spoken><(?i:unk|oov|unknown|inaudible|unintelligible)>|(?i:ignore_time_segment_in_scoring)"
    rf"|(?i:\[(?:unk|{_UNHEARD})(?: [\d:.]+)?\]))"
    r"|\[laughter-(?P<laughed>[\w'-]+)\]"
    r"|(?P<beside>(?<![\w{])[{\[][^\W\d_][\w -]*[}\]](?![\w-])|\+\+[A-Za-z]\w*\+\+|(?<=\w)\(\d\)|!SIL\b"
    r"|<(?i:sil|noise|laughter|laugh|breath|cough|spn|v-?noise|spoken_noise|music|hes|eps|pause)>"
    r"|<(?:FIL|SPK|STA|NPS|NON|PRN)/>|<\|[^|<>\s]{1,20}\|>|(?<![\w%])%(?i:hesitation)\b"
    r"|(?P<within></?(?:b|i|u|em|strong|span) ?/?>)|</?(?:p|br) ?/?>|(?P<ends></?s>))"
)
"""A mark. The group `spoken` matches those that stand where something is said, `laughed` the word
that is said with laughter, `beside` those beside words, which can be deleted without the words,
`within` those of them that may stand within a word, and `ends` those that are the model's own
tokens, with which no text of any set may be written.
"""

_TEXT = r'("text": "([^"\\]|\\.)*)'
_WORD = r'("text": "([^"\\]|\\.)*([^ "\\]|\\.))'
_END = r'("text": "(([^"\\]|\\.)*([^ "\\]|\\.))?)'
"""What is before a mark in a record's text, as expressions of sed: anything, something that ends in
no space, and the same or nothing.
"""


def find_tags(texts: Iterable[str], normalize: Normalizer, is_learned: bool) -> Artifacts:
    """Find the texts in which such marks do harm. Marks that nobody says and that the normaliser
    removes do none, unless a model learns the texts (`is_learned`).
    """
    rows: list[int] = []
    tags = Counter[str]()
    for row, text in enumerate(texts):
        found = list(_TAG.finditer(text))
        costs = is_learned or any(tag["spoken"] or tag["ends"] for tag in found)
        if found and (costs or normalize(text) != normalize(_TAG.sub(" ", text))):
            rows.append(row)
            tags.update(tag[0] for tag in found)
    return Artifacts(tuple(rows), tuple(tags.most_common()))


def cure_of_tags(tags: Sequence[str], texts: Iterable[str], manifest: Path) -> str:
    """Return the shell commands that leave out the texts with marks in the place of words, and
    those of marks alone; then replace marks of punctuation by their signs, and delete marks beside
    words. `texts` are those with marks.
    """
    signs = {tag: sign for tag in tags if (sign := _written(tag)) is not None}
    left_out = [re.escape(tag) for tag in tags if tag not in signs]
    silent = [re.escape(tag) for tag, sign in signs.items() if not re.search(r"\w", sign)]
    alone = rf"^(?>{'|'.join(silent)}|\W)+$"
    if silent and any(re.search(alone, text) for text in texts):
        left_out.append(alone)
    words = _beside(manifest, "words")
    without = f" --without-text {shlex.quote('|'.join(left_out))}" if left_out else ""
    # also for a manifest of another form: each record is on a line then, written without escapes
    commands = [
        f"orchestrate manifest filter {quoted_path(manifest)} {quoted_path(words)}{without}"
    ]
    if signs:
        out = quoted_path(_beside(manifest, "signs"))
        commands.append(f"{_sed_command(signs)} {quoted_path(words)} > {out}")
    return " && ".join(commands)


def _sed_command(signs: Mapping[str, str]) -> str:
    """Return the command that writes signs in the place of marks in the texts of records, and
    nowhere else: `clip (2).wav` is a name. Each round takes the last mark of a text.
    """
    marks: dict[str, list[str]] = {}
    for tag, sign in signs.items():
        marks.setdefault("(" if tag.startswith("(") else sign, []).append(_for_sed(tag))
    any_of = {sign: f"({'|'.join(found)})" for sign, found in marks.items()}
    beside = [any_of[sign] for sign in any_of if sign in ("", " ")]
    first = [f"{_WORD}{any_of[sign]}#\\1" for sign in any_of if sign == "("]
    first += [f"{_END} *{any_of[s]}#\\1{s}" for s in any_of if s in PUNCTUATION.values()]
    first += [f"{_END} *{each}([,.;:!?])#\\1\\6" for each in beside]
    last = [
        f"{_TEXT}{any_of[s]}#\\1{s}" for s in any_of if s != "(" and s not in PUNCTUATION.values()
    ]
    rounds = [(label, steps) for label, steps in (("a", first), ("b", last)) if steps]
    return "sed -E " + " ".join(
        f"-e :{label} -e {shlex.quote('; '.join(f's#{step}#' for step in steps))} -e t{label}"
        for label, steps in rounds
    )


def _written(tag: str) -> str | None:
    """Return what is written in the place of a mark; None where the line is better left out."""
    found = next(_TAG.finditer(f"x{tag}" if tag.startswith("(") else tag))
    if found["laughed"]:
        return f" {found['laughed']}"
    if found["beside"]:
        return "" if found["within"] or tag.startswith("(") else " "
    return _SIGNS.get(tag)


def _for_sed(tag: str) -> str:
    """Return a mark as an extended regular expression of sed that matches it alone."""
    return re.sub(r"[][(){}+.|]", r"\\\g<0>", tag)


def _beside(manifest: Path, word: str) -> Path:
    return manifest.with_name(f"{manifest.stem}-{word}.jsonl")
