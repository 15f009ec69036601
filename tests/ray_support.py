"""A Ray cluster on this machine alone: a head node for the orchestrator, and nodes of one core that
tests add and remove.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE = 80 * 2**20
"""Bytes of each node's object store. Ray's minimum is 75 MiB, and nothing is put there."""
SOON_DEAD = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}
"""Ray's configuration by which a node whose process is gone counts as dead after two seconds, where
Ray takes half a minute by default. A node that is only slow, on a busy machine, has twenty seconds.
"""
TOKEN = secrets.token_hex(16)
"""The access token of every cluster of this process, since Ray reads it only once."""
AT_ONCE = {"worker_niceness": 0}
"""Ray's configuration by which actors have the usual priority. By default all other processes of a
machine go first, and a test on a busy machine would wait for its actors.
"""


class RayCluster:
    """A cluster with one core on each node and none on the head, where the driver is."""

    def __init__(self, address: str | None = None) -> None:
        """`address`: the IP address of the head and of nodes that are added; by default Ray's
        choice.
        """
        # set before the import of Ray, which reads them then
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
        from ray.cluster_utils import Cluster

        self._address: dict[str, Any] = {} if address is None else {"node_ip_address": address}
        head: dict[str, Any] = {
            "num_cpus": 0,
            "object_store_memory": STORE,
            "include_dashboard": False,
        }
        head |= self._address
        self.cluster = Cluster(
            initialize_head=True, head_node_args=head | {"_system_config": SOON_DEAD | AT_ONCE}
        )

    @property
    def address(self) -> str:
        """The address of the head."""
        return str(self.cluster.address)

    def add(self, **environment: str) -> Any:
        """Add a node of one core, with these variables added to its environment; return it."""
        more = {"env_vars": environment} if environment else {}
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE, **more, **self._address)

    def close(self) -> None:
        """Disconnect this process and end all processes of the cluster."""
        import ray

        ray.shutdown()
        self.cluster.shutdown()

    def remove(self, node: Any) -> None:
        """Remove a node without warning, as if its power were cut."""
        self.cluster.remove_node(node, allow_graceful=False)

    def kill_raylet(self, node: Any) -> None:
        """Send SIGKILL to the node's raylet, the process that represents it; what the raylet ran
        ends with it.
        """
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def only(self, count: int) -> list[Any]:
        """Leave exactly `count` nodes that run, adding or removing some; return them."""
        nodes = [node for node in self.cluster.worker_nodes if _runs(node)]
        for node in nodes[count:]:
            self.remove(node)
        return [*nodes[:count], *(self.add() for _ in range(count - len(nodes)))]


def _runs(node: Any) -> bool:
    """Whether the node's raylet runs. Other processes of the node may outlive it."""
    return any(raylet.process.poll() is None for raylet in node.all_processes.get("raylet", ()))


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Yield a new cluster; it is ended with all that it started when the context ends."""
    made = RayCluster()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def joined(cluster: RayCluster, address: str | None = None) -> Iterator[None]:
    """Make this process a driver of the cluster while the context lasts, at the IP address where
    one is given. Its actors end with the context.
    """
    import ray

    os.environ["RAY_ADDRESS"] = cluster.address
    if address is not None:
        ray.init(cluster.address, _node_ip_address=address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        del os.environ["RAY_ADDRESS"]
