"""The journal of a study: every file that a number stands on is sealed in it, and is read only as
it was sealed.

A digest goes durably into the journal before its file is published. So a kill or a power cut leaves
the new file or the old one, beside a last act that speaks of the new one. Either is accepted, and
`settle` then writes into the journal which one it is. No file is ever sealed for being there, only
for being about to be written.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from orchestrator.errors import Interrupted, StudyError
from orchestrator.files.atomic import sync_folder
from orchestrator.files.file_kinds import other_kind
from orchestrator.records.journal.chain import NO_FILE, Chain, Entry, Fault, read_chain
from orchestrator.records.journal.journal_file import OtherFile, Stamp, append, stamp_of
from orchestrator.records.json_files import not_a_file
from orchestrator.records.locks.still_owner import Ownership
from orchestrator.records.writing import refused

NAME = "journal.jsonl"
HELP = (
    "Restore it from a copy of the study, or run `orchestrate repair SPEC`: it makes again what follows from the rest, "
    "and says what does not."
)

_RECORD = re.compile(
    r"(trials|confirm)/[0-9]{4,}/(plan\.json|result\.json|(measurements|hypotheses-.+)\.jsonl)"
)
"""The records of a trial, which a run seals: plan, result, measurements and hypotheses."""
Found = TypeVar("Found")


class Journal:
    """`journal.jsonl` of one study. Reading needs no lock; whoever seals holds the study's."""

    def __init__(self, root: Path, study: str, mark: Path, ownership: Ownership) -> None:
        """`root` is the study's folder; a study that has the file `mark` must have a journal."""
        self.path = root / NAME
        self._root, self._study, self._mark = root, study, mark
        self._prefix = f"{root}{os.sep}"
        self._ownership = ownership
        self._read: tuple[Stamp | None, Chain] | None = None
        self._as_left: tuple[Stamp | None] | None = None
        """The stamp that this process left while it alone may write; None while it may not."""
        self._digests: dict[str, tuple[Stamp, str]] = {}

    def chain(self) -> Chain:
        """Return what the journal seals now. Raises StudyError where it is lost, its chain is
        broken, or somebody else changed it while this process held the study.
        """
        stamp = stamp_of(self.path)
        if self._as_left is not None and stamp != self._as_left[0]:
            self._ownership.confirm()  # raises where more than its time has changed, or for the cause
        if self._read is None or self._read[0] != stamp:
            self._read = (stamp, self._load(stamp))
        return self._read[1]

    def _load(self, stamp: Stamp | None) -> Chain:
        if stamp is None:
            self._refuse_lost()
            return Chain()
        if kind := other_kind(self.path):
            restore = "restore the journal from a copy of the study"
            raise not_a_file(self.path, kind, f"{restore}, or begin a new one with --fork NAME")
        try:
            chain = read_chain(self.path.read_bytes())
        except ValueError as error:
            raise StudyError(
                f"{self.path} is damaged: {error}\n"
                "  Restore it from a copy of the study, or begin a new study with --fork NAME."
            ) from error
        if not chain.length:
            self._refuse_lost()
        return chain

    def _refuse_lost(self) -> None:
        """Raise StudyError for an empty journal if the mark exists, which the first line seals."""
        if self._mark.exists():
            raise StudyError(
                f"{self.path} is lost, or study {self._study} was begun before studies had one: whether its files "
                "are what was measured cannot be told\n"
                "  Restore it from a copy of the study, or begin a new study with --fork NAME."
            )

    def seal(self, what: str, files: Mapping[Path, str | None]) -> None:
        """Write durably which digests these files are about to have; None for a file that is about
        to be removed.
        """
        self._add(
            self.chain().entries(what, {self._name(path): sha256 for path, sha256 in files.items()})
        )

    def close(self) -> None:
        """Write that the files of the last act were published: from now on, a missing one is
        lost.
        """
        self._add(self.chain().closing)

    def _add(self, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        self._ownership.confirm()
        chain = self.chain()
        assert self._read is not None
        lines = b"".join(entry.line for entry in entries)
        try:
            stamp = append(self.path, self._read[0], chain.length, lines)
        except OtherFile:
            self._ownership.confirm()  # where another host has taken the study, that is why
            raise self._changed() from None
        except OSError as error:
            raise refused(self.path, error, len(lines)) from error
        if self._as_left is not None:
            self._as_left = (stamp,)
        self._read = (stamp, chain.extended(entries))

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Settle the journal, refuse changes by others during the block, then close it, or settle
        it after Interrupted. The caller holds the lock.
        """
        self.settle()
        self._as_left = (stamp_of(self.path),)
        try:
            yield
            self.close()
        except Interrupted:  # perhaps between a seal and its file, or in the middle of a line
            self._as_left = None
            self.settle()
            raise
        finally:
            self._as_left = None

    def confirm_unchanged(self) -> None:
        """Raise StudyError where somebody else changed it while this process held the study."""
        if self._as_left is None or (stamp := stamp_of(self.path)) == self._as_left[0]:
            return
        if not self._says_the_same(self._as_left[0], stamp):
            raise self._changed()
        self._as_left = (stamp,)

    def _says_the_same(self, left: Stamp | None, stamp: Stamp | None) -> bool:
        """Whether the file is as this process left it, but for its time: some backups set that to
        whole seconds, and a file server may give its own once the file is closed.
        """
        if left is None or stamp is None or left[1:] != stamp[1:]:
            return False
        if self._read is None or self._read[0] != left:
            return False
        chain = self._read[1]
        try:
            found = read_chain(self.path.read_bytes())
        except (OSError, ValueError):
            return False
        if (found.length, found.last) != (chain.length, chain.last):
            return False
        self._read = (stamp, chain)
        return True

    def _changed(self) -> StudyError:
        return StudyError(
            f"{self.path} was removed or changed by something else while this run held study "
            f"{self._study}\n"
            "  Nothing more was written. Restore the study from a copy, then run the same "
            "command again."
        )

    def read(self, path: Path) -> bytes | None:
        """Return the bytes of a sealed file; None where none was ever written. Raises StudyError
        for any other bytes.
        """

        def look() -> tuple[bytes | None, str | None]:
            stamp = stamp_of(path)
            if stamp is None:
                return None, None
            if other_kind(path):
                return None, NO_FILE
            data = path.read_bytes()
            return data, self._digest(path, stamp, lambda: data)

        return self._agreed({path: look})[path]

    def check(self, *paths: Path) -> None:
        """Raise StudyError, naming the files, where any of these is not as it was sealed."""
        self._agreed({path: lambda path=path: (None, self.found(path)) for path in paths})  # type: ignore[misc]

    def _agreed(
        self, looks: Mapping[Path, Callable[[], tuple[Found, str | None]]]
    ) -> dict[Path, Found]:
        """Return what `looks` found of the files once files and journal agree; a run may be writing
        both.
        """
        while True:
            chain = self.chain()
            seen = {path: look() for path, look in looks.items()}
            names = {self._name(path): digest for path, (_, digest) in seen.items()}
            faults = {
                name: fault
                for name, digest in names.items()
                if (fault := chain.fault(name, digest))
            }
            if not faults:
                return {path: value for path, (value, _) in seen.items()}
            if self.chain() is chain:
                raise self.error(faults | self.faults())

    def faults(self) -> dict[str, Fault]:
        """Return name -> fault of all sealed files that are not as they were sealed."""
        while True:
            chain = self.chain()
            found = {
                file: chain.fault(file, self.found(self._root / file)) for file in chain.newest
            }
            faults = {file: fault for file, fault in sorted(found.items()) if fault}
            if not faults or self.chain() is chain:  # else a run is just writing
                return faults

    def error(self, faults: Mapping[str, Fault], help: str = HELP) -> StudyError:
        """Return the error that says what is wrong with the files, and how many still hold."""
        if unsealed := self._unsealed():
            return self._cut_off(unsealed)
        sealed = self.chain().files
        shown = [f"  {file} {fault}" for file, fault in list(faults.items())[:8]]
        more = [f"  and {len(faults) - len(shown)} more"] if len(faults) > len(shown) else []
        stands = sum(file not in faults for file in sealed)
        head = f"The files of study {self._study} are not as journal.jsonl says they were written:"
        return StudyError(
            "\n".join(
                [head, *shown, *more, f"  {stands} of {len(sealed)} sealed files hold. {help}"]
            )
        )

    def _unsealed(self) -> list[str]:
        """Return records of trials that the journal does not know, if it ends in the middle of a
        run. A run seals each before it exists, so the journal was cut off. None after a run that
        ended in order: then they can be anybody's.
        """
        while not (chain := self.chain()).closed:
            found = [
                file.relative_to(self._root).as_posix()
                for parent in ("trials", "confirm")
                for file in self._root.glob(f"{parent}/[0-9]*/*.json*")
            ]
            records = [name for name in sorted(found) if _RECORD.fullmatch(name)]
            unsealed = [name for name in records if not chain.knows(name)]
            if not unsealed or self.chain() is chain:  # else a run is just writing
                return unsealed
        return []

    def _cut_off(self, unsealed: list[str]) -> StudyError:
        """Return the error of a journal that ends before these files were written."""
        more = f" and {len(unsealed) - 1} more" if len(unsealed) > 1 else ""
        return StudyError(
            f"{self.path} is cut off, or an older one: it ends in the middle of a run, before "
            f"{unsealed[0]}{more}, which lie there, were written\n"
            "  Restore it from a copy of the study that has them; nothing else knows whether they are as "
            "they were measured. Without a copy, begin a new study with --fork NAME."
        )

    def settle(self) -> None:
        """Write which files of the last act were published, so that the next act may follow; the
        caller holds the lock.

        A file that is neither the new nor the old one is left, and refused when it is read; so is a
        study without a journal. Raises StudyError for a journal that was cut off, which is left as
        it is.
        """
        if not self.path.exists():
            return
        if unsealed := self._unsealed():
            raise self._cut_off(unsealed)
        chain = self.chain()
        self._sync_folders_of(chain.before)
        kept = {
            self._root / file: old
            for file, old in chain.before.items()
            if old != chain.newest[file] and self.found(self._root / file) == old
        }
        self.seal("not published when the run was cut off; as before", kept)
        self.close()

    def _sync_folders_of(self, files: Iterable[str]) -> None:
        """Sync the folders of these files: names that a killed process left may exist only in the
        memory of the machine.
        """
        paths = [(self._root / file).parents for file in files]
        folders = {
            folder
            for parents in paths
            for folder in parents
            if folder.is_relative_to(self._root) and folder.is_dir()
        }
        for folder in sorted(folders):
            sync_folder(folder)

    def found(self, path: Path) -> str | None:
        """Return the digest of a file on disk; None where there is none, NO_FILE where something
        else has its name.
        """
        stamp = stamp_of(path)
        if stamp is not None and other_kind(path):
            return NO_FILE
        return self._digest(path, stamp, path.read_bytes) if stamp else None

    def _digest(self, path: Path, stamp: Stamp, read: Callable[[], bytes | None]) -> str:
        name = self._name(path)
        known = self._digests.get(name)
        if known is None or known[0] != stamp:
            known = self._digests[name] = (stamp, digest_of(read() or b""))
        return known[1]

    def _name(self, path: Path) -> str:
        name = str(path).removeprefix(self._prefix)
        if len(name) == len(str(path)):
            raise ValueError(f"{path} is not in {self._root}")
        return name


def origin_of(journal: Path) -> str:
    """Return what identifies a study wherever it is copied: the digest of the second line of its
    journal, which seals its first spec.yaml. Empty without a journal.
    """
    if not journal.exists() or other_kind(journal):
        return ""
    with journal.open("rb") as file:
        file.readline()
        return digest_of(file.readline())


def digest_of(data: bytes) -> str:
    """Return what the journal holds of a file's bytes: their SHA-256."""
    return hashlib.sha256(data).hexdigest()
