"""Packs on the machines of a Ray cluster: one actor per pack, whose calls are made once and which
Ray never restarts. The machine it runs on changes the time and nothing else.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import FingerprintError, OrchestrateError, StudyError
from orchestrator.fleet.channels import STANDSTILL_SECONDS
from orchestrator.fleet.hosts import NoRoom, Remote, Template, TemplateHosts
from orchestrator.fleet.machine_identity import Identity
from orchestrator.fleet.ray_actor import PackActor, Place
from orchestrator.fleet.ray_channel import ActorChannel, ActorRemote, end_actor
from orchestrator.fleet.ray_cluster import (
    connect,
    demand,
    demand_text,
    first_line,
    has_room,
    how_it_ended,
    never_ran,
)
from orchestrator.records.worker_protocol import MakeWorker
from orchestrator.sweepfile.sweep import SweepSpec

ROOM_SECONDS = 60.0
"""A pack that has waited this long for a machine shares one with another pack."""
START_SECONDS = 10.0
"""An actor for which there is room runs within this time; one that does not is reported as
waiting.
"""
_REFUSALS = (OrchestrateError, RuntimeError, MemoryError)
"""Errors for which a machine is refused. RuntimeError covers what else a machine raises, such as
CUDA's errors of memory or of a driver.
"""


class RayHosts(TemplateHosts):
    """Packs as actors, which must agree with the template on the orchestrator's machine."""

    ahead = True

    def __init__(
        self,
        template: Template,
        spec: SweepSpec,
        make_worker: MakeWorker,
        wanted: Identity,
        most: int,
        say: Callable[[str], None],
        room: float = ROOM_SECONDS,
        standstill: float = STANDSTILL_SECONDS,
    ) -> None:
        """`make_worker` can be pickled by its name, and the machines have the package that holds
        it. `most` is how many packs will have a trial, as far as that is known. `say` is called
        with what a person should know of the machines. Raises StudyError where there is no cluster.
        """
        super().__init__(template)
        connect()
        self._spec, self._make_worker, self._wanted = spec, make_worker, wanted
        self._most = most
        self._demand = demand(spec.execution)
        self._say, self._room, self._standstill = say, room, standstill
        self._asked: list[_Asked] = []
        """Actors that were asked for and no pack has taken yet."""
        self._waits: dict[int, _Wait] = {}
        """Pack -> its wait for an actor."""
        self._loading: dict[int, ActorRemote] = {}
        """Pack -> its actor, whose worker loads."""
        self._used: dict[int, ActorRemote] = {}
        """Pack -> where it runs or ran last."""
        self._refused: dict[str, str] = {}
        """Machine -> why no pack runs there."""

    def start(self, index: int) -> Remote:
        """Return the pack once its worker is loaded and agrees with the template; until then, raises
        NoRoom, because a machine may decode audio for an hour. Raises FingerprintError, or what the
        worker raises there, where every machine of the cluster was refused.
        """
        waits = self._waits.setdefault(index, _Wait())
        if index not in self._loading:
            self._ask_for_all()
            self._loading[index] = self._begun(index, waits)
        remote = self._loading[index]
        try:
            loaded = remote.answered()
            if loaded:
                remote.answer()
        except BaseException as error:
            del self._loading[index]
            remote.close()
            waits.since = time.monotonic()  # the time spent loading the model was no wait for room
            if not isinstance(error, _REFUSALS):
                raise
            self._refuse(remote.place, error)
            raise NoRoom from error
        if not loaded:
            raise NoRoom
        remote.loaded = True
        if waits.said:
            self._say(f"pack {index} goes on in {remote.where}")
        self._used[index] = remote
        del self._waits[index], self._loading[index]
        return remote

    def _begun(self, index: int, waits: _Wait) -> ActorRemote:
        """Return the pack on an actor that runs, asked to describe itself, which it answers once it
        has loaded. Raises NoRoom, Lost as `_placed` does.
        """
        asked, place = self._placed(index, waits)
        channel = ActorChannel(asked.actor, self._standstill)
        remote = ActorRemote(channel, place, asked.sharing, self._standstill)
        try:
            remote.ask("describe")
        except BaseException:
            remote.close()
            raise
        return remote

    def wait(self, remotes: Sequence[Remote], seconds: float) -> None:
        """Wait until an actor has answered."""
        import ray

        pulled = [remote.calls.pulled for remote in remotes if isinstance(remote, ActorRemote)]
        if pulled:
            ray.wait(pulled, timeout=seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """End the actors that no pack has taken yet."""
        for asked in self._asked:
            end_actor(asked.actor)
        self._asked.clear()
        for remote in self._loading.values():
            remote.close()
        self._loading.clear()

    def _ask_for_all(self) -> None:
        """Ask for as many actors as there are packs that are needed and do not run. They load the
        model side by side, and whichever is ready first serves the pack that needs one first.
        """
        running = sum(used.calls.open for used in self._used.values()) + len(self._loading)
        while len(self._asked) < max(1, self._most - running):
            self._asked.append(_Asked(*self._actor()))

    def _actor(self, host: Place | None = None) -> tuple[Any, Any]:
        """Return an actor, and a reference to its place, which is known once it runs. It goes
        wherever Ray finds room, except on machines that were refused; with `host`, it goes beside
        that pack and reserves no resources.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "max_concurrency": 2}
        if host is not None:
            affinity = NodeAffinitySchedulingStrategy(host.node, soft=False)
            options |= {"num_cpus": 0, "num_gpus": 0, "scheduling_strategy": affinity}
        else:
            options |= {"scheduling_strategy": "SPREAD", "num_cpus": self._demand["CPU"]}
            options |= {"num_gpus": self._demand.get("GPU", 0)}
            if self._refused:
                others = f"!in({','.join(self._refused)})"
                options |= {"label_selector": {"ray.io/node-id": others}}
        gpus = None if host is None else host.gpus
        actor = ray.remote(PackActor).options(**options)
        made = actor.remote(self._spec, self._make_worker, self._wanted, gpus)
        return made, made.place.remote()

    def _placed(self, index: int, waits: _Wait) -> tuple[_Asked, Place]:
        """Return an actor that runs, and where. Raises NoRoom while none does, Lost where one never
        will.
        """
        import ray

        left = START_SECONDS - (time.monotonic() - waits.since)
        places = [asked.place for asked in self._asked]
        ready, _ = ray.wait(places, num_returns=1, timeout=max(0.0, left))
        if not ready:
            self._wait_for_room(index, waits)
            raise NoRoom
        asked = self._asked.pop(places.index(ready[0]))
        try:
            place = ray.get(asked.place)
        except ray.exceptions.RayError as error:
            if never_ran(error):  # its machine is gone, and nothing with it
                raise NoRoom from error
            raise how_it_ended(error) from error
        assert isinstance(place, Place)
        if place.node in self._refused:  # asked for before that was known
            end_actor(asked.actor)
            raise NoRoom
        return asked, place

    def _wait_for_room(self, index: int, waits: _Wait) -> None:
        """Tell a person, once, that the pack waits; after a while, ask for an actor beside the pack
        whose device has the fewest packs.
        """
        if not waits.said:
            text = f"waits for a machine with {demand_text(self._demand)} to spare"
            self._say(f"pack {index} {text}")
            waits.said = True
        shares = any(asked.sharing for asked in self._asked)
        if shares or time.monotonic() - waits.since < self._room:
            return
        host = self._least_loaded()
        if host is not None:
            end_actor(self._asked.pop().actor)
            actor = self._actor(self._used[host].place)
            self._asked.append(_Asked(*actor, sharing=f", shared with pack {host}"))

    def _least_loaded(self) -> int | None:
        """Return a pack whose device has the fewest packs; None where none runs."""
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        running = {
            index: used.place
            for index, used in self._used.items()
            if used.calls.open and used.place.node in alive
        }
        loading = [remote.place for remote in self._loading.values()]
        packs = Counter((place.node, place.gpus) for place in (*running.values(), *loading))
        return min(
            running,
            key=lambda index: (packs[running[index].node, running[index].gpus], index),
            default=None,
        )

    def _refuse(self, place: Place, error: Exception) -> None:
        """Never use the machine again. Where no other machine could be used instead, raises the
        error with its place added, as StudyError if it is no error of this package.
        """
        import ray

        text = f"{place.host} is refused: {str(error) or 'out of memory'}"  # Python's own error has no text
        self._refused[place.node] = text
        if any(
            node["Alive"]
            and node["NodeID"] not in self._refused
            and has_room(self._demand, node["Resources"])
            for node in ray.nodes()
        ):
            self._say(f"{first_line(Exception(text))}; its packs go elsewhere")
            return
        if isinstance(error, FingerprintError):
            text += "\n  Give every machine of the cluster the same environment and the same data."
        kind = type(error) if isinstance(error, OrchestrateError) else StudyError
        raise kind(text) from error


@dataclass(frozen=True)
class _Asked:
    """An actor that no pack has taken yet; it may still wait for room."""

    actor: Any
    place: Any
    """Ray's reference to its `Place`."""
    sharing: str = ""
    """With which pack it shares a machine, in words; empty where it has room of its own."""


@dataclass
class _Wait:
    """A pack that has no actor yet."""

    since: float = field(default_factory=time.monotonic)
    said: bool = False
    """A person was told that it waits."""
