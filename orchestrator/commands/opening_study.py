"""Opening of the sweep and the study that were named on the command line, by a sweep file or by the
name of a study; and which overrides are allowed for a study that was begun.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands import running_command
from orchestrator.errors import SpecError, StudyError
from orchestrator.typed_words import path_word

if TYPE_CHECKING:
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.sweep import SweepSpec

FORKED = "begun with --fork beside study {}."
"""Note that is written to a forked study, so that people who open the original one by the sweep
file can be told of the fork.
"""

JUDGED_ANEW = "acceptance"
"""The section of the sweep file that may be overridden to judge the same numbers by other
limits.
"""


_BY_FILE = "Name the sweep file in the place of the study: `orchestrate repair SPEC` makes it again from that."


@dataclass(frozen=True)
class Opened:
    """A study as it was begun, with the overrides that are allowed."""

    sweep: SweepSpec
    folder: StudyFolder
    root: Path
    """The project's folder."""
    other_limits: bool
    """Whether `sweep` has other acceptance criteria than the study."""
    beside: tuple[str, ...]
    """Names of studies that were forked from this one; perhaps one of them was meant."""


def open_sweep(
    spec: Path, overrides: Sequence[str], studies: Path | None
) -> tuple[SweepSpec, StudyFolder]:
    """Return the sweep and the folder of its study, for commands that run or check a sweep.

    For a sweep file it is the sweep as the file is now, and the study may not exist yet. For the
    name of a study in `studies`, by default ./studies, it is the sweep as the study was begun.
    Raises SpecError, and StudyError where the study's spec.yaml is lost or altered.
    """
    from orchestrator.records.store import StudyFolder
    from orchestrator.running.chained_spec import load_chained_spec
    from orchestrator.sweepfile.loading import studies_root

    named, words = _named_study(spec, studies), (path_word(spec), *_place_words(studies))
    if named is not None:
        _check_sweep_of(named)
        name = _name_overrides(overrides) or [f"name={named.name}"]
        others = [override for override in overrides if override not in name]
        given = [*_server_of(named, others), *name, *others]
        root = named.path.parent
        sweep = load_chained_spec(named.spec, given, root, _project_of(named), words)
        return sweep, StudyFolder(root, sweep.name)
    root = studies or studies_root(spec)
    sweep = load_chained_spec(spec, overrides, root, named=words)
    return sweep, StudyFolder(root, sweep.name)


def open_study(
    spec: Path, overrides: Sequence[str], studies: Path | None, *, judging: bool = False
) -> Opened:
    """Open an existing study as it was begun, for commands that report: they show what was run,
    whatever the sweep file says by now.

    `spec` is a sweep file, or where there is no such file the name of a study in `studies`, by
    default ./studies. Overrides that would make it another study are refused; with `judging`, those
    of acceptance criteria are allowed. Raises SpecError, StudyError.
    """
    from orchestrator.records.content_digests import stored_spec
    from orchestrator.sweepfile.loading import changed_fields, load_spec, project_root

    folder = _folder_of_study(spec, overrides, studies)
    if not folder.exists:
        raise no_study(folder, spec, overrides, studies)
    root = project_root(spec) if spec.is_file() else _project_of(folder)
    stored = stored_spec(folder, root)
    asked = [override for override in overrides if override.partition("=")[0] != "name"]
    words = (path_word(spec), *_place_words(studies))
    wanted = load_spec(folder.spec, asked, root, words) if asked else stored
    changed = [change.path for change in changed_fields(stored, wanted)]
    refused = [path for path in changed if not judging or path.partition(".")[0] != JUDGED_ANEW]
    if refused:
        raise StudyError(_refusal_of_overrides(folder.name, refused, judging))
    forks = []
    if spec.is_file():
        forks = [each.name for each in folder.neighbours() if _was_forked(each, folder.name)]
    # the spec.yaml of a copied study has the name of the study that it was copied from
    sweep = (wanted if changed else stored).model_copy(update={"name": folder.name})
    return Opened(sweep, folder, root, bool(changed), tuple(forks))


def all_studies(studies: Path | None) -> list[tuple[StudyFolder, Path]]:
    """Return every study in `studies`, by default ./studies, with its project's folder. Raises
    StudyError where there is none.
    """
    from orchestrator.records.store import StudyFolder, study_names
    from orchestrator.sweepfile.loading import project_root

    root = (studies or Path("studies")).absolute()
    names = study_names(root)
    if not names:
        raise StudyError(
            f"there are no studies in {root}\n  Go to the project's folder, or name them with --studies."
        )
    folders = [StudyFolder(root, name) for name in names]
    return [(folder, project_root(folder.spec)) for folder in folders]


def own_name(spec: Path, overrides: Sequence[str] = ()) -> str:
    """Return the name of the study that a sweep file, or the name of a study, means with these
    overrides alone; empty where the file is not valid with them.
    """
    from orchestrator.sweepfile.loading import load_spec

    if not spec.is_file():
        return str(spec)
    try:
        return load_spec(spec, overrides).name
    except SpecError:
        return ""


def _folder_of_study(spec: Path, overrides: Sequence[str], studies: Path | None) -> StudyFolder:
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.loading import load_spec, studies_root

    if (named := _named_study(spec, studies)) is not None:
        others = [override.partition("=")[2] for override in _name_overrides(overrides)]
        return StudyFolder(named.path.parent, [named.name, *others][-1])
    words = (path_word(spec), *_place_words(studies))
    name = load_spec(spec, _name_overrides(overrides), named=words).name
    return StudyFolder(studies or studies_root(spec), name)


