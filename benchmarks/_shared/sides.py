"""Run the sides of the makespan comparison (plain script, packs, the authors' tool) and read back
what they did.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna

from _shared.processes import Usage, run_all
from _shared.workload import NAMES, Workload

HERE = Path(__file__).parent.parent
PRECISIONS = {
    "fp32": (),
    "bf16": ("evaluation.precision=bf16",),
    "trained in bf16": ("evaluation.training_precision=bf16",),
}
"""Name of a precision -> the overrides of the sweep file that set it."""
VERDICTS = (0, 4, 5)
"""Exit codes of a sweep that ran to its end."""

Wers = tuple[dict[str, float], ...]
"""Per trial: set -> WER in percent."""


@dataclass(frozen=True)
class Measured:
    """One row of a table: the median run of one side."""

    name: str
    trials: int
    seconds: float
    """Makespan: from before the first process starts to after the last one ends."""
    train: float
    """Seconds of training, and in `decode` of evaluation; divided by the number of processes where
    several run at once.
    """
    decode: float
    peak_bytes: int
    device_bytes: int
    reuse: bool
    """Whether this side computes what is frozen once for all trials."""
    wers: Wers
    """WERs of each trial at its last step."""
    ends: tuple[float, ...] = ()
    """Seconds from the common start to the end of each trial; only of a plain script that ran one
    trial after the other.
    """
    scaled: bool = False
    """Whether fewer trials were measured and the times scaled up."""

    def first(self, trials: int) -> Measured:
        """Return the row that the first `trials` alone would have given. It can be read off `ends`,
        as the plain script runs one trial after the other.
        """
        return replace(self, trials=trials, seconds=self.ends[trials - 1], wers=self.wers[:trials])


@dataclass
class Sides:
    """Measures rows, each by the median of `repeats` runs; a pack that was measured is not run
    again.
    """

    work: Workload
    device: str
    repeats: int
    plain_trials: int | None
    _packed: dict[tuple[int | str, int, str], Measured] = field(default_factory=dict)
    _runs: int = 0

    def plain_processes(self, at_once: int, onednn: bool = False) -> Measured:
        """Measure the plain script with one process per trial, `at_once` of them side by side; with
        oneDNN's matrix products or with torch's.
        """
        name = "plain script, a process a trial" + (f", {at_once} at once" if at_once > 1 else "")
        return self._median([self._plain(name, at_once, onednn) for _ in range(self.repeats)])

    def plain_in_one(self, onednn: bool = False) -> Measured:
        """Measure the plain script with all trials in one process."""
        name = "plain script, one process"
        return self._median([self._plain(name, 0, onednn) for _ in range(self.repeats)])

    def packed(
        self, pack: int | str, trials: int | None = None, precision: str = "fp32"
    ) -> Measured:
        """Measure the product's own command with this `execution.pack` and one of `PRECISIONS`."""
        key = pack, trials or len(self.work.points), precision
        if key not in self._packed:
            self._packed[key] = self._median([self._pack(*key) for _ in range(self.repeats)])
        return self._packed[key]

    def peer(self, data: Path, steps: int) -> tuple[float, dict[str, dict[str, float]]]:
        """Run the authors' tool once on all of `data`; return its makespan in seconds, and the WERs
        of the untuned and the tuned model.
        """
        output = self._output()
        found = {
            name: next(filter(Path.is_file, (data / file for file in NAMES[name])))
            for name in ("train", "replay")
        }
        command = [sys.executable, str(HERE / "peer_script.py"), str(self.work.write_plain(output))]
        command += [part for name, path in found.items() for part in (f"--{name}", str(path))]
        command += ["--steps", str(steps), "--report", str(output / "report.json")]
        usage = run_all([command])
        return usage.seconds, json.loads((output / "report.json").read_text())

    @staticmethod
    def _median(runs: Sequence[Measured]) -> Measured:
        middle = statistics.median_low(run.seconds for run in runs)
        return next(run for run in runs if run.seconds == middle)

    def _output(self) -> Path:
        self._runs += 1
        folder = self.work.folder / f"run-{self._runs}"
        folder.mkdir()
        return folder

    def _plain(self, name: str, at_once: int, onednn: bool) -> Measured:
        output = self._output()
        trials = min(self.plain_trials or len(self.work.points), len(self.work.points))
        storage = f"sqlite:///{output}/study.db"
        script = [sys.executable, str(HERE / "plain_script.py"), str(self.work.write_plain(output))]
        script += ["--study", storage, "--device", self.device]
        if onednn:
            name += ", oneDNN"
            script += ["--onednn"]
        script += ["--report"]
        if at_once:
            commands = [
                [*script, str(output / f"{n}.json"), "--trial", str(n)] for n in range(trials)
            ]
        else:
            commands = [[*script, str(output / "all.json")]]
        if at_once > 1:  # several processes creating one SQLite study at once would fail
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            optuna.create_study(study_name="plain", storage=storage)
        usage = run_all(commands, max(1, at_once), environment=_environment(at_once))
        reports = [
            json.loads(Path(command[command.index("--report") + 1]).read_text())
            for command in commands
        ]
        return _scaled(_plain_row(name, usage, reports, max(1, at_once)), len(self.work.points))

    def _pack(self, pack: int | str, trials: int, precision: str) -> Measured:
        output, name = self._output(), f"pack-{pack}-{trials}"
        sweep = self.work.write_sweep(name, trials, pack, self.device)
        command = [sys.executable, str(HERE / "packed_run.py"), str(output / "report.json")]
        command += ["run", str(sweep), *PRECISIONS[precision]]
        command += ["--quiet", "--studies", str(output)]
        usage = run_all([command], accepted=VERDICTS)
        report = json.loads((output / "report.json").read_text())
        return Measured(
            name=f"packed, K = {pack}"
            + (f", chose {_chosen(output / name)}" if pack == "auto" else "")
            + (f", {precision}" if precision != "fp32" else ""),
            trials=trials,
            seconds=usage.seconds,
            train=report["seconds"]["train"],
            decode=report["seconds"]["decode"],
            peak_bytes=usage.peak_bytes,
            device_bytes=report["device_peak"],
            reuse=True,
            wers=_final_wers(output, name, trials, self.work.steps),
        )


