"""Which recordings of a folder the names in a list mean: by their path or the end of it, with their ending, without it
or with another one, in the spelling or with the capitals of another system, and where the list was written for another
place. No audio is read here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath

from orchestrator.corpus.manifest_errors import UnusableError
from orchestrator.corpus.manifests.unicode_forms import composed
from orchestrator.corpus.recordings.locating import (
    SOUND_SUFFIXES,
    locate,
)

_FEATURES = re.compile(r"(^|/)mfc/")
"""The folder of the features that HTK computed of a recording; the prompts of VoxForge name the
recording by it.
"""
_OF_SOUND = ("wav", "flac")
"""The folders of VoxForge that hold recordings, in the place of that of features."""


def recordings_by_name(recordings: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """Return which recordings each name may mean. A path below the folder means one recording,
    whatever others are called elsewhere.
    """
    names: dict[str, list[Path]] = {}
    exact: dict[str, list[Path]] = {}
    for path in recordings:
        inside = path.relative_to(folder)
        # names in a list beside the folder may begin with the folder's own name, and those in a
        # list of a subfolder leave out the subfolder's
        parts = (Path(os.path.abspath(folder)).name, *inside.parts)
        ends = [Path(*parts[start:]) for start in range(len(parts))]
        for name in {form.as_posix() for end in ends for form in (end, end.with_suffix(""))}:
            for form in {name, spelled_here(name)}:
                names.setdefault(form, []).append(path)
        for name in {inside.as_posix(), inside.with_suffix("").as_posix(), os.path.abspath(path)}:
            for form in {name, spelled_here(name)}:
                exact.setdefault(form, []).append(path)
    return names | exact


def spelled_here(name: str) -> str:
    """Return a path with `/` between folders, as Windows does not write it, and with composed
    letters (NFC), as macOS does not.
    """
    return composed(name.replace("\\", "/"))


def root_elsewhere(written: Sequence[str], recordings: Sequence[Path], folder: Path) -> str:
    """Return the path, ending in /, with which all names of a list begin that was written for
    another place, where what follows it is a path below `folder`; empty where there is none. The
    names are those that `spelled_here` returns.
    """
    inside = {path.relative_to(folder) for path in recordings}
    paths = {
        spelled_here(form.as_posix()) for path in inside for form in (path, path.with_suffix(""))
    }
    levels = zip(*(name.split("/")[:-1] for name in written), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    roots = [f"{'/'.join(shared[:depth])}/" for depth in range(1, len(shared) + 1)]
    ends = ({name.removeprefix(root) for name in written} for root in roots)
    found = (
        root
        for root, names in zip(roots, ends, strict=True)
        if not paths.isdisjoint(names | set(map(without_ending, names)))
    )
    return next(found, "")


def recordings_meant(name: str, names: Mapping[str, list[Path]], table: Path) -> list[Path]:
    """Return the recordings that a name in a list may mean."""
    for spelling in dict.fromkeys((name, spelled_here(name))):
        plain = re.sub(r"^(?:\./|\*/)", "", spelling)  # in HTK's names, * is any folder
        for form in (plain, *(_FEATURES.sub(rf"\1{sound}/", plain) for sound in _OF_SOUND)):
            if found := names.get(form):
                return found
    try:
        return names.get(str(locate(name, table.parent)), []) if name else []
    except UnusableError:
        return []


def name_nearly_as(name: str, names: Mapping[str, list[Path]], folds: Mapping[str, str]) -> str:
    """Return which of `names` a name in a list means that has the ending of another kind of sound or, as on Windows and
    macOS, other capitals; empty where there is none. `folds` are those that `unique_folds` returns of `names`.
    """
    written = [each.removeprefix("./") for each in dict.fromkeys((name, spelled_here(name)))]
    plain = [without_ending(each) for each in written]
    same = (each for each in plain if each in names and each not in written)
    folded = (folds[each.casefold()] for each in (*written, *plain) if each.casefold() in folds)
    return next(chain(same, folded), "")


def ending_of_sound(name: str) -> str:
    """Return the ending of a name where it is one of a sound, read here or not; empty for any other."""
    ending = PurePosixPath(name).suffix
    return ending if ending.lower() in SOUND_SUFFIXES else ""


def without_ending(name: str) -> str:
    """Return a name without the ending of a sound, since a recording that was converted has another."""
    return name.removesuffix(ending_of_sound(name))
