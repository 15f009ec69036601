"""The files of one trial or confirmation run of a study: the folders `trials/0007/` and
`confirm/0001/`, and what a person asks of a trial in `requests/`. The layout of a study as a whole
is in `store.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from json.encoder import encode_basestring
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.files.atomic import sync_folder
from orchestrator.files.names_aside import remove
from orchestrator.files.system_files import without_system_files
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.journal.journal import HELP
from orchestrator.records.journal.sealed import SealedFiles
from orchestrator.records.json_files import (
    PersonStop,
    StopRequest,
    damaged,
    model_line,
    parse_json,
    plan_bytes,
    read_json,
    result_bytes,
    to_line,
)
from orchestrator.records.results import Measurement, TrialResult

_FILE = re.compile(r"(trials|confirm)/([0-9]{4,})/([a-z.]+)")
"""A file in a trial's folder: the groups are the parent folder, the number, and the file's name."""

_FAILURE = "failure.txt"
"""The name of a failed trial's traceback, the only file of a trial that is not sealed."""


# cached: called some twenty times a trial, and building a path costs more than most of what is
# then done with it
@lru_cache(maxsize=1024)
def _trial_folder(study: Path, number: int) -> Path:
    return study / ("trials" if number >= 0 else "confirm") / f"{abs(number):04d}"


