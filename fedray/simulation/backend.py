"""How clients are run: the protocol, and the serial backend that every other backend equals bit for bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from fedray.client.host import Host
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.messages import Block, BlockReport, Floats, Partial
from fedray.simulation.watch import Watch

OnReport = Callable[[BlockReport], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortResult:
    """A trained cohort.

    Attributes:
        partial: The sum of all usable updates.
        reports: One for each block, in any order.
        seconds: Wall time by step: "put", "train", "aggregate".
        num_bytes: Bytes that went to hosts and came back.
        attempts: Blocks that were trained more than once: position of their first client in the cohort to times.
        deaths: Hosts that died and were replaced.
    """

    partial: Partial
    reports: list[BlockReport]
    seconds: dict[str, float]
    num_bytes: int = 0
    attempts: dict[int, int] = field(default_factory=dict[int, int])
    deaths: int = 0


class Backend(Protocol):
    """Runs clients somewhere. Where, and how many at once, never changes a result."""

    def run_cohort(self, parameters: Floats, blocks: Sequence[Block], on_report: OnReport) -> CohortResult:
        """Trains all blocks and sums their updates.

        Args:
            parameters: The round's parameters, shape (P,).
            blocks: The cohort.
            on_report: Told of each block when it is done.
        """
        ...

    def map(self, method: str, parameters: Floats, items: Sequence[Any]) -> list[Any]:
        """Calls a method of `Host` with the parameters and each item; answers in the order of the items."""
        ...

    def close(self) -> None:
        """Frees what the backend started."""
        ...


class SerialBackend:
    """The reference: one host, in this process, one block after another.

    Args:
        workload: The client side of the experiment.
        data: The population's data.
        watch: Asked between blocks whether to stop.
    """

    def __init__(self, workload: Workload, data: FederatedData, watch: Watch) -> None:
        self._watch, self._threads = watch, torch.get_num_threads()
        self._host = Host(workload, data)

    def run_cohort(self, parameters: Floats, blocks: Sequence[Block], on_report: OnReport) -> CohortResult:
        reports: list[BlockReport] = []
        with torch.random.fork_rng(devices=[]):
            for block in blocks:
                self._watch.check()
                reports.append(self._host.train(parameters, block))
                on_report(reports[-1])
        partial = self._host.collect(blocks[0].round)
        seconds = {"train": sum(report.seconds for report in reports)}
        return CohortResult(partial=partial, reports=reports, seconds=seconds)

    def map(self, method: str, parameters: Floats, items: Sequence[Any]) -> list[Any]:
        answers: list[Any] = []
        with torch.random.fork_rng(devices=[]):
            for item in items:
                self._watch.check()
                answers.append(getattr(self._host, method)(parameters, item))
        return answers

    def close(self) -> None:
        torch.set_num_threads(self._threads)
