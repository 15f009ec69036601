"""The JSON files of a study: what each holds, and how one is read or refused as damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from orchestrator.checks import Level
from orchestrator.errors import StudyError
from orchestrator.files.file_kinds import other_kind
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.results import Measurement, SetRecord, Told, TrialResult
from orchestrator.sweepfile.digest import digest
from orchestrator.sweepfile.execution import KernelName

Model = TypeVar("Model", bound=BaseModel)


class BaselinesFile(RootModel[dict[str, Measurement]]):
    """baseline.json: evaluation fingerprint -> the untuned model's measurement."""


class FormatFile(BaseModel):
    """study.json: the format version of all files of the study."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    format: int


class ServerRecord(BaseModel):
    """storage.json: which server holds the study's database, without the server's address."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    url_env: str
    """The environment variable that holds the address."""
    study: str
    """The study's name on the server: its own name and a random number, as others may have a study
    of that name.
    """


class PackRecord(BaseModel):
    """pack.json: how many adapters the study trains at once, and why so many."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    slots: int
    """Adapters that one pack trains at once."""
    why: str
    """Why so many, in words."""
    device: str = "unknown"
    """Kind of device on which the choice was made."""
    packs: int = 1
    """How many packs of so many slots train side by side."""
    cores: int | None = None
    """CPU cores of each pack; None where one pack takes all that the machine offers."""
    kernel: KernelName = "aten"
    """Library that computes the linear layers; left out of the file where it is torch's own."""


class StopRequest(BaseModel):
    """requests/stop-0007.json: a person asks for the end of trial 7, and the sweep has not answered
    yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    reason: str = ""


class PersonStop(BaseModel):
    """stop.json of a trial that a person ended."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    step: int
    """Step of the rung at which it ends."""
    reason: str = ""


class EvaluationsFile(RootModel[dict[str, dict[str, str]]]):
    """evaluations.json: evaluation fingerprint -> the parts that it is the digest of."""


class SetsFile(RootModel[dict[str, SetRecord]]):
    """sets.json: name of a set, as in the report -> its record."""


class SignedFile(BaseModel):
    """An unsealed file with a digest that binds it to its study, so that a changed digit, or the
    file of another study, is noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    sha256: str = ""
    """Digest of everything else in the file and of the study's origin."""

    def signed(self, origin: str) -> Self:
        """Return the value with its digest for the study that has this origin
        (`journal.origin_of`).
        """
        return self.model_copy(update={"sha256": self._digest(origin)})

    def is_of(self, origin: str) -> bool:
        """Say whether the value is unchanged since it was signed for the study of this origin."""
        return self.sha256 == self._digest(origin)

    def _digest(self, origin: str) -> str:
        return digest([origin, self.model_dump(mode="json", exclude={"sha256"})])


class ClockFile(SignedFile):
    """clock.json: the time that all runs of the sweep have spent."""

    seconds: float


class FindingRow(BaseModel):
    """One finding of a check, as `checks.Finding` has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    level: Level
    message: Told


class FindingsFile(SignedFile):
    """findings.json: stage -> what its checks found in the last run."""

    stages: dict[str, tuple[FindingRow, ...]]


def model_line(value: BaseModel) -> bytes:
    """Return a value as one line of JSON."""
    return value.model_dump_json().encode() + b"\n"


def plan_bytes(plan: TrialPlan) -> bytes:
    """Return the bytes of a trial's plan.json."""
    return plan.model_dump_json(indent=1).encode() + b"\n"


def result_bytes(result: TrialResult) -> bytes:
    """Return the bytes of a trial's result.json. Raises ValueError for a number that is not
    finite.
    """
    return to_line(
        json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    )


def to_line(text: str) -> bytes:
    """Return the text in UTF-8 with an end of line."""
    # A lone surrogate cannot be UTF-8; as a backslash escape it is still the same JSON string.
    return text.encode("utf-8", errors="backslashreplace") + b"\n"


def read_file(path: Path) -> bytes | None:
    """Return the bytes of a file, None where there is none. Raises StudyError where something else,
    such as a folder, has its name.
    """
    if kind := other_kind(path):
        raise not_a_file(path, kind)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def not_a_file(path: Path, kind: str, then: str = "run the same command again") -> StudyError:
    """Return the error that says what has the name of a file, and what to do once it is moved
    away.
    """
    return StudyError(f"{path} is {kind}, and a file belongs there\n  Move it away, then {then}.")


def read_json(path: Path, model: type[Model], advice: str) -> Model | None:
    """Return the file as a value, None where there is none. Raises StudyError with `advice` when it
    is damaged, and where something else has its name.
    """
    data = read_file(path)
    return None if data is None else parse_json(str(path), data, model, advice)


def parse_json(place: str, data: bytes, model: type[Model], advice: str) -> Model:
    """Return `data`, found at `place`, as a value. Raises StudyError with `advice` when it is
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
    """Return the error that says which file is damaged, how, and what to do."""
    said = fault if len(fault) <= 200 else f"{fault[:197]}..."
    return StudyError(f"{place} is damaged: {said}\n  {advice}")
