"""What was lost in a round, what the failure policy says about it, and what it cost."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fedray.errors import RoundFailed
from fedray.messages import Block, BlockReport, Failure, Fault
from fedray.runtime.chaos import Strike
from fedray.runtime.dispatch import Loss
from fedray.simulation.blocks import part
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.kinds import CLIENT, DELAYS, LOSSES, PROCESS
from fedray.simulation.policy import Abort, Drop, Quarantine, Status, deadline_s, decide
from fedray.simulation.settings import FailureConfig

Seen = deque[tuple[float, float]]
"""(work, seconds) of blocks that ended."""

LONGEST_S = 1800.0
"""Limit of a call of which nothing is known yet."""
_COLLECT_S = 120.0
"""Limit of sums: of large models, over a slow network, through a tree. Ray itself finds a node that is gone sooner."""


class Losses:
    """The losses of one round.

    Args:
        failures: The policy's settings.
        blocks: The cohort.
        seen: How long blocks took, of earlier rounds too; added to.
        own_actor: Every client has an actor of its own.

    Attributes:
        attempts: Units that were begun with more than once: position of their first client in the cohort to times.
        dropped: Clients that nothing comes of.
        struck: Whether the plan does something to processes in this round.
    """

    def __init__(self, failures: FailureConfig, blocks: Sequence[Block], seen: Seen, *, own_actor: bool) -> None:
        self._failures, self._num_blocks, self._seen, self._own_actor = failures, len(blocks), seen, own_actor
        self._block_of = {client: block.index for block in blocks for client in block.clients.tolist()}
        self._begun, self._blamed, self._alone = Counter[int](), Counter[int](), Counter[int]()
        self._costs: dict[int, list[int]] = {}
        """Events that a unit was lost to, by the position of its first client."""
        self._failed = set[tuple[int, int]]()
        """Faults of clients that are recorded: trained again, a client fails again."""
        self._events: list[FaultEvent] = []
        self.dropped: dict[int, Failure] = {}
        self.struck = any(fault.kind in PROCESS for block in blocks for fault in block.faults)

    @property
    def attempts(self) -> dict[int, int]:
        """See the class."""
        return {start: tries for start, tries in self._begun.items() if tries > 1}

    def own_actor(self, units: Sequence[Block]) -> int | None:
        """The one actor that may train some units, where every client has its own."""
        return int(units[0].clients[0]) if self._own_actor else None

    def limit_s(self, units: Sequence[Block]) -> float:
        """How long an actor may take for some units together; planned delays are no reason to think that it hangs."""
        limit_s = deadline_s(self._failures, sum(unit.work for unit in units), self._seen)
        if self._failures.deadline != "auto":
            return math.inf if limit_s is None else limit_s
        delays_s = sum(fault.seconds for unit in units for fault in unit.faults if fault.kind in DELAYS)
        return (LONGEST_S if limit_s is None else limit_s) + delays_s

    @property
    def collect_limit_s(self) -> float:
        """How long nothing may come of sums that were asked for, while nobody trains."""
        deadline = self._failures.deadline
        return math.inf if deadline is None else _COLLECT_S if deadline == "auto" else max(_COLLECT_S, deadline)

    def trained(self, unit: Block, report: BlockReport) -> Block:
        """Told that a unit was trained.

        Returns:
            What is to be trained again if its sum is lost: the unit, which is not delayed a second time.
        """
        self._begun[unit.start] += 1
        self._seen.append((unit.work, report.seconds))
        for position in self._costs.get(unit.start, ()):
            self._events[position] = self._events[position].made_good(report)
        self._costs.pop(unit.start, None)
        for fault in unit.faults:
            if fault.kind in CLIENT and (fault.id, fault.client) not in self._failed:
                self._failed.add((fault.id, fault.client))
                self._events.append(FaultEvent.of_client(fault, report))
            elif fault.kind in DELAYS:
                event = FaultEvent.of(fault, f"planned: {fault.kind}", report.pid)
                self._events.append(replace(event, actor=report.actor, node=report.node))
        return replace(unit, faults=tuple(f for f in unit.faults if f.repeat or f.kind not in DELAYS))

    def lost(self, unit: Block, loss: Loss, *, alone: bool) -> list[Block]:
        """Decides about a unit whose actor was lost while it worked at it.

        Args:
            unit: The unit.
            loss: What happened.
            alone: Whether the actor had been asked for this unit only.

        Returns:
            What is to be trained instead.

        Raises:
            RoundFailed: The policy ends the run.
        """
        self._begun[unit.start] += 1
        self._blamed[unit.start] += 1
        fault = next((fault for fault in unit.faults if fault.kind in LOSSES), None)
        cause = loss.cause if fault is None else f"planned: {fault.kind} {fault.at} training; {loss.cause}"
        self._note(unit, loss, fault, cause)
        clients = tuple(unit.clients.tolist())
        if alone and len(clients) == 1:
            self._alone[clients[0]] += 1
        decision = decide(
            Status(
                failures=self._failures,
                round=unit.round,
                block=self._block_of[clients[0]],
                clients=clients,
                attempts=self._blamed[unit.start],
                cause=cause,
                history=self._alone,
            )
        )
        if isinstance(decision, Abort):
            raise RoundFailed(decision.sentence)
        if isinstance(decision, Drop):
            failure = Failure(fate="dropped", cause=decision.cause, time=time.time())
            self.dropped |= dict.fromkeys(decision.clients, failure)
            return []
        if isinstance(decision, Quarantine):
            self.dropped[decision.client] = Failure(fate="quarantined", cause=decision.cause, time=time.time())
            return []
        return self._again(unit, decision.parts, fault)

    def _again(self, unit: Block, parts: Sequence[tuple[int, ...]], fault: Fault | None) -> list[Block]:
        left = tuple(other for other in unit.faults if other.repeat or other is not fault)
        units = [part(replace(unit, faults=left), clients, self._num_blocks) for clients in parts]
        lost_to = [*self._costs.pop(unit.start, ()), len(self._events) - 1]
        for again in units:
            self._begun[again.start] = self._begun[unit.start]
            self._blamed[again.start] = self._blamed[unit.start]
            self._costs[again.start] = lost_to
        return units

    def _note(self, unit: Block, loss: Loss, fault: Fault | None, cause: str) -> None:
        if fault is None:
            kind = "death" if loss.died else "lost answer"
            event = FaultEvent(fault=-1, round=unit.round, kind=kind, block=self._block_of[int(unit.clients[0])])
        else:
            event = FaultEvent.of(fault, cause)
        self._events.append(
            replace(event, actor=loss.actor, node=loss.node, pid=loss.pid, cause=cause, detected_at=time.time())
        )

    def events(self, strikes: Iterable[Strike]) -> list[FaultEvent]:
        """What went wrong, with the times at which the chaos actors did it."""
        done = {(strike.fault, strike.block, strike.pid): strike.time for strike in strikes}
        return [
            replace(event, injected_at=done.get((event.fault, event.block, event.pid), event.injected_at))
            for event in self._events
        ]
