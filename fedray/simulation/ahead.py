"""Steps of an asynchronous server trained together, as far ahead as causality allows.

Who reports in the next steps is known before anybody trains. Where all of them start from models that are there, they
can train now; the server then takes its steps one after another, to the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedray.messages import Block, BlockReport, Partial
from fedray.simulation.backend import CohortResult
from fedray.simulation.chosen import Chosen

Start = tuple[int, int]
"""What a client starts from: an edge, and a version of its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the server.

    Attributes:
        round: Its number.
        chosen: Its clients.
        blocks: Those to train.
    """

    round: int
    chosen: Chosen
    blocks: tuple[Block, ...]

    @property
    def num_clients(self) -> int:
        """Clients to train."""
        return sum(len(block.clients) for block in self.blocks)


def starts(steps: Sequence[Step]) -> list[Start]:
    """What the clients of some steps start from, each once."""
    return sorted({start for step in steps for start in step.chosen.starts})


def together(steps: Sequence[Step]) -> tuple[Block, ...]:
    """The blocks of some steps as those of one round: each step's updates go into a sum of their own."""
    found, offset, all_starts = list[Block](), 0, starts(steps)
    for place, step in enumerate(steps):
        for block in step.blocks:
            start = all_starts.index(step.chosen.starts[block.start_from])
            moved = replace(block, index=len(found), start=offset + block.start, start_from=start, into=place)
            found.append(moved)
        offset += step.num_clients
    return tuple(found)


def apart(steps: Sequence[Step], result: CohortResult) -> list[CohortResult]:
    """The result of each step; what cannot be told apart, such as seconds, is with the first.

    Args:
        steps: They were trained together.
        result: What came of it.
    """
    found, offset, index = list[CohortResult](), 0, 0
    for place, step in enumerate(steps):
        span = range(offset, offset + step.num_clients)
        clients = {client for block in step.blocks for client in block.clients.tolist()}
        alone = replace(
            result,
            partials=tuple(_own(partial) for partial in result.partials if partial.into == place),
            reports=[_moved(report, offset, index) for report in result.reports if report.start in span],
            attempts={start - offset: num for start, num in result.attempts.items() if start in span},
            dropped={client: failure for client, failure in result.dropped.items() if client in clients},
            kept={client: row for client, row in result.kept.items() if client in clients},
        )
        if place:
            seconds, num_bytes = dict.fromkeys(result.seconds, 0.0), dict.fromkeys(result.num_bytes, 0)
            alone = replace(alone, seconds=seconds, num_bytes=num_bytes, faults=[], deaths=0)
        found.append(alone)
        offset, index = span.stop, index + len(step.blocks)
    return found


def _own(partial: Partial) -> Partial:
    return replace(partial, into=0)


def _moved(report: BlockReport, offset: int, index: int) -> BlockReport:
    return replace(report, start=report.start - offset, block=report.block - index)
