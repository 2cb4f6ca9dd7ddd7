"""How many client actors the cluster holds, while nodes join and leave."""

import threading

import ray

from fedray.runtime.placement import Placement

_EVERY_S = 2.0


class Room:
    """Looks at the cluster from time to time, where the number of actors is not fixed.

    In a thread of its own: Ray's control service may be away and not answer, and no round waits for it.

    Args:
        placement: What the run began with.

    Attributes:
        num_actors: How many actors there may be now.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement, self._closed = placement, threading.Event()
        self.num_actors = placement.num_actors
        if placement.most > placement.num_actors:
            threading.Thread(target=self._look, name="fedray-room", daemon=True).start()

    def _look(self) -> None:
        while not self._closed.wait(_EVERY_S):
            have = ray.cluster_resources()
            self.num_actors = self._placement.fitting(have.get("CPU", 1.0), int(have.get("memory", 0)))

    def close(self) -> None:
        """Looks no more."""
        self._closed.set()
