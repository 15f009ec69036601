"""The tables of a study as pandas data frames and as Parquet. Only this module needs pandas and
pyarrow, and imports them when they are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SpecError, StudyError
from orchestrator.records.content_digests import stored_spec
from orchestrator.records.store import StudyFolder
from orchestrator.reporting.tables.study_tables import DataTable, Row, table
from orchestrator.sweepfile.loading import project_root
from orchestrator.typed_words import install_command
from orchestrator.verdicts.concluding import conclude
from orchestrator.verdicts.conclusion import Conclusion

if TYPE_CHECKING:
    import pandas

_PANDAS = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}
"""pandas' nullable types: a missing value does not turn the column into another type."""
_ROWS = 50_000
"""Rows in a row group of a Parquet file; so many are held in memory at once."""


class StudyTables:
    """A study that is opened for analysis. Nothing is written, and its sweep may be running."""

    def __init__(self, path: Path) -> None:
        """`path` is the study's folder. Raises StudyError where there is no study there."""
        place = path.absolute()
        self.path = place
        self._folder = StudyFolder(place.parent, place.name)
        if not self._folder.exists:
            raise StudyError(
                f"there is no study at {path}\n  Name the folder that holds its spec.yaml: studies/NAME."
            )
        self._spec = stored_spec(self._folder, project_root(self._folder.spec))

    @property
    def name(self) -> str:
        """The name of the study."""
        return self._folder.name

    def conclude(self) -> Conclusion:
        """Return the best trial, its verdict and its confirmation, judged anew from the files: by
        what has ended so far, where the sweep goes on.
        """
        return conclude(self._spec, self._folder)

    def trials(self) -> pandas.DataFrame:
        """Return a row for every trial and confirmation run: state, reason, parameters, rates."""
        return self._frame("trials")

    def measurements(self) -> pandas.DataFrame:
        """Return a row for every set of every measurement, baselines included: counts, WER in
        percent, change in points.
        """
        return self._frame("measurements")

    def utterances(self, every_measurement: bool = False) -> pandas.DataFrame:
        """Return a row for every utterance of the measurements that gave the trials their results,
        or of all measurements: texts and counts.
        """
        return self._frame("utterances", every_measurement)

    def _frame(self, kind: str, every_measurement: bool = False) -> pandas.DataFrame:
        library = _import_library("pandas", "open_study(...) gives pandas frames")
        found = table(self._spec, self._folder, kind, every_measurement)
        frame = library.DataFrame(list(found.rows), columns=list(found.columns))
        return frame.astype({name: _PANDAS[kind] for name, kind in found.columns.items()})


def write_parquet(found: DataTable, path: Path) -> None:
    """Write a table as Parquet, by row groups. Raises SpecError where pyarrow is not installed."""
    arrow = _import_library("pyarrow", "--format parquet")
    parquet = import_module("pyarrow.parquet")
    types = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(name, types[kind]) for name, kind in found.columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _grouped_rows(found.rows):
            columns = [
                arrow.array(c, field.type)
                for c, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))


def _grouped_rows(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := list(islice(rows, _ROWS)):
        yield group


def _import_library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{what}: {name} is not installed\n  {install_command('tables')}"
        ) from error
