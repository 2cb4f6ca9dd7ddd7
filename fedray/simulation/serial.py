"""One cohort, trained in this process, with what the plan takes away and what the policy says about it."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fedray.client.host import Host
from fedray.errors import RoundFailed
from fedray.messages import Block, BlockReport, Failure, Fault, Floats
from fedray.simulation.blocks import part
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.faults.kinds import LOSSES, PROCESS
from fedray.simulation.kept import Kept, by_client, rows
from fedray.simulation.policy import Abort, Decision, Drop, Quarantine, Status, decide
from fedray.simulation.settings import FailureConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A block, or a part of one, that is to be trained.

    Attributes:
        block: What to train; its faults are those that did not happen yet.
        whole: The block that it is a part of.
        number: How often it was begun with, this time included.
        lost: Positions among the events of what it was lost to.
    """

    block: Block
    whole: Block
    number: int = 1
    lost: tuple[int, ...] = ()


class SerialCohort:
    """The state of one `run_cohort` of the serial backend.

    There is no process to lose: where the plan loses the one that trains a block, that attempt is counted and not made,
    and the failure policy says what follows. The attempt that is made gives the bits that any before would have given.

    Args:
        host: Trains.
        parameters: The round's parameters, shape (P,).
        blocks: The cohort.
        on_report: Told of each block when it is done.
        failures: What follows when a process is lost.
        kept: What clients have kept of their rounds before; None: nothing is ever kept.

    Attributes:
        reports: What was trained.
        kept: What its clients keep.
        attempts: As in `CohortResult`, like the next two.
        dropped: Clients that nothing comes of.
        events: What went wrong.
    """

    def __init__(
        self,
        host: Host,
        parameters: Floats,
        blocks: Sequence[Block],
        on_report: Callable[[BlockReport], None],
        failures: FailureConfig,
        kept: Kept | None = None,
    ) -> None:
        self._kept_before = kept
        self._host, self._parameters, self._on_report, self._failures = host, parameters, on_report, failures
        self._num_blocks, self._cohort = len(blocks), blocks[0].round
        self._deaths_alone = Counter[int]()
        self._waiting = deque(_Attempt(block=block, whole=block) for block in blocks)
        self.reports: list[BlockReport] = []
        self.kept: dict[int, Floats] = {}
        self.attempts: dict[int, int] = {}
        self.dropped: dict[int, Failure] = {}
        self.events: list[FaultEvent] = []

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train."""
        return not self._waiting

    def go_on(self) -> None:
        """Trains the next block, or loses it as the plan says.

        Raises:
            RoundFailed: The failure policy ends the run.
        """
        attempt = self._waiting.popleft()
        fault = next((fault for fault in attempt.block.faults if fault.kind in LOSSES), None)
        if fault is None:
            self._train(attempt)
        else:
            self._lose(attempt, fault)

    def _train(self, attempt: _Attempt) -> None:
        block = attempt.block
        kept = rows(self._kept_before, [block], self._host.num_parameters)
        work = self._host.train(self._parameters, [block], kept=kept, cohort=self._cohort)
        report = replace(work.reports[0], time=time.time())
        self.kept |= by_client(work.kept, [report])
        self.reports.append(report)
        if attempt.number > 1:
            self.attempts[block.start] = attempt.number
        for position in attempt.lost:
            self.events[position] = self.events[position].made_good(report)
        for fault in block.faults:
            self._note(fault, report)
        self._on_report(report)

    def _note(self, fault: Fault, report: BlockReport) -> None:
        """Records a fault that costs no attempt."""
        if fault.kind in PROCESS:
            event = FaultEvent.of(fault, f"not carried out: {fault.kind} changes no result on this backend")
        else:
            event = FaultEvent.of_client(fault, report)
        self.events.append(event)

    def _lose(self, attempt: _Attempt, fault: Fault) -> None:
        cause, now = f"planned: {fault.kind} {fault.at} training", time.time()
        event = FaultEvent.of(fault, cause, os.getpid())
        self.events.append(replace(event, injected_at=now, detected_at=now))
        clients = tuple(attempt.block.clients.tolist())
        if len(clients) == 1:
            self._deaths_alone[clients[0]] += 1
        status = Status(
            failures=self._failures,
            round=fault.round,
            block=attempt.whole.index,
            clients=clients,
            attempts=attempt.number,
            cause=cause,
            history=self._deaths_alone,
        )
        self._follow(decide(status), attempt, fault)

    def _follow(self, decision: Decision, attempt: _Attempt, fault: Fault) -> None:
        """Does what the policy decided."""
        if isinstance(decision, Abort):
            raise RoundFailed(decision.sentence, self.events)
        if isinstance(decision, Drop):
            self._drop(decision.clients, Failure(fate="dropped", cause=decision.cause, time=time.time()), attempt)
        elif isinstance(decision, Quarantine):
            failure = Failure(fate="quarantined", cause=decision.cause, time=time.time())
            self._drop((decision.client,), failure, attempt)
        else:
            left = tuple(other for other in attempt.block.faults if other.repeat or other != fault)
            block = replace(attempt.block, faults=left)
            lost = (*attempt.lost, len(self.events) - 1)
            self._waiting.extend(
                _Attempt(
                    block=part(block, clients, self._num_blocks),
                    whole=attempt.whole,
                    number=attempt.number + 1,
                    lost=lost,
                )
                for clients in decision.parts
            )

    def _drop(self, clients: Sequence[int], failure: Failure, attempt: _Attempt) -> None:
        self.dropped |= dict.fromkeys(clients, failure)
        if attempt.number > 1:
            self.attempts[attempt.block.start] = attempt.number