def _project_of(study: StudyFolder) -> Path:
    """Return the project's folder of a study that was opened by its name: the one that holds the
    folder of its studies, however that is called; or the current one where more of its sets are
    there. Raises StudyError and SpecError as `stored_spec` does.
    """
    from orchestrator.records.content_digests import stored_spec
    from orchestrator.sweepfile.loading import project_root

    usual = project_root(study.spec)
    places = dict.fromkeys((Path(os.path.abspath(study.path)).parents[1], usual, Path.cwd()))
    found = {place: _sets_there(stored_spec(study, place)) for place in places}
    return max(found, key=found.__getitem__) if any(found.values()) else usual


def _sets_there(sweep: SweepSpec) -> int:
    """Count the manifests of a sweep that exist. Those outside of its project may do so wherever
    the project is.
    """
    evaluated = (source.path for source in sweep.data.all_evaluated.values())
    return sum(path.is_file() for path in (sweep.data.train, *evaluated))


def no_study(
    folder: StudyFolder, spec: Path, overrides: Sequence[str], studies: Path | None
) -> StudyError:
    """Make the error for a study that does not exist, with the command that begins it."""
    begins = running_command(path_word(spec), *overrides, *_place_words(studies))
    return StudyError(
        f"there is no study {folder.name} in {folder.path.parent}\n  `{begins}` begins "
        f"it{_known_studies(folder)}"
    )


def names_study(spec: Path, studies: Path | None) -> bool:
    """Whether the word is no existing file, and a study has that name."""
    folder = _folder_of_name(spec, studies)
    return folder is not None and folder.exists


def _named_study(spec: Path, studies: Path | None) -> StudyFolder | None:
    """Return the study that a word names; None where the word is taken for the path of a sweep
    file. Raises SpecError for a word that is neither, and for the path of a study's folder.
    """
    from orchestrator.records.store import StudyFolder, study_names

    folder = _folder_of_name(spec, studies)
    if folder is not None and folder.exists:
        return folder
    if spec.is_dir() and spec.name in study_names(spec.parent):
        named = StudyFolder(spec.parent, spec.name).named
        raise SpecError(f"{spec} is the folder of a study\n  Name the study itself: {named}")
    is_file_name = spec.suffix[1:].isalpha()  # as of demo.yaml, and not of phase-3.1
    if folder is not None and not is_file_name and not spec.exists():
        raise SpecError(_nothing_named(folder, studies))
    return None


def _folder_of_name(spec: Path, studies: Path | None) -> StudyFolder | None:
    """Return the folder of the study that a word would name, which need not exist; None where the
    word is an existing file or cannot be a study's name.
    """
    from orchestrator.records.store import StudyFolder
    from orchestrator.sweepfile.sweep import NAME

    if spec.is_file() or not re.fullmatch(NAME, str(spec)):
        return None
    return StudyFolder(studies or Path("studies").absolute(), str(spec))


def _check_sweep_of(folder: StudyFolder) -> None:
    """Raise StudyError where the study's spec.yaml is not as it was written: then only the original
    sweep file can say what the study is.
    """
    folder.check_format()
    fault = folder.journal.chain().fault(folder.spec.name, folder.journal.found(folder.spec))
    if fault:
        raise folder.journal.error(
            {folder.spec.name: fault},
            _BY_FILE,
        )


def _server_of(folder: StudyFolder, overrides: Sequence[str]) -> list[str]:
    """Return the override that names the server of the study's database, which is in no spec.yaml;
    nothing where the database is a file of the folder or the overrides name its place. Raises
    StudyError where the record of it is damaged.
    """
    given = any(override.startswith(("storage.", "storage=")) for override in overrides)
    try:
        record = None if given else folder.server()
    except StudyError as error:
        raise StudyError(f"{error.summary}\n  {_BY_FILE}") from error
    return [] if record is None else [f"storage.url_env={record.url_env}"]


def _name_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of the study's name, which are needed to find its folder."""
    return [override for override in overrides if override.partition("=")[0] == "name"]


def _nothing_named(folder: StudyFolder, studies: Path | None) -> str:
    """Say that a word is neither a study nor a sweep file, and what may have been meant."""
    name = folder.name
    sweep = Path("sweeps", f"{name}.yaml")
    begins = running_command(str(sweep), *_place_words(studies))
    step = f"`{begins}` begins it" if sweep.is_file() else "Name a sweep file or a study"
    if sweep.is_file() and (own := own_name(sweep)) not in ("", name):
        step = f"{sweep} is the sweep file of study {own}: name one of these two"
    return (
        f"there is neither a study {name} in {folder.path.parent} nor a sweep file {name}\n"
        f"  {step}{_known_studies(folder)}"
    )


def _place_words(studies: Path | None) -> tuple[str, ...]:
    return ("--studies", str(studies)) if studies else ()


def _known_studies(folder: StudyFolder) -> str:
    names = [neighbour.name for neighbour in folder.neighbours()]
    return f"; there are {', '.join(names)}." if names else "."


def _was_forked(study: StudyFolder, name: str) -> bool:
    return os.access(study.notes, os.R_OK) and study.has_note(FORKED.format(name))


def _refusal_of_overrides(name: str, changed: Sequence[str], judging: bool) -> str:
    what = ", ".join(changed)
    others = "name and acceptance.METRIC" if judging else "name"
    return (
        f"study {name} was not run with this: {what}\n"
        f"  It is shown as it was run; {others} alone may be given. "
        "Another sweep is begun with `orchestrate SPEC ... --fork NAME`."
    )