class TrialFiles(SealedFiles):
    """Plans, measurements, transcripts, adapters and results, by the number of their trial: 0, 1, 2
    and so on for trials, -1, -2 and so on for confirmation runs.
    """

    def trial_folder(self, number: int) -> Path:
        """Return the folder of a trial or confirmation run: trials/0007 for trial 7, confirm/0001
        for run -1.
        """
        return _trial_folder(self.path, number)

    def plan_file(self, number: int) -> Path:
        """Return the path of plan.json: everything that a trial or confirmation run depends on."""
        return self.trial_folder(number) / "plan.json"

    def result_file(self, number: int) -> Path:
        """Return the path of result.json: how the trial or run ended."""
        return self.trial_folder(number) / "result.json"

    def adapter_folder(self, number: int) -> Path:
        """Return the folder of the trial's best adapter, in stock PEFT's format."""
        return self.trial_folder(number) / "adapter"

    def final_folder(self, number: int) -> Path:
        """Return the folder of the adapter of the trial's last measurement, used when that is not
        the best one.
        """
        return self.trial_folder(number) / "final"

    def drop_final(self, number: int) -> None:
        """Remove the adapter of an earlier last measurement, because the trial's last one is now
        its best.
        """
        final = self.final_folder(number)
        sealed = self.sealed_under(final)
        self.journal.seal("final adapter dropped", dict.fromkeys(sealed))
        remove(final)
        if sealed:  # what a power cut brought back later would be a file that no run has written
            sync_folder(final.parent)

    def planned(self, confirm: bool = False) -> tuple[int, ...]:
        """Return the numbers of all trials that were planned, or of all confirmation runs, counting
        away from 0.
        """
        return self._numbers("plan.json", confirm)

    def write_plans(self, *plans: TrialPlan) -> None:
        """Keep everything that these trials depend on, so that each can be rerun alone."""
        self.publish("plan", {self.plan_file(plan.number): plan_bytes(plan) for plan in plans})

    def read_plan(self, number: int) -> TrialPlan | None:
        """Return the plan of a trial or confirmation run; None where it was never planned."""
        return self.held(self.plan_file(number), TrialPlan)

    def record_measurements(
        self,
        number: int,
        measurements: Sequence[Measurement],
        hypotheses: Sequence[Mapping[str, Sequence[str]]],
    ) -> None:
        """Add the measurements of a rung and what was heard; `hypotheses[i]` belongs to
        `measurements[i]`.

        A measurement with the same (step, adapter scale) replaces the earlier one, so a rung that
        is repeated after a crash is still one rung.
        """
        files = {
            self._hypotheses(number, measurement): hypothesis_lines(measurement, own)
            for measurement, own in zip(measurements, hypotheses, strict=True)
        }
        rows = {
            (row.step, row.adapter_scale): row
            for row in (*self.read_measurements(number), *measurements)
        }
        data = b"".join(model_line(rows[key]) for key in sorted(rows))
        self.publish(
            "measurements", files | {self.trial_folder(number) / "measurements.jsonl": data}
        )

    def read_measurements(self, number: int) -> tuple[Measurement, ...]:
        """Return all measurements of a trial, by step, then adapter scale."""
        path = self.trial_folder(number) / "measurements.jsonl"
        lines = (self.journal.read(path) or b"").splitlines()
        return tuple(
            parse_json(f"{path}:{n}", line, Measurement, HELP)
            for n, line in enumerate(lines, start=1)
        )

    def read_hypotheses(self, number: int, measurement: Measurement) -> dict[str, tuple[str, ...]]:
        """Return what was heard in one measurement: set name -> hypotheses in manifest order; empty
        when it was not kept.
        """
        return self._read_hypotheses(self._hypotheses(number, measurement))

    def check_heard(self, results: Iterable[TrialResult]) -> None:
        """Check the transcripts of the measurements that these results stand on, and of all
        baselines. Raises StudyError naming those that are not as they were written.
        """
        files = self.journal.chain().files
        baselines = [self.path / file for file in files if file.startswith("hypotheses-baseline-")]
        self.journal.check(
            *baselines, *(self._hypotheses(result.number, result) for result in results)
        )

    def _hypotheses(self, number: int, of: Measurement | TrialResult) -> Path:
        return self.trial_folder(number) / f"hypotheses-{of.step}-{of.adapter_scale!r}.jsonl"

    def _read_hypotheses(self, path: Path) -> dict[str, tuple[str, ...]]:
        hypotheses: dict[str, list[str]] = {}
        for line in filter(None, (self.journal.read(path) or b"").split(b"\n")):
            row = json.loads(line)
            hypotheses.setdefault(row["set"], []).append(row["hypothesis"])
        return {name: tuple(texts) for name, texts in hypotheses.items()}

    def write_result(self, result: TrialResult) -> None:
        """Write how a trial ended. It is the last file of the trial, so its existence means done.

        A person's request to end the trial has its answer with that. Raises ValueError for a number
        that is not finite: such a result must never be ranked.
        """
        self.publish("result", {self.result_file(result.number): result_bytes(result)})
        self._drop_stop_request(result.number)

    def read_result(self, number: int) -> TrialResult | None:
        """Return how a trial or confirmation run ended; None while it has not."""
        path = self.result_file(number)
        result = self.held(path, TrialResult)
        if result and result.number != number:
            raise damaged(path, f"it says trial {result.number}", HELP)
        return result

    def results(self) -> tuple[TrialResult, ...]:
        """Return the results of all trials that have ended, by number, whatever their state."""
        return self._results(confirm=False)

    def confirmations(self) -> tuple[TrialResult, ...]:
        """Return the results of all confirmation runs that have ended: numbers -1, -2 and so on."""
        return self._results(confirm=True)

    def _results(self, confirm: bool) -> tuple[TrialResult, ...]:
        numbers = self._numbers("result.json", confirm)
        return tuple(result for number in numbers if (result := self.read_result(number)))

    def _numbers(self, name: str, confirm: bool) -> tuple[int, ...]:
        """Return the trials or confirmation runs whose file of this name was sealed, or exists."""
        parent, sign = ("confirm", -1) if confirm else ("trials", 1)
        files = [
            path.relative_to(self.path).as_posix() for path in self.path.glob(f"{parent}/*/{name}")
        ]
        numbers: set[int] = set()
        for file in (*files, *self.journal.chain().files):
            match = _FILE.fullmatch(file)
            if match and (match[1], match[3]) == (parent, name):
                numbers.add(int(match[2]))
        return tuple(sign * number for number in sorted(numbers))

    def names_in_trials(self) -> list[str]:
        """Return the paths within the study of all files in trial folders that must be sealed: all
        but tracebacks, what is not published yet, and what a system put there.
        """
        found = [
            path for parent in ("trials", "confirm") for path in self.path.glob(f"{parent}/*/*")
        ]
        adapters = [path for path in found if path.is_dir() and path.name in ("adapter", "final")]
        own = [path for path in found if path.name != _FAILURE]
        files = [*own, *(file for adapter in adapters for file in adapter.rglob("*"))]
        # a file with .tmp- in its name is not published yet
        sealed = [path for path in files if path.is_file() and ".tmp-" not in path.name]
        return [
            path.relative_to(self.path).as_posix() for path in sorted(without_system_files(sealed))
        ]

    def write_failure(self, number: int, traceback: str) -> None:
        """Keep the traceback of a failed trial for people who look for the cause; no code reads
        it.
        """
        self._write(self.trial_folder(number) / _FAILURE, to_line(traceback.rstrip("\n")))

    def ask_to_stop(self, number: int, reason: str) -> None:
        """Ask the sweep to end a trial; needs no lock."""
        self._write(self._stop_request(number), model_line(StopRequest(reason=reason)))

    def asked_to_stop(self, number: int) -> StopRequest | None:
        """Return what a person asked for; None where there is no request, or a damaged one."""
        try:
            return read_json(self._stop_request(number), StopRequest, "Delete it.")
        except StudyError:
            return None

    def write_stop(self, number: int, stop: PersonStop) -> None:
        """Seal that a person ends the trial, and at which rung; then remove the request, which is
        answered.
        """
        self.publish(
            "stop by a person", {self.trial_folder(number) / "stop.json": model_line(stop)}
        )
        self._drop_stop_request(number)

    def read_stop(self, number: int) -> PersonStop | None:
        """Return where a person ended the trial; None where nobody did."""
        return self.held(self.trial_folder(number) / "stop.json", PersonStop)

    def _drop_stop_request(self, number: int) -> None:
        # another person's may lie in a folder that only they can write to: it has its answer anyway
        with suppress(OSError):
            self._stop_request(number).unlink()

    def _stop_request(self, number: int) -> Path:
        return self.path / "requests" / f"stop-{number:04d}.json"


def hypothesis_lines(measurement: Measurement, hypotheses: Mapping[str, Sequence[str]]) -> bytes:
    """Return one line of JSON per hypothesis, with the names of its set and utterance. The lines
    are put together by hand: `json.dumps` per line would cost more than everything else done with
    it, and a rung has hundreds.
    """
    lines = []
    for name, texts in hypotheses.items():
        start = f'{{"set": {encode_basestring(name)}, "utterance": '
        utterances = measurement.sets[name].utterance_ids
        lines += [
            f'{start}{encode_basestring(utterance)}, "hypothesis": {encode_basestring(text)}}}'
            for utterance, text in zip(utterances, texts, strict=True)
        ]
    return to_line("\n".join(lines)) if lines else b""
