"""The two small manifests of the recorded experiments, over audio that is here already:

    python data/make_recorded.py

`train_manifest.jsonl` is the first 120 utterances of the training set, three of each of its 40
speakers; `test_manifest.jsonl` the first two of the domain set. Any stretch of a manifest has all
its speakers evenly, so the first utterances are as hard as the rest.
"""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).resolve().parent
FIRST = {
    "train_manifest.jsonl": ("train_manifest_expanded.jsonl", 120),
    "test_manifest.jsonl": ("domain_manifest.jsonl", 2),
}
"""Manifest -> the one it is cut from, and how many utterances it takes."""


def content(source: str, count: int) -> bytes:
    """The first lines of a manifest, byte for byte."""
    return b"".join((DATA / source).read_bytes().splitlines(keepends=True)[:count])


def main() -> None:
    """Write both beside the manifests they are cut from."""
    for name, (source, count) in FIRST.items():
        (DATA / name).write_bytes(content(source, count))


if __name__ == "__main__":
    main()
