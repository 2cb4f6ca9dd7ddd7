"""What really went wrong in a round, planned or not."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fedray.messages import BlockReport, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEvent:
    """One line of `faults.jsonl`.

    Attributes:
        fault: Row of the fault plan, or -1 for what nobody planned.
        round: Round number, from 1.
        kind: What went wrong.
        block: Index of the block, or -1.
        client: The client it was bound to, or -1.
        actor: Position of the actor, or -1.
        node: The node, or "".
        pid: The process, or 0.
        injected_at: Epoch seconds when it was done, or None for what nobody planned.
        detected_at: Epoch seconds when it was noticed, or None where nothing had to be.
        recovered_at: Epoch seconds when all that it cost was there again, or None.
        cause: One line.
        num_recomputed: Clients that were trained again.
        recomputed_s: Wall seconds of that training.
    """

    fault: int
    round: int
    kind: str
    block: int = -1
    client: int = -1
    actor: int = -1
    node: str = ""
    pid: int = 0
    injected_at: float | None = None
    detected_at: float | None = None
    recovered_at: float | None = None
    cause: str = ""
    num_recomputed: int = 0
    recomputed_s: float = 0.0

    @staticmethod
    def of(fault: Fault, cause: str, pid: int = 0) -> "FaultEvent":
        """An event of the plan."""
        return FaultEvent(
            fault=fault.id,
            round=fault.round,
            kind=fault.kind,
            block=fault.block,
            client=fault.client,
            pid=pid,
            cause=cause,
        )

    def made_good(self, report: BlockReport) -> "FaultEvent":
        """The event when some of what it cost was trained again."""
        return replace(
            self,
            recovered_at=report.time,
            num_recomputed=self.num_recomputed + len(report.columns["client"]),
            recomputed_s=self.recomputed_s + report.seconds,
        )

    @staticmethod
    def of_client(fault: Fault, report: BlockReport) -> "FaultEvent":
        """The event of a client's fault, by the report of the block that it happened in."""
        failure = report.failures.get(fault.client)
        cause = "it changed no fate" if failure is None else failure.cause
        event = FaultEvent.of(fault, cause, report.pid)
        detected_at = None if failure is None else report.time
        return replace(event, actor=report.actor, node=report.node, injected_at=report.time, detected_at=detected_at)


Note = Callable[[FaultEvent], None]
"""Writes a line of `faults.jsonl`."""
Inject = Callable[[Fault, Note], None]
"""Carries out a fault of a round and notes it, first where it ends this process: once noted, it never comes again."""


def not_here(fault: Fault, note: Note) -> None:
    """A fault of a round where clients run in this process: there is nothing that it could happen to."""
    applies = "changes no result on" if fault.kind not in ("kill_node", "kill_driver") else "does not apply to"
    note(FaultEvent.of(fault, f"not carried out: {fault.kind} {applies} this backend"))
