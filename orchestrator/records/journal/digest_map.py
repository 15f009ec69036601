"""An immutable map from file to digest of which a changed version is made without copying all of
it: a journal of 10,000 trials seals 100,000 files, and every act of writing makes a new version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_PARTS = 1024


class Digests(Mapping[str, str | None]):
    """Files in `_PARTS` buckets, all files of one trial in the same one; versions share the buckets
    that are equal.
    """

    def __init__(self, files: Mapping[str, str | None]) -> None:
        self._parts = _with_files(({},) * _PARTS, files)

    def changed(self, files: Mapping[str, str | None]) -> Digests:
        """Return the version in which these files have these digests."""
        later = Digests.__new__(Digests)
        later._parts = _with_files(self._parts, files)
        return later

    def under(self, folder: str) -> tuple[str, ...]:
        """Return the files that should exist in a trial's folder, or in a folder within it, sorted
        by name.
        """
        part = self._parts[_part_of(f"{folder}/")]
        return tuple(
            sorted(f for f, sha256 in part.items() if sha256 and f.startswith(f"{folder}/"))
        )

    def __getitem__(self, file: str) -> str | None:
        return self._parts[_part_of(file)][file]

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self._parts))


def _with_files(
    parts: tuple[dict[str, str | None], ...], files: Mapping[str, str | None]
) -> tuple[dict[str, str | None], ...]:
    """Return the buckets with these files changed; untouched buckets are not copied."""
    of_part: dict[int, dict[str, str | None]] = {}
    for file, sha256 in files.items():
        of_part.setdefault(_part_of(file), {})[file] = sha256
    later = list(parts)
    for number, changes in of_part.items():
        later[number] = parts[number] | changes
    return tuple(later)


def _part_of(file: str) -> int:
    """Return the bucket of a file, chosen by the first two names of its path, such as
    trials/0007.
    """
    return hash(tuple(file.split("/", 2)[:2])) % _PARTS
