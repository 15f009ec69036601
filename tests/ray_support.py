"""A Ray cluster of this machine: a head for the orchestrator, and nodes of one core that come and
go.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE = 80 * 2**20
"""Bytes of the object store of each node: Ray's least is 75 MiB, and nothing is put there."""
SOON_DEAD = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}
"""A node whose process is gone is dead after two seconds, where Ray takes half a minute; one that
is only slow, on a busy machine, has twenty.
"""
TOKEN = secrets.token_hex(16)
"""Of every cluster of this process: Ray reads it once."""
AT_ONCE = {"worker_niceness": 0}
"""Ray lets all else of a machine go before its actors, which a test on a busy machine waits for."""


class RayCluster:
    """Nodes of one core each beside a head without any; the driver is at the head."""

    def __init__(self, address: str | None = None) -> None:
        """`address`: the IP address of the head and of nodes that are added; Ray's choice."""
        # read when Ray is imported
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
        """Of the head."""
        return str(self.cluster.address)

    def add(self, **environment: str) -> Any:
        """A node of one core, in whose environment these stand too."""
        more = {"env_vars": environment} if environment else {}
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE, **more, **self._address)

    def close(self) -> None:
        """End all that it started."""
        import ray

        ray.shutdown()
        self.cluster.shutdown()

    def remove(self, node: Any) -> None:
        """As if its plug were pulled."""
        self.cluster.remove_node(node, allow_graceful=False)

    def kill_raylet(self, node: Any) -> None:
        """SIGKILL to the process that stands for the node; what it ran ends with it."""
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def only(self, count: int) -> list[Any]:
        """Just so many nodes, new where there are fewer."""
        nodes = [node for node in self.cluster.worker_nodes if _runs(node)]
        for node in nodes[count:]:
            self.remove(node)
        return [*nodes[:count], *(self.add() for _ in range(count - len(nodes)))]


def _runs(node: Any) -> bool:
    """Whether the process that stands for the node does; others of it may outlive that one."""
    return any(raylet.process.poll() is None for raylet in node.all_processes.get("raylet", ()))


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Ended with all that it started."""
    made = RayCluster()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def joined(cluster: RayCluster, address: str | None = None) -> Iterator[None]:
    """This process is a driver of the cluster, of that IP address; its actors end with that."""
    import ray

    os.environ["RAY_ADDRESS"] = cluster.address
    if address is not None:
        ray.init(cluster.address, _node_ip_address=address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        del os.environ["RAY_ADDRESS"]
