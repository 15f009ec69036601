"""A pack where it runs: any worker, driven from one rung to the next, whose state is returned as
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.files.system_files import without_system_files
from orchestrator.fleet.machine_identity import hardware
from orchestrator.fleet.pack_commands import Advanced, Files, PackState, Rebuilt, events_digest
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import Event, Failed, Measured, Progress, Worker
from orchestrator.records.writing import safely


class PackServer:
    """Wraps a worker with no trial in its slots. It writes nothing that outlives a call."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._failed: set[int] = set()
        """Trials that ended by themselves: the worker has freed their slots, but the orchestrator
        has not released them yet.
        """

    def admit(self, plan: TrialPlan) -> None:
        """Give the plan a slot, as `Worker.admit`."""
        self.worker.admit(plan)

    def release(self, number: int) -> None:
        """Free the trial's slot, as `Worker.release`."""
        if number in self._failed:
            self._failed.remove(number)
        else:
            self.worker.release(number)

    def export(self, number: int, adapter_scale: float) -> Files:
        """Return the files of the trial's present adapter."""
        with TemporaryDirectory() as scratch:
            self.worker.export(number, adapter_scale, Path(scratch) / "adapter")
            return read_files(Path(scratch) / "adapter")

    def save(self) -> Files:
        """Return the files of a checkpoint of all slots."""
        with TemporaryDirectory() as scratch:
            self.worker.save(Path(scratch) / "slots")
            return read_files(Path(scratch) / "slots")

    def describe(self) -> dict[str, str]:
        """Return the parts of the evaluation fingerprint, and what rounding depends on in the
        hardware.
        """
        return self.worker.evaluation | hardware(self.worker)

    def rebuild(self, state: PackState) -> Rebuilt:
        """Become what the state describes."""
        *_, end = self.rebuilding(state)
        assert isinstance(end, Rebuilt)
        return end

    def rebuilding(self, state: PackState) -> Iterator[Progress | Rebuilt]:
        """Become what the state describes, with progress on the way."""
        if state.saved is not None:
            with TemporaryDirectory() as scratch:
                with safely(Path(scratch), sum(map(len, state.saved.values()))):
                    write_files(state.saved, Path(scratch))
                self.worker.restore(
                    Path(scratch), {number: state.plans[number] for number in state.saved_slots}
                )
        repeated = []
        for command, number in state.log:
            if command == "admit":
                self.admit(state.plans[number])
            elif command == "release":
                self.release(number)
            else:
                for said in self._advance():
                    if isinstance(said, Advanced):
                        repeated.append(events_digest(said.events))
                    else:
                        yield said
        yield Rebuilt(tuple(repeated))

    def advance(self, state: PackState | None) -> Iterator[Progress | Rebuilt | Advanced]:
        """Become `state` where one is given, then train to the next tick at which a trial is
        measured. Yields progress on the way, and the events at the end.
        """
        if state is not None:
            yield from self.rebuilding(state)
        yield from self._advance()

    def _advance(self) -> Iterator[Progress | Advanced]:
        """Train to the next tick at which a trial is measured.

        A failed trial leaves its slot at once, but is reported only at that tick. So the pack's
        next event comes when plans and steps alone predict it, or later, never sooner.
        """
        said: list[Event] = []
        while self.worker.active:
            events = self.worker.advance()
            for event in events:
                if isinstance(event, Progress):
                    yield event
                    continue
                said.append(event)
                if isinstance(event, Failed):
                    self.worker.release(event.number)
                    self._failed.add(event.number)
            if any(isinstance(event, Measured) for event in events):
                break
        yield Advanced(tuple(said))


def read_files(folder: Path) -> Files:
    """Return all files of a folder without sub-folders."""
    files = without_system_files(sorted(folder.iterdir()))
    return {path.name: path.read_bytes() for path in files}


def write_files(files: Files, folder: Path) -> None:
    """Write the files into a folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
