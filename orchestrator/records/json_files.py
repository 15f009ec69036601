"""The JSON files of a study: what each holds, and how one is read or refused as damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from orchestrator.checks import Level
from orchestrator.errors import StudyError
from orchestrator.file_kinds import other_kind
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, SetRecord, TrialResult
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.sweep import KernelName

Model = TypeVar("Model", bound=BaseModel)


class BaselinesFile(RootModel[dict[str, Measurement]]):
    """baseline.json: by evaluation fingerprint."""


class FormatFile(BaseModel):
    """study.json: the format of everything beside it."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    format: int


class ServerRecord(BaseModel):
    """storage.json: the server that holds the study's database; never its address."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    url_env: str
    """The environment variable that holds the address."""
    study: str
    """What the study is called there: its name and, as others may have one of that name, a random
    number."""


class PackRecord(BaseModel):
    """pack.json: how many adapters the study trains at once, and why so many."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    slots: int
    why: str
    device: str = "unknown"
    """Kind of device on which the choice was made."""
    packs: int = 1
    """Packs of so many slots that train side by side."""
    cores: int | None = None
    """Of the CPU, for each pack; None where one pack takes what the machine has for it."""
    kernel: KernelName = "aten"
    """What computes the linear layers; not in the file where it is torch's own."""


class StopRequest(BaseModel):
    """requests/stop-0007.json: a person asks for the end of trial 7; the sweep has not answered
    yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    reason: str = ""


class PersonStop(BaseModel):
    """stop.json of a trial: a person ended it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    step: int
    """The rung at which it ends."""
    reason: str = ""


class EvaluationsFile(RootModel[dict[str, dict[str, str]]]):
    """evaluations.json: the parts of each fingerprint."""


class SetsFile(RootModel[dict[str, SetRecord]]):
    """sets.json: by the names of the report."""


class SignedFile(BaseModel):
    """A file beside the sealed ones that says of which study it is, so that another digit in it, or
    the file of another study, is noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    sha256: str = ""
    """Of all else in it and of the study's origin."""

    def signed(self, origin: str) -> Self:
        """The same, of the study that has this origin (`journal.origin_of`)."""
        return self.model_copy(update={"sha256": self._digest(origin)})

    def is_of(self, origin: str) -> bool:
        """It is as it was signed, in this study."""
        return self.sha256 == self._digest(origin)

    def _digest(self, origin: str) -> str:
        return digest([origin, self.model_dump(mode="json", exclude={"sha256"})])


class ClockFile(SignedFile):
    """clock.json: what all runs of the sweep have spent."""

    seconds: float


class FindingRow(BaseModel):
    """One finding of a check."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    level: Level
    message: str


class FindingsFile(SignedFile):
    """findings.json: what the last run's checks found, by stage."""

    stages: dict[str, tuple[FindingRow, ...]]


def model_line(value: BaseModel) -> bytes:
    """A value as one line of JSON."""
    return value.model_dump_json().encode() + b"\n"


def plan_bytes(plan: TrialPlan) -> bytes:
    """plan.json."""
    return plan.model_dump_json(indent=1).encode() + b"\n"


def result_bytes(result: TrialResult) -> bytes:
    """result.json. Raises ValueError for a number that is not finite."""
    return to_line(
        json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    )


def to_line(text: str) -> bytes:
    """UTF-8 with an end of line."""
    # A lone surrogate cannot be UTF-8; as a backslash escape it is still the same JSON string.
    return text.encode("utf-8", errors="backslashreplace") + b"\n"


def read_file(path: Path) -> bytes | None:
    """The bytes of a file, None where there is none. Raises StudyError where something else has its
    name.
    """
    if kind := other_kind(path):
        raise not_a_file(path, kind)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def not_a_file(path: Path, kind: str, then: str = "run the same command again") -> StudyError:
    """The error that says what has the name of a file, and what to do when it is gone."""
    return StudyError(f"{path} is {kind}, and a file belongs there\n  Move it away, then {then}.")


def read_json(path: Path, model: type[Model], advice: str) -> Model | None:
    """The file as a value, None where there is none. Raises StudyError with `advice` when it is
    damaged, and where something else has its name.
    """
    data = read_file(path)
    return None if data is None else parse_json(str(path), data, model, advice)


def parse_json(place: str, data: bytes, model: type[Model], advice: str) -> Model:
    """`data`, which stands at `place`, as a value. Raises StudyError with `advice` when it is
    damaged.
    """
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise damaged(
            place, f"{field}: {first['msg']}" if field else first["msg"], advice
        ) from error


def damaged(place: Path | str, fault: str, advice: str) -> StudyError:
    """The error that says which file is damaged, how, and what to do."""
    said = fault if len(fault) <= 200 else f"{fault[:197]}..."
    return StudyError(f"{place} is damaged: {said}\n  {advice}")
