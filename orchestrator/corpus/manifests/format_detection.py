"""Turning the bytes of a manifest into records with line numbers, whichever of the common formats
the file has.

The format is detected by content, because NeMo calls its JSON lines `.json` and everybody calls
something `metadata.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from orchestrator.corpus.manifests.json_text import json_records
from orchestrator.corpus.manifests.lines import Hash, Record, read_lines
from orchestrator.corpus.manifests.not_a_manifest import refuse_binary, refuse_labels
from orchestrator.corpus.manifests.tables import table_records
from orchestrator.corpus.manifests.toolkit_lists import refuse_fairseq

_JSON = re.compile(rb"\s*(\{|\[\s*($|[{\[\]\"]))")
"""The beginning of a JSON manifest. `[Script Info]` of subtitles and `[00:12.00]` of lyrics do not
match.
"""
_LOOKED_AT = 8
"""The number of lines after the first by which a label file is recognised."""


def read_records(
    path: Path, content_hash: Hash, needs_text: bool = True, folder: Path | None = None
) -> Iterator[Record]:
    """Yield a (line, object or Fault) pair for each record; every byte of the file goes through
    `content_hash`.

    The recordings that a list names lie in `folder`, by default beside the file.

    Of JSON lines one record is held at a time, so a manifest of inline samples may be larger than
    memory. Raises UnusableError, in one sentence and with the command that helps, where the file as
    a whole is no manifest.
    """
    lines = read_lines(path, content_hash)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    refuse_binary(path, first[1])
    is_json = _JSON.match(first[1]) is not None
    beginning = [first] if is_json else [first, *islice(lines, _LOOKED_AT)]
    lines = chain(beginning, lines)
    if not is_json:
        refuse_labels(path, b"".join(line for _, line in beginning).decode("utf-8", "replace"))
        refuse_fairseq(path, *(line for _, line in [*beginning, (0, b"")][:2]))
    yield from (
        json_records(lines, path) if is_json else table_records(path, lines, needs_text, folder)
    )
