"""How clients are run: the protocol, and the serial backend that every other backend equals bit for bit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from fedray.client.device import generators
from fedray.client.host import Host
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.messages import Block, BlockReport, Failure, Floats, Partial
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.kept import Kept
from fedray.simulation.serial import SerialCohort
from fedray.simulation.settings import FailureConfig
from fedray.simulation.watch import Watch

OnReport = Callable[[BlockReport], None]
Beside = Callable[[], None]
_FAILURES = FailureConfig()


def nothing() -> None:
    """What there is to do beside the training, where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortResult:
    """A trained cohort.

    Attributes:
        partials: The sums of all usable updates, in the order of where blocks say that they go.
        reports: One for each block, or for each part of a block that was divided, in any order.
        seconds: Wall time by step: "put", "schedule", "train", "aggregate".
        num_bytes: "put": bytes of parameters that went to hosts; "aggregate": bytes of sums that came back.
        slots: Hosts that train at once.
        kept: What clients with a usable update keep for their next round; what the others kept stays as it was.
        attempts: Blocks that were trained more than once: position of their first client in the cohort to times.
        dropped: Clients that nothing came back of: their fate, "dropped" or "quarantined", and why.
        faults: What went wrong, planned or not.
        deaths: Hosts that died and were replaced.
    """

    partials: tuple[Partial, ...]
    reports: list[BlockReport]
    seconds: dict[str, float]
    num_bytes: dict[str, int]
    attempts: dict[int, int] = field(default_factory=dict[int, int])
    dropped: dict[int, Failure] = field(default_factory=dict[int, Failure])
    faults: list[FaultEvent] = field(default_factory=list[FaultEvent])
    deaths: int = 0
    slots: int = 1
    kept: Kept = field(default_factory=dict[int, Floats])

    @property
    def partial(self) -> Partial:
        """The sum of a round that has one."""
        (partial,) = self.partials
        return partial

    @property
    def weight(self) -> int:
        """Sum of the weights of all usable updates."""
        return sum(partial.weight for partial in self.partials)


def untrained() -> CohortResult:
    """The result of a round in which nobody trains."""
    return CohortResult(
        partials=(),
        reports=[],
        seconds={"put": 0.0, "train": 0.0, "aggregate": 0.0},
        num_bytes={"put": 0, "aggregate": 0},
    )


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

    def run_cohort(
        self,
        parameters: Floats,
        blocks: Sequence[Block],
        on_report: OnReport,
        beside: Beside = nothing,
        kept: Kept | None = None,
    ) -> CohortResult:
        """Trains all blocks and sums their updates.

        Args:
            parameters: The round's parameters, shape (P,).
            blocks: The cohort, with the faults that are planned for it.
            on_report: Told of each block when it is done.
            beside: Called once, when hosts have begun to train; where they are in this process, before they do.
            kept: What clients have kept of their rounds before; None: nothing is ever kept.

        Raises:
            RoundFailed: Too much was lost, by the failure policy.
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
        failures: What follows when a process is lost.
    """

    def __init__(
        self, workload: Workload, data: FederatedData, watch: Watch, failures: FailureConfig = _FAILURES
    ) -> None:
        self._watch, self._threads, self._failures = watch, torch.get_num_threads(), failures
        self._host = Host(workload, data)
        self._generators = generators(self._host.device)

    def run_cohort(
        self,
        parameters: Floats,
        blocks: Sequence[Block],
        on_report: OnReport,
        beside: Beside = nothing,
        kept: Kept | None = None,
    ) -> CohortResult:
        began = time.perf_counter()
        beside()
        beside_s = time.perf_counter() - began
        cohort = SerialCohort(self._host, parameters, blocks, on_report, self._failures, kept)
        with torch.random.fork_rng(devices=self._generators):
            while not cohort.is_done:
                self._watch.check()
                cohort.go_on()
        partials = self._host.collect(blocks[0].round)
        return CohortResult(
            partials=partials,
            reports=cohort.reports,
            seconds={"record": beside_s, "train": sum(report.seconds for report in cohort.reports)},
            num_bytes={"put": parameters.nbytes, "aggregate": sum(partial.total.nbytes for partial in partials)},
            attempts=cohort.attempts,
            dropped=cohort.dropped,
            faults=cohort.events,
            kept=cohort.kept,
        )

    def ask(self, method: str, parameters: Floats, items: Sequence[Any]) -> "Answered":
        answers: list[Any] = []
        with torch.random.fork_rng(devices=self._generators):
            for item in items:
                self._watch.check()
                answers.append(getattr(self._host, method)(parameters, item))
        return Answered(answers)

    def close(self) -> None:
        self._host.close()
        torch.set_num_threads(self._threads)
