"""Starting actors: a window of them at a time, and another attempt for one that dies on the way."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from fedray.errors import CapacityError, ClusterError
from fedray.runtime.answers import Place, Ref, get
from fedray.runtime.forking.offer import logs_folder
from fedray.runtime.lost import ActorDied
from fedray.simulation.watch import Watch

_AT_ONCE = 16
"""Actors that start at the same time."""
_ATTEMPTS = 3
"""How often one actor may die while it starts."""
_POLL_S = 0.2
"""How long to wait for an actor before asking again whether to stop."""

Actor = Any


def start(
    create: Callable[[], Actor],
    number: int,
    *,
    timeout_s: float,
    watch: Watch,
    on_ready: Callable[[int, Place], None] | None = None,
) -> list[Actor]:
    """Starts actors, and returns them when all are ready.

    Args:
        create: Creates one.
        number: How many.
        timeout_s: How long to wait for the next actor to become ready.
        watch: Told of progress, and asked whether to stop.
        on_ready: Told the position of each that is ready, and where it is.

    Raises:
        CapacityError: None became ready in time.
        ClusterError: One died again and again.
    """
    return _Starting(create, [None] * number, timeout_s, watch, on_ready).run()


@dataclass(slots=True)
class _Starting:
    """The state of one `start`."""

    create: Callable[[], Actor]
    actors: list[Actor]
    timeout_s: float
    watch: Watch
    on_ready: Callable[[int, Place], None] | None
    starting: dict[Ref, int] = field(default_factory=dict[Ref, int])
    ready: int = 0
    waiting: deque[int] = field(init=False)
    attempts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting, self.attempts = deque(range(len(self.actors))), [0] * len(self.actors)

    def run(self) -> list[Actor]:
        until = time.monotonic() + self.timeout_s
        while self.waiting or self.starting:
            self.watch.check()
            self._fill()
            done, _ = ray.wait(list(self.starting), num_returns=1, timeout=_POLL_S)
            for ref in done:
                self._take(ref)
            if done:
                until = time.monotonic() + self.timeout_s
            elif time.monotonic() > until:
                left = len(self.actors) - self.ready
                raise CapacityError(
                    f"{left} of {len(self.actors)} client actors did not start in {self.timeout_s:.0f} s: the "
                    "cluster is busy or too small; lower actors.num_actors, or raise actors.start_timeout_s"
                )
        return self.actors

    def _fill(self) -> None:
        while self.waiting and len(self.starting) < _AT_ONCE:
            position = self.waiting.popleft()
            self.actors[position] = self.create()
            self.starting[self.actors[position].place.remote()] = position
            self.attempts[position] += 1

    def _take(self, ref: Ref) -> None:
        position = self.starting.pop(ref)
        try:
            place = get(ref)
        except ActorDied as error:
            self._again(position, error)
            return
        if self.on_ready is not None:
            self.on_ready(position, place)
        self.ready += 1
        if self.ready % _AT_ONCE == 0 or self.ready == len(self.actors):
            self.watch.tell("starting", text=f"{self.ready} of {len(self.actors)} client actors started")

    def _again(self, position: int, error: ActorDied) -> None:
        if self.attempts[position] >= _ATTEMPTS:
            raise ClusterError(
                f"client actor {position} died {_ATTEMPTS} times while it started ({error}); its last words are in "
                f"{logs_folder()}, in the newest files worker-*.err"
            ) from error
        self.watch.tell("warning", text=f"client actor {position} died while it started, and is started again")
        self.waiting.append(position)
