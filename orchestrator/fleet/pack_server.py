"""A pack where it runs: any worker, driven from one rung to the next, whose state goes home as
bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.fleet.machine_identity import hardware
from orchestrator.fleet.pack_commands import Advanced, Files, PackState, Rebuilt, events_digest
from orchestrator.planning.trial_plan import TrialPlan
from orchestrator.records.worker_protocol import Event, Failed, Measured, Progress, Worker


class PackServer:
    """Wraps a worker with no trial in its slots. It writes nothing that outlives a call."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._failed: set[int] = set()
        """Trials that ended by themselves: their slots are free here, and not yet released from
        outside.
        """

    def admit(self, plan: TrialPlan) -> None:
        """As of a worker."""
        self.worker.admit(plan)

    def release(self, number: int) -> None:
        """As of a worker."""
        if number in self._failed:
            self._failed.remove(number)
        else:
            self.worker.release(number)

    def export(self, number: int, adapter_scale: float) -> Files:
        """The files of the trial's present adapter."""
        with TemporaryDirectory() as scratch:
            self.worker.export(number, adapter_scale, Path(scratch) / "adapter")
            return read_files(Path(scratch) / "adapter")

    def save(self) -> Files:
        """The files of a checkpoint of all slots."""
        with TemporaryDirectory() as scratch:
            self.worker.save(Path(scratch) / "slots")
            return read_files(Path(scratch) / "slots")

    def describe(self) -> dict[str, str]:
        """The parts of the evaluation fingerprint, and the hardware as far as a rounding depends on
        it.
        """
        return self.worker.evaluation | hardware(self.worker)

    def rebuild(self, state: PackState) -> Rebuilt:
        """Become what the state describes."""
        *_, end = self.rebuilding(state)
        assert isinstance(end, Rebuilt)
        return end

    def rebuilding(self, state: PackState) -> Iterator[Progress | Rebuilt]:
        """The same with progress on the way."""
        if state.saved is not None:
            with TemporaryDirectory() as scratch:
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
        measured: progress on the way, at the end the events."""
        if state is not None:
            yield from self.rebuilding(state)
        yield from self._advance()

    def _advance(self) -> Iterator[Progress | Advanced]:
        """A trial that fails leaves its slot at once and is told of at that tick: so the pack's
        next event is known before it happens, from plans and steps alone, or comes later, never
        sooner.
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
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_files(files: Files, folder: Path) -> None:
    """Put them into a folder that is empty or made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
