"""Calls handed to whichever actor is free: urgent ones first, the others where nothing urgent waits."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedray.errors import CapacityError, ClusterError
from fedray.runtime.answers import Ref, get, wait
from fedray.runtime.lost import ActorDied, AnswerLost
from fedray.runtime.pool import Pool

_POLL_S = 0.2
"""How long to wait for an answer before asking again whether to stop."""
_SHORT_S = 0.05
"""Calls shorter than this queue up behind another, so that no actor waits for the driver; longer ones do not, so that
none of them waits behind a slow one while another actor is idle."""
_STARTS = 3
"""How often in a row one actor may die while it starts, or not start in time, where it is needed."""
_AT_ONCE = 16
"""So many actors start beside the run before more join."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A call that was not answered.

    Attributes:
        cause: Why, in one line.
        actor: Position of the actor that had it.
        node: The actor's node, or "".
        pid: Its process, or 0.
        died: Whether the actor is gone, and with it what it had summed.
    """

    cause: str
    actor: int
    node: str
    pid: int
    died: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One call of a client actor.

    Attributes:
        method: Its method.
        args: Its arguments, for the actor that gets it: asked each time it is sent.
        on_answer: Told the answer, and the position of the actor that gave it.
        on_lost: Told that the actor was lost while it worked at this call; gives what is to be called instead.
        limit_s: How long an actor may work at it.
        actor: The position of the one actor that may answer, or None for any.
        is_small: Whether its arguments and its answer are, and hold no references.
    """

    method: str
    args: Callable[[int], tuple[Any, ...]]
    on_answer: Callable[[Any, int], None]
    on_lost: "Callable[[Loss], Sequence[Call]]"
    limit_s: float
    actor: int | None = None
    is_small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loose:
    """What is waited for beside the calls.

    Attributes:
        on_there: Told that it is there, or that it is lost.
        on_late: Told that nobody works any more, and that nothing has come for `limit_s`.
        limit_s: How long to wait then.
    """

    on_there: Callable[[], None]
    on_late: Callable[[], None]
    limit_s: float


@dataclass(slots=True)
class _Queue:
    """Calls that one actor has: it works at the first, since `began`."""

    calls: deque[tuple[Call, Ref]] = field(default_factory=deque[tuple[Call, Ref]])
    began: float = 0.0


@dataclass(slots=True)
class _Start:
    """An actor that takes the place of a dead one: how often it was tried, and until when it is waited for."""

    actor: int
    attempts: int
    until: float


