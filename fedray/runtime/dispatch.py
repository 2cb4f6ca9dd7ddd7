"""Calls handed to whichever actor is free: urgent ones first, the others where nothing urgent waits."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from fedray.errors import FedrayError
from fedray.runtime.answers import ActorDied, Ref, get
from fedray.runtime.pool import Pool

_POLL_S = 0.2
"""How long to wait for an answer before asking again whether to stop."""
_SHORT_S = 0.05
"""Calls shorter than this queue up behind another, so that no actor waits for the driver; longer ones do not, so that
none of them waits behind a slow one while another actor is idle."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call of a host.

    Attributes:
        method: Method of `Host`.
        args: Its arguments, for the actor that gets it: asked each time it is sent.
        on_answer: Told the answer, and how often an actor began with the call.
        actor: The position of the one actor that may answer, or None for any.
        what: What is done, for messages.
        is_small: Whether its arguments and its answer are.
        parts: Smaller calls that together do the same: made instead of this one when its actor died.
        attempts: How often an actor began with it.
    """

    method: str
    args: Callable[[int], tuple[Any, ...]]
    on_answer: Callable[[Any, int], None]
    actor: int | None = None
    what: str = "work"
    is_small: bool = False
    parts: "Sequence[Call]" = ()
    attempts: int = 0


@dataclass(slots=True)
class _Queue:
    """Calls that one actor has: it works at the first, since `began`."""

    calls: deque[tuple[Call, Ref]] = field(default_factory=deque[tuple[Call, Ref]])
    began: float = 0.0


class Dispatch:
    """Keeps the actors of a pool at work, at most `slots` of them at a time.

    Args:
        pool: The actors.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.urgent: deque[Call] = deque()
        self.others: deque[Call] = deque()
        self.loose: dict[Ref, Callable[[Ref], None]] = {}
        """References waited for beside the calls, and who is told that one is there."""
        self._queues = [_Queue() for _ in range(pool.size)]
        self._idle = deque(range(pool.size))
        self._is_short = True

    def run(self, is_done: Callable[[], bool], on_handed_out: Callable[[], None] | None = None) -> None:
        """Works until `is_done`.

        Args:
            is_done: Asked after every answer.
            on_handed_out: Told each time that no urgent call waits any more.

        Raises:
            FedrayError: A call raised it, or its actor died too often.
        """
        while not is_done():
            self.pool.check()
            self.assign()
            if not self.urgent and on_handed_out is not None:
                on_handed_out()
            self._wait()

    def assign(self) -> None:
        """Sends what can be sent now."""
        while self.urgent and (actor := self._free(self.urgent[0])) is not None:
            self._send(self.urgent.popleft(), actor)
        while not self.urgent and self.others and (actor := self._unoccupied()) is not None:
            self._send(self.others.popleft(), actor)

    def _free(self, call: Call) -> int | None:
        """The actor that gets an urgent call, or None while all have enough to do."""
        places = self.pool.placement.slots * (2 if self._is_short else 1)
        if call.actor is not None:
            return call.actor if sum(1 for queue in self._queues if queue.calls) < places else None
        actor = self._unoccupied()
        if actor is None and self._is_short:
            behind = [a for a, queue in enumerate(self._queues) if len(queue.calls) == 1]
            actor = min(behind, key=lambda a: self._queues[a].began, default=None)
        return actor

    @property
    def num_free(self) -> int:
        """How many more actors may work now."""
        return self.pool.placement.slots - (self.pool.size - len(self._idle))

    def _unoccupied(self) -> int | None:
        return self._idle[0] if self._idle and self.num_free > 0 else None

    def _send(self, call: Call, actor: int) -> None:
        queue = self._queues[actor]
        if not queue.calls:
            self._idle.remove(actor)
            queue.began = time.perf_counter()
        submit = self.pool.submit_small if call.is_small else self.pool.submit
        queue.calls.append((call, submit(actor, call.method, *call.args(actor))))

    def _wait(self) -> None:
        """Takes what has come; an actor answers in the order in which it was asked."""
        heads = {queue.calls[0][1]: actor for actor, queue in enumerate(self._queues) if queue.calls}
        refs = [*heads, *self.loose]
        if not refs:
            return
        done, _ = ray.wait(refs, num_returns=1, timeout=_POLL_S, fetch_local=False)
        for ref in done:
            if ref in heads:
                self._take(heads[ref])
            else:
                self.loose.pop(ref)(ref)

    def _take(self, actor: int) -> None:
        queue = self._queues[actor]
        call, ref = queue.calls[0]
        try:
            answer = get(ref)
        except ActorDied as error:
            self.replace(actor, error)
            return
        queue.calls.popleft()
        now = time.perf_counter()
        self._is_short, queue.began = now - queue.began < _SHORT_S, now
        if not queue.calls:
            self._idle.append(actor)
        call.on_answer(answer, call.attempts + 1)

    def replace(self, actor: int, error: ActorDied) -> None:
        """Puts another actor there, and makes its calls again.

        The one it worked at is made in parts where it has some, so that a client that kills its actor takes no others
        with it; the calls behind it never began.

        Raises:
            FedrayError: That call lost its actor too often.
        """
        lost = [call for call, _ in self._queues[actor].calls]
        self.pool.replace(actor)
        if not lost:
            return
        self._queues[actor].calls.clear()
        self._idle.append(actor)
        lost[0].attempts += 1
        if lost[0].attempts > self.pool.retries:
            raise FedrayError(
                f"{lost[0].what} lost its actor {lost[0].attempts} times ({error}); look for a client that kills its "
                "process or needs too much memory, or raise failures.retries"
            ) from None
        for part in lost[0].parts:
            part.attempts = lost[0].attempts
        self.urgent.extendleft(reversed([*(lost[0].parts or lost[:1]), *lost[1:]]))
