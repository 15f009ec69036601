"""Write the manifests that are made of the manifests of the corpus' six sets, on the same audio:

    python data/derive_manifests.py

`train_manifest.jsonl` is the first 120 utterances of the training set, three of each of its 40
speakers; `test_manifest.jsonl` the first two of the domain set. Any stretch of a manifest has all
its speakers evenly, so the first utterances are as hard as the rest. `domain_all.jsonl` and
`heldout_all.jsonl` have the lines of an evaluated set and of its confirm set alternately, for
sweeps that split the two by speaker themselves.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

DATA = Path(__file__).resolve().parent
FIRST = {
    "train_manifest.jsonl": ("train_manifest_expanded.jsonl", 120),
    "test_manifest.jsonl": ("domain_manifest.jsonl", 2),
}
"""Manifest -> the manifest it is cut from, and how many utterances it takes."""
JOINED = {
    "domain_all.jsonl": ("domain_manifest.jsonl", "domain_confirm.jsonl"),
    "heldout_all.jsonl": ("heldout_manifest.jsonl", "heldout_confirm.jsonl"),
}
"""Manifest -> the two manifests, of equal size, whose lines it has alternately."""


def _lines(source: str) -> list[bytes]:
    return (DATA / source).read_bytes().splitlines(keepends=True)


def contents() -> dict[str, bytes]:
    """Return name and content of every derived manifest; its lines are those of its sources, byte
    for byte.
    """
    cut = {name: _lines(source)[:count] for name, (source, count) in FIRST.items()}
    joined = {
        name: list(chain.from_iterable(zip(_lines(one), _lines(other), strict=True)))
        for name, (one, other) in JOINED.items()
    }
    return {name: b"".join(lines) for name, lines in (cut | joined).items()}


def main() -> None:
    """Write all derived manifests beside the manifests they are made of."""
    for name, content in contents().items():
        (DATA / name).write_bytes(content)


if __name__ == "__main__":
    main()
