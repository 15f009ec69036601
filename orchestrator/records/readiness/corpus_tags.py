"""Finds marks that a corpus keeps in its texts and nobody says: GigaSpeech's <COMMA> and <MUSIC>,
TED-LIUM's ignore_time_segment_in_scoring, and <unk> in the place of a word that is said.

Sources: https://github.com/SpeechColab/GigaSpeech and the STM files of TED-LIUM.
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
    r"|(?P<spoken><unk>|<UNK>|(?i:ignore_time_segment_in_scoring))"
)
"""A mark. The group `spoken` matches those that stand where something is said."""


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
    """Return the shell commands that replace marks of punctuation by their signs and leave out
    lines with other marks.
    """
    commands, path = [], manifest
    if signs := [tag for tag in tags if tag in _SIGNS]:
        if path.suffix not in (".json", ".jsonl"):  # a comma would be a column of a table
            path = _beside(manifest, "copy")
            commands.append(
                f"orchestrate manifest filter {quoted_path(manifest)} {quoted_path(path)}"
            )
        script = "; ".join(f"s/ *{tag}/{_SIGNS[tag]}/g" for tag in signs)
        commands.append(
            f"sed {shlex.quote(script)} {quoted_path(path)} > {quoted_path(_beside(manifest, 'signs'))}"
        )
        path = _beside(manifest, "signs")
    if others := [tag for tag in tags if tag not in _SIGNS]:
        commands.append(
            f"orchestrate manifest filter {quoted_path(path)} {quoted_path(_beside(manifest, 'said'))} "
            f"--without-text {shlex.quote('|'.join(others))}"
        )
    return " && ".join(commands)


def _beside(manifest: Path, word: str) -> Path:
    return manifest.with_name(f"{manifest.stem}-{word}.jsonl")
