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
        num_bytes: "put": bytes of parameters that went to hosts; "aggregate": bytes of sums that came back.
        slots: Hosts that train at once.
        attempts: Blocks that were trained more than once: position of their first client in the cohort to times.
        deaths: Hosts that died and were replaced.
    """

    partial: Partial
    reports: list[BlockReport]
    seconds: dict[str, float]
    num_bytes: dict[str, int]
    attempts: dict[int, int] = field(default_factory=dict[int, int])
    deaths: int = 0
    slots: int = 1


class Answers(Protocol):
    """Answers of hosts, some of which may not be there yet."""

    @property
    def ready(self) -> bool:
        """Whether all are there."""
        ...

    def wait(self) -> list[Any]:
        """All answers, in the order of what was asked."""
        ...


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

    def ask(self, method: str, parameters: Floats, items: Sequence[Any]) -> Answers:
        """Calls a method of `Host` with the parameters and each item.

        A backend may put this off until hosts have nothing to train, also beyond the next `run_cohort`.
        """
        ...

    def close(self) -> None:
        """Frees what the backend started."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers that are there."""

    answers: list[Any]
    ready: bool = True

    def wait(self) -> list[Any]:
        """All of them."""
        return self.answers


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
                reports += self._host.train(parameters, [block]).reports
                on_report(reports[-1])
        partial = self._host.collect(blocks[0].round)
        seconds = {"train": sum(report.seconds for report in reports)}
        moved = {"put": parameters.nbytes, "aggregate": partial.total.nbytes}
        return CohortResult(partial=partial, reports=reports, seconds=seconds, num_bytes=moved)

    def ask(self, method: str, parameters: Floats, items: Sequence[Any]) -> "Answered":
        answers: list[Any] = []
        with torch.random.fork_rng(devices=[]):
            for item in items:
                self._watch.check()
                answers.append(getattr(self._host, method)(parameters, item))
        return Answered(answers)

    def close(self) -> None:
        torch.set_num_threads(self._threads)