def _chosen(study: Path) -> str:
    record = json.loads((study / "pack.json").read_bytes())
    packs, slots = record.get("packs", 1), record["slots"]
    return str(slots) if packs == 1 else f"{packs} packs of {slots}"


def _environment(at_once: int) -> dict[str, str]:
    """Return the environment of the plain script, in which processes that run side by side divide
    the cores among them.
    """
    if at_once <= 1:
        return dict(os.environ)
    return {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // at_once))}


def _plain_row(name: str, usage: Usage, reports: list[dict[str, Any]], at_once: int) -> Measured:
    """Sum the reports of the script's processes to one row."""
    trials = [trial for report in reports for trial in report["trials"]]
    ends = usage.each
    if len(reports) == 1 and len(trials) > 1:
        last = trials[-1]["ended"]
        ends = tuple(usage.seconds - (last - trial["ended"]) for trial in trials)
    return Measured(
        name=name,
        trials=len(trials),
        seconds=usage.seconds,
        train=sum(report["seconds"]["train"] for report in reports) / at_once,
        decode=sum(report["seconds"]["decode"] for report in reports) / at_once,
        peak_bytes=usage.peak_bytes,
        device_bytes=sum(
            sorted((report["device_peak"] for report in reports), reverse=True)[:at_once]
        ),
        reuse=False,
        wers=tuple(trial["wer"] for trial in trials),
        ends=ends if at_once == 1 else (),
    )


def _scaled(row: Measured, trials: int) -> Measured:
    """Scale the times of a row that was measured on fewer trials up to `trials`."""
    factor = trials / row.trials
    if factor == 1:
        return row
    return replace(
        row,
        trials=trials,
        seconds=row.seconds * factor,
        train=row.train * factor,
        decode=row.decode * factor,
        scaled=True,
    )


def _final_wers(studies: Path, name: str, trials: int, steps: int) -> Wers:
    """Return the WERs in percent of every trial's last step; ends the program when a trial did not
    get there.
    """
    from orchestrator.records.store import StudyFolder

    folder, wers = StudyFolder(studies, name), []
    for number in range(trials):
        last = [row for row in folder.read_measurements(number) if row.step == steps]
        if not last:
            result = folder.read_result(number)
            raise SystemExit(
                f"{name}: trial {number} did not reach its last step: {result and result.reason}"
            )
        wers.append({key: each.wer for key, each in last[-1].sets.items()})
    return tuple(wers)
