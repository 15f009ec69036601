"""Sealed files: a file that a number stands on is recorded in the journal before it is written, and
is read only as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.atomic import new_folder
from orchestrator.files.system_files import without_system_files
from orchestrator.records.journal.journal import HELP, Journal, digest_of
from orchestrator.records.journal.unsealed import UnsealedFiles
from orchestrator.records.json_files import Model, parse_json
from orchestrator.records.writing import safely, write_together


class SealedFiles(UnsealedFiles):
    """A folder of sealed files, which are written, read and put back here, whatever they mean."""

    def __init__(self, path: Path, name: str, format_file: Path) -> None:
        """A folder that has the file `format_file` must have a journal."""
        super().__init__(path, name)
        self.journal = Journal(path, name, format_file, self.ownership)

    def is_sealed(self, path: Path) -> bool:
        """Say whether the file was once written, whether it still exists or not."""
        return self.journal.path.exists() and self.journal.chain().knows(
            path.relative_to(self.path).as_posix()
        )

    def publish(self, what: str, files: Mapping[Path, bytes]) -> None:
        """Seal files that belong together, then write them."""
        self.ownership.confirm()
        digests = {path: digest_of(data) for path, data in files.items()}
        with self._refused_with_reason():
            write_together(files, lambda: self.journal.seal(what, digests))

    def held(self, path: Path, model: type[Model]) -> Model | None:
        """Return a sealed file as a value; None where it was never written."""
        data = self.journal.read(path)
        return None if data is None else parse_json(str(path), data, model, HELP)

    def put_back(self, path: Path, data: bytes) -> bool:
        """Write a lost or altered file again if `data` is, to the byte, what was sealed; say
        whether it was.
        """
        sealed = digest_of(data) == self.journal.chain().newest.get(
            path.relative_to(self.path).as_posix()
        )
        if sealed:
            self._write(path, data)
        return sealed

    @contextmanager
    def new_adapter(self, folder: Path) -> Iterator[Path]:
        """Yield an empty folder. On leaving the block, what was written there is sealed and
        replaces `folder`.
        """
        self.ownership.confirm()

        def seal(aside: Path) -> None:
            written = _files_below(aside)
            new = {
                folder / path.relative_to(aside): digest_of(path.read_bytes()) for path in written
            }
            self.journal.seal(
                f"{folder.name} of {folder.parent.name}",
                dict.fromkeys(self.sealed_under(folder)) | new,
            )

        with (
            self._refused_with_reason(),
            safely(folder, None),
            new_folder(folder, seal) as aside,
        ):
            yield aside

    @contextmanager
    def _refused_with_reason(self) -> Iterator[None]:
        """Raise the StudyError of another host that has taken the study over, and with it removed
        what this process was about to publish, in the place of one that the file is not there.
        """
        try:
            yield
        except StudyError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self.ownership.confirm()
            raise

    def has_adapter(self, folder: Path) -> bool:
        """Say whether an adapter was kept there. Raises StudyError where it is not as it was
        written.
        """
        files = self.sealed_under(folder)
        self.journal.check(*files, *_files_below(folder))
        return bool(files)

    def sealed_under(self, folder: Path) -> list[Path]:
        """Return the sealed files of a folder, by name."""
        return [
            self.path / file
            for file in self.journal.chain().under(folder.relative_to(self.path).as_posix())
        ]


def _files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and in those within it, by name."""
    return without_system_files(path for path in sorted(folder.rglob("*")) if path.is_file())
