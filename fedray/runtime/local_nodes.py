"""Several Ray nodes on this machine, each a raylet with processes and an object store of its own.

What goes between them passes through sockets and is copied, as between machines; but they share cores, memory and the
loopback device, so that they show that results do not depend on nodes, and what the copies cost, not how fast a network
is.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import ray
from ray.cluster_utils import Cluster

from fedray.errors import ClusterError

_STORE_BYTES = 256 * 1024**2
"""Object store of a node: parameters and sums of small models."""


@contextmanager
def local_nodes(nodes: int, num_cpus: int | None = None) -> Generator[str]:
    """A cluster of local nodes, gone when the context ends.

    Args:
        nodes: How many, from 1.
        num_cpus: Processors in all; None: those of the machine. Each node has one at least.

    Yields:
        Its address.

    Raises:
        ClusterError: It does not start, or this process is connected to a Ray already.
    """
    if ray.is_initialized():
        raise ClusterError("this process is connected to a Ray cluster already; end it before local nodes are started")
    cpus = num_cpus or os.cpu_count() or 1
    cluster: Any = None
    try:
        try:
            cluster = Cluster()
            for number in range(nodes):
                share = max(1, (cpus + nodes - 1 - number) // nodes)
                head = {"include_dashboard": False} if number == 0 else {}
                cluster.add_node(num_cpus=share, object_store_memory=_STORE_BYTES, **head)
            cluster.wait_for_nodes()
        except (RuntimeError, TimeoutError, OSError, ValueError) as error:
            raise ClusterError(f"{nodes} local Ray nodes did not start ({error}); give fewer --nodes") from error
        yield cluster.address
    finally:
        if cluster is not None:
            cluster.shutdown()