class Dispatch:
    """Keeps the actors of a pool at work, at most `slots` of them at a time; more of them join where there is room.

    Args:
        pool: The actors.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool, self._start_timeout_s = pool, pool.start_timeout_s
        self.urgent: deque[Call] = deque()
        self.others: deque[Call] = deque()
        self.loose: dict[Ref, Loose] = {}
        """References waited for beside the calls."""
        self._queues = [_Queue() for _ in range(pool.size)]
        self._idle = deque(range(pool.size))
        self._starts: dict[Ref, _Start] = {}
        self._is_short, self._looked_at = True, time.monotonic()
        self._heard_at = time.monotonic()
        self._roomless = set[int]()

    def run(self, is_done: Callable[[], bool], on_handed_out: Callable[[], None] | None = None) -> None:
        """Works until `is_done`.

        Args:
            is_done: Asked after every answer.
            on_handed_out: Told each time that no urgent call waits any more.

        Raises:
            FedrayError: A call raised it, or what was lost cannot be made good.
        """
        while not is_done():
            self.pool.check()
            self.assign()
            if not self.urgent and on_handed_out is not None:
                on_handed_out()
            self._wait()

    def assign(self) -> None:
        """Sends what can be sent now."""
        while (actor := self._next()) is not None:
            self._send(self.urgent.popleft(), actor)
        while not self.urgent and self.others and (actor := self._unoccupied()) is not None:
            self._send(self.others.popleft(), actor)

    def _next(self) -> int | None:
        """The actor that gets the first urgent call; those whose own actor still starts are put behind the others."""
        starting = {start.actor for start in self._starts.values()}
        for _ in range(len(self.urgent)):
            if self.urgent[0].actor not in starting:
                return self._free(self.urgent[0])
            self.urgent.rotate(-1)
        return None

    def _free(self, call: Call) -> int | None:
        """The actor that gets an urgent call, or None while all have enough to do."""
        places = self.pool.slots * (2 if self._is_short else 1)
        if call.actor is not None:
            return call.actor if self._num_busy < places else None
        actor = self._unoccupied()
        if actor is None and self._is_short:
            behind = [a for a, queue in enumerate(self._queues) if len(queue.calls) == 1]
            actor = min(behind, key=lambda a: self._queues[a].began, default=None)
        return actor

    @property
    def _num_busy(self) -> int:
        return self.pool.size - len(self._idle) - len(self._starts)

    @property
    def num_free(self) -> int:
        """How many more actors may work now."""
        return min(len(self._idle), self.pool.slots - self._num_busy)

    @property
    def num_slots(self) -> int:
        """How many actors train at once now, of those that there are."""
        return max(1, min(self.pool.slots, self.pool.size - len(self._starts)))

    def _unoccupied(self) -> int | None:
        return self._idle[0] if self.num_free > 0 else None

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
        refs = [*heads, *self.loose, *self._starts]
        if not refs:
            return
        for ref in wait(refs, _POLL_S):
            self._heard_at = time.monotonic()
            if ref in heads:
                self._take(heads[ref])
            elif ref in self._starts:
                self._started(ref)
            elif ref in self.loose:
                self.loose.pop(ref).on_there()
        if time.monotonic() - self._looked_at > _POLL_S:
            self._looked_at = time.monotonic()
            self._look_at_limits()
            self._grow()

    def _take(self, actor: int) -> None:
        queue = self._queues[actor]
        call, ref = queue.calls[0]
        try:
            answer = get(ref)
        except ActorDied as error:
            self.replace(actor, str(error))
            return
        except AnswerLost as error:
            self._make_again(actor, self._loss(actor, str(error), died=False))
            self._idle.append(actor)
            return
        self._pop(actor)
        call.on_answer(answer, actor)

    def _pop(self, actor: int) -> None:
        queue, now = self._queues[actor], time.perf_counter()
        queue.calls.popleft()
        self._is_short, queue.began = now - queue.began < _SHORT_S, now
        if not queue.calls:
            self._idle.append(actor)

    def _loss(self, actor: int, cause: str, *, died: bool) -> Loss:
        place = self.pool.place(actor)
        node, pid = ("", 0) if place is None else (place.node, place.pid)
        return Loss(cause=cause, actor=actor, node=node, pid=pid, died=died)

    def replace(self, actor: int, cause: str) -> None:
        """Puts another actor there, and hands its calls to others meanwhile.

        Raises:
            FedrayError: The call it worked at may not be made again.
        """
        loss = self._loss(actor, cause, died=True)
        if actor in self._idle:
            self._idle.remove(actor)
        self._begin_start(actor, self.pool.replace(actor, cause), attempts=1)
        self._make_again(actor, loss)

    def end(self, actor: int, limit_s: float) -> None:
        """Ends an actor that did not answer in time, and replaces it.

        Raises:
            FedrayError: As `replace`.
        """
        self.pool.end(actor)
        self.replace(actor, f"it did not answer in {limit_s:.0f} s; see failures.deadline")

    def _make_again(self, actor: int, loss: Loss) -> None:
        """Makes all calls of an actor again.

        What a living one still answers to them is not looked at: others train the same meanwhile.
        """
        lost = [call for call, _ in self._queues[actor].calls]
        self._queues[actor].calls.clear()
        if lost:
            self.urgent.extendleft(reversed([*lost[0].on_lost(loss), *lost[1:]]))

    def _grow(self) -> None:
        """Starts actors beside the others where nodes have joined."""
        while self.pool.has_room and len(self._starts) < _AT_ONCE:
            ref = self.pool.add()
            self._queues.append(_Queue())
            self._begin_start(len(self._queues) - 1, ref, attempts=1)

    def _begin_start(self, actor: int, ref: Ref, attempts: int) -> None:
        until = time.monotonic() + self._start_timeout_s
        self._starts[ref] = _Start(actor=actor, attempts=attempts, until=until)

    def _started(self, ref: Ref) -> None:
        start = self._starts.pop(ref)
        try:
            place = get(ref)
        except ActorDied as error:
            if start.attempts >= _STARTS:
                raise ClusterError(
                    f"client actor {start.actor} died {start.attempts} times while it was replaced ({error})"
                ) from error
            self._begin_start(start.actor, self.pool.start_again(start.actor), start.attempts + 1)
            return
        self._roomless.discard(start.actor)
        self.pool.started(start.actor, place)
        self._idle.append(start.actor)

    def _look_at_limits(self) -> None:
        """Replaces actors that take too long, and those that do not start."""
        now = time.perf_counter()
        if self.loose and not any(queue.calls for queue in self._queues):
            silent_s = time.monotonic() - self._heard_at
            for ref in [ref for ref, loose in self.loose.items() if silent_s > loose.limit_s]:
                self._heard_at = time.monotonic()  # what is waited for instead has as long
                self.loose.pop(ref).on_late()
        for actor, queue in enumerate(self._queues):
            if queue.calls and now - queue.began > (limit_s := queue.calls[0][0].limit_s):
                self.end(actor, limit_s)
        for ref, start in list(self._starts.items()):
            if time.monotonic() > start.until:
                self._start_late(ref, start)

    def _start_late(self, ref: Ref, start: _Start) -> None:
        """Starts an actor again that hangs, or for which there is no room.

        Raises:
            CapacityError: Nothing can be done without it.
        """
        has_own = any(call.actor == start.actor for call in self.urgent)
        is_needed = has_own or len(self._starts) == self.pool.size
        if is_needed and start.attempts >= _STARTS:
            why = "what is left to do needs this one" if has_own else "no other is left"
            raise CapacityError(
                f"client actor {start.actor} did not start in {start.attempts} times {self._start_timeout_s:.0f} s, "
                f"and {why}: the cluster has lost its nodes or is busy; add nodes and resume, or raise "
                "actors.start_timeout_s"
            )
        if not is_needed and start.actor not in self._roomless:
            self._roomless.add(start.actor)
            self.pool.tell(f"client actor {start.actor} finds no room; the others go on without it until it does")
        del self._starts[ref]
        attempts = start.attempts + 1 if is_needed else 1
        self._begin_start(start.actor, self.pool.start_again(start.actor), attempts)
