"""A pool of client actors that are replaced when they die, and work handed to whichever is idle."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayError, RaySystemError, RayTaskError

from fedray.client.host import Host
from fedray.client.workload import Workload
from fedray.errors import CapacityError, ClusterError, FedrayError
from fedray.runtime.placement import Placement
from fedray.simulation.watch import Watch

Ref = ray.ObjectRef[Any]

_BATCH = 16
"""Actors that start at the same time."""
_POLL_S = 0.2
"""How long to wait for an answer before asking again whether to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a host.

    Attributes:
        method: Method of `Host`.
        args: Its arguments.
        actor: The position of the one actor that may answer, or None for any.
        what: What is done, for messages.
    """

    method: str
    args: tuple[Any, ...]
    actor: int | None = None
    what: str = "work"


class Pool:
    """Client actors by position; a dead one is replaced at its position.

    Args:
        placement: How many actors.
        workload: The client side of the experiment.
        data: Object reference of the population's data.
        retries: How often one call is repeated after its actor died.
        start_timeout_s: How long actors may take to start.
        watch: Asked while waiting whether to stop.
    """

    def __init__(
        self,
        *,
        placement: Placement,
        workload: Workload,
        data: Ref,
        retries: int,
        start_timeout_s: float,
        watch: Watch,
    ) -> None:
        self.placement, self._watch, self._retries = placement, watch, retries
        self._start_timeout_s = start_timeout_s
        self._args = (workload, data)
        options: dict[str, Any] = {"num_cpus": placement.cpus_per_actor, "scheduling_strategy": "SPREAD"}
        self._actor_class: Any = ray.remote(max_restarts=0, **options)(Host)
        self.deaths = 0
        self._actors: list[Any] = []
        for start in range(0, placement.num_actors, _BATCH):
            batch = range(start, min(start + _BATCH, placement.num_actors))
            self._actors += [self._actor_class.remote(*self._args) for _ in batch]
            self._await_ready(self._actors[start:])
            watch.tell("starting", text=f"{len(self._actors)} of {placement.num_actors} client actors started")

    def _await_ready(self, actors: list[Any]) -> None:
        waiting = [actor.ready.remote() for actor in actors]
        until = time.monotonic() + self._start_timeout_s
        while waiting:
            self._watch.check()
            done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_POLL_S)
            for ref in done:
                _started(ref)
            if waiting and time.monotonic() > until:
                raise CapacityError(
                    f"{len(waiting)} of {len(actors)} client actors did not start in {self._start_timeout_s:.0f} s: "
                    "the cluster is busy or too small; lower actors.num_actors, or raise actors.start_timeout_s"
                )

    def run(self, calls: Sequence[Call], on_answer: Callable[[int, Any], None]) -> list[int]:
        """Makes all calls, in their order, each on an idle actor, at most `slots` at a time.

        Args:
            calls: What to do.
            on_answer: Told of each answer: position in `calls`, value.

        Returns:
            How often each call was made: more than once where its actor died.

        Raises:
            FedrayError: A call raised it, or its actor died too often.
        """
        return _Dispatch(self, calls, on_answer).run()

    def submit(self, actor: int, call: Call) -> Ref:
        """Sends a call to one actor."""
        return getattr(self._actors[actor], call.method).remote(*call.args)

    def replace(self, actor: int) -> None:
        """Puts a new actor in the place of a dead one."""
        self.deaths += 1
        ray.kill(self._actors[actor])  # it may only have been out of reach
        self._watch.tell("warning", text=f"client actor {actor} died and is replaced")
        self._actors[actor] = self._actor_class.remote(*self._args)

    @property
    def size(self) -> int:
        """Number of actors."""
        return len(self._actors)

    @property
    def retries(self) -> int:
        """How often one call is repeated after its actor died."""
        return self._retries

    def check(self) -> None:
        """Raises Interrupted when somebody asked to stop."""
        self._watch.check()

    def close(self) -> None:
        """Ends all actors."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


class ActorDied(FedrayError):
    """The actor that had a call died before it answered, or its answer was lost with its node."""


class _Dispatch:
    """The state of one `Pool.run`."""

    def __init__(self, pool: Pool, calls: Sequence[Call], on_answer: Callable[[int, Any], None]) -> None:
        self.pool, self.calls, self.on_answer = pool, calls, on_answer
        self.waiting = deque(range(len(calls)))
        self.idle = list(range(pool.size))[::-1]
        self.busy: dict[Ref, tuple[int, int]] = {}
        self.attempts = [0] * len(calls)

    def run(self) -> list[int]:
        while self.waiting or self.busy:
            self.pool.check()
            self._assign()
            done, _ = ray.wait(list(self.busy), num_returns=1, timeout=_POLL_S)
            for ref in done:
                self._take(ref)
        return self.attempts

    def _assign(self) -> None:
        free = self.pool.placement.slots - len(self.busy)
        while self.waiting and free > 0:
            call = self.waiting.popleft()
            actor = self.calls[call].actor
            if actor is None:
                actor = self.idle.pop()
            self.busy[self.pool.submit(actor, self.calls[call])] = (call, actor)
            self.attempts[call] += 1
            free -= 1

    def _take(self, ref: Ref) -> None:
        call, actor = self.busy.pop(ref)
        self.idle.append(actor)
        try:
            answer = get(ref)
        except ActorDied as error:
            self.pool.replace(actor)
            if self.attempts[call] > self.pool.retries:
                raise FedrayError(
                    f"{self.calls[call].what} lost its actor {self.attempts[call]} times ({error}); look for a client "
                    "that kills its process or needs too much memory, or raise failures.retries"
                ) from None
            self.waiting.appendleft(call)
        else:
            self.on_answer(call, answer)


def get(ref: Ref) -> Any:
    """A result, with fedray's own errors as themselves."""
    try:
        return ray.get(ref)
    except (RayActorError, ObjectLostError, OutOfMemoryError) as error:
        raise ActorDied(reason(error)) from error
    except RayTaskError as error:
        raise explained(error) from None


def _started(ref: Ref) -> None:
    try:
        get(ref)
    except ActorDied as error:
        raise ClusterError(f"a client actor cannot start ({error}); look into its log, in the folder of Ray") from error


def explained(error: RayTaskError) -> Exception:
    """Fedray's own error, raised in another process; or a sentence where a user's code is not found there."""
    if isinstance(error.cause, RaySystemError) and "No module named" in str(error.cause):
        line = next(line for line in str(error.cause).splitlines() if "No module named" in line)
        return ClusterError(
            f"an actor cannot import what the experiment needs ({line.strip()}); start fedray in the folder that holds "
            "it, or install it on every node"
        )
    return error.cause if isinstance(error.cause, FedrayError) else error


def reason(error: RayError) -> str:
    """Why an actor died, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if "creation task" in lines[0] else lines[0]
