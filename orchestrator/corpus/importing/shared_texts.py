"""Checking texts that stand under the name of several recordings. Copies of a recording, noisy or
at another rate, have the same text and the same length; where the lengths differ, something else is
said in one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from orchestrator.corpus.importing.parallel_texts import names_in
from orchestrator.corpus.importing.transcript_files import Transcript
from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.recordings.headers import read_header
from orchestrator.corpus.recordings.locating import AUDIO_SUFFIXES

_FACTOR = 2.0
"""The factor from which on two lengths are different: a copy may be trimmed, or the same sentence
read faster.
"""
_SECONDS = 0.5
"""Seconds by which two lengths must differ, in addition."""


def check_shared(
    texts: Mapping[Path, Sequence[Transcript]], top: Path, faults: list[str], choices: Counter[str]
) -> None:
    """Add a fault for each text that is taken for recordings of different lengths, and a choice for
    texts that several recordings of the same name share: below `top`, or in a folder beside it
    where the text lies outside of `top`.
    """
    sharing: dict[str, list[Path]] = {}
    for path, said in texts.items():
        sharing.setdefault(said[0].origin, []).append(path)
    names, alike = cache(names_in), list[Path]()
    beside = cache(lambda: sorted(names(top.parent) - {top.name}))
    for origin, paths in sharing.items():
        if top.name.strip(".") and not Path(origin).is_relative_to(top):
            inside = paths[0].relative_to(top)
            places = [top.with_name(folder) / inside for folder in beside()]
            paths = [*paths, *(found for place in places for found in _of_its_name(place, names))]
        if len(paths) < 2:
            continue
        told = sorted((seconds, path) for path in paths if (seconds := _seconds(path)))
        if told and _are_unlike(shortest := told[0], longest := told[-1]):
            faults.append(
                f"{origin}: cannot be what is said both in {shortest[1]}, {shortest[0]:.1f} s, and in {longest[1]}, "
                f"{longest[0]:.1f} s; put each text beside its own recording"
            )
        elif len({path.stem for path in paths}) < len(paths):
            alike += paths
    if alike:
        what = f"the text is that of another one of the same name too, such as {alike[0]} and {alike[1]}"
        choices[what] += sum(path in texts for path in alike)


def _of_its_name(path: Path, names: Callable[[Path], frozenset[str]]) -> list[Path]:
    """Return the recordings that have the name of `path`, with any ending."""
    there = names(path.parent)
    endings = AUDIO_SUFFIXES if there else ()
    return [path.with_suffix(each) for each in endings if f"{path.stem}{each}" in there]


def _seconds(path: Path) -> float:
    """Return the length of a recording; 0 where it cannot be read."""
    try:
        return read_header(path, path.name).seconds
    except UnusableError:
        return 0.0  # the fault is reported when its line is made


def _are_unlike(one: tuple[float, Path], other: tuple[float, Path]) -> bool:
    return other[0] > _FACTOR * one[0] and other[0] - one[0] > _SECONDS
