"""Finds marks that a corpus keeps in its texts and nobody says: GigaSpeech's <COMMA> and <MUSIC>,
TED-LIUM's {BREATH} and ignore_time_segment_in_scoring, CMU Sphinx's ++NOISE++, [laughter], the <b>
of a web page, and <unk> or [inaudible] in the place of words that are said.

Sources: https://github.com/SpeechColab/GigaSpeech, the STM files and the dictionary of TED-LIUM, and
https://cmusphinx.github.io/wiki/tutorialam.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.corpus.manifests.toolkit_lists import PUNCTUATION
from orchestrator.scoring.artifacts import Artifacts
from orchestrator.scoring.normalizers import Normalizer
from orchestrator.typed_words import quoted_path

_SIGNS = {f"<{name}>": sign for name, sign in PUNCTUATION.items()}
_TAG = re.compile(
    rf"{'|'.join(_SIGNS)}|<(?:MUSIC|NOISE|SIL|OTHER)>"
    r"|(?P<spoken><unk>|<UNK>|(?i:ignore_time_segment_in_scoring)"
    r"|(?i:\[(?:inaudible|unintelligible|unclear|unk)(?: [\d:.]+)?\]))"
    r"|\[laughter-(?P<laughed>[\w'-]+)\]"
    r"|(?P<beside>(?<![\w{])[{\[][A-Za-z][\w -]*[}\]](?![\w-])|\+\+[A-Za-z]\w*\+\+|(?<=\w)\(\d\)|!SIL\b"
    r"|<(?:sil|noise|laughter|laugh|breath|cough|spn|v-?noise|spoken_noise|music)>"
    r"|</?(?:b|i|u|em|strong|span|p|br) ?/?>)"
)
"""A mark. The group `spoken` matches those that stand where something is said, `laughed` the word
that is said with laughter, `beside` those beside words, which can be deleted without the words.
"""


def find_tags(texts: Iterable[str], normalize: Normalizer, is_learned: bool) -> Artifacts:
    """Find the texts in which such marks do harm. Marks that nobody says and that the normaliser
    removes do none, unless a model learns the texts (`is_learned`).
    """
    rows: list[int] = []
    tags = Counter[str]()
    for row, text in enumerate(texts):
        found = list(_TAG.finditer(text))
        costs = is_learned or any(tag["spoken"] for tag in found)
        if found and (costs or normalize(text) != normalize(_TAG.sub(" ", text))):
            rows.append(row)
            tags.update(tag[0] for tag in found)
    return Artifacts(tuple(rows), tuple(tags.most_common()))


def cure_of_tags(tags: Sequence[str], manifest: Path) -> str:
    """Return the shell commands that replace marks of punctuation by their signs, delete marks
    beside words, and leave out lines with other marks.
    """
    commands, path = [], manifest
    signs = {tag: sign for tag in tags if (sign := _written(tag)) is not None}
    if signs:
        if path.suffix not in (".json", ".jsonl"):  # a comma would be a column of a table
            path = _beside(manifest, "copy")
            commands.append(
                f"orchestrate manifest filter {quoted_path(manifest)} {quoted_path(path)}"
            )
        script = "; ".join(f"s| *{_for_sed(tag)}|{sign}|g" for tag, sign in signs.items())
        commands.append(
            f"sed {shlex.quote(script)} {quoted_path(path)} > {quoted_path(_beside(manifest, 'signs'))}"
        )
        path = _beside(manifest, "signs")
    if others := [tag for tag in tags if tag not in signs]:
        commands.append(
            f"orchestrate manifest filter {quoted_path(path)} {quoted_path(_beside(manifest, 'said'))} "
            f"--without-text {shlex.quote('|'.join(map(re.escape, others)))}"
        )
    return " && ".join(commands)


def _written(tag: str) -> str | None:
    """Return what is written in the place of a mark; None where the line is better left out."""
    found = next(_TAG.finditer(f"x{tag}" if tag.startswith("(") else tag))
    if found["laughed"]:
        return f" {found['laughed']}"
    return "" if found["beside"] else _SIGNS.get(tag)


def _for_sed(tag: str) -> str:
    """Return a mark as a pattern of sed that matches it alone."""
    return tag.replace("[", r"\[").replace("]", r"\]")


def _beside(manifest: Path, word: str) -> Path:
    return manifest.with_name(f"{manifest.stem}-{word}.jsonl")
