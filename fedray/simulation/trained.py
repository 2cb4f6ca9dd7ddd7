"""A round that is trained, and what is recorded of it."""

import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass

import numpy as np

from fedray.messages import Array, Fault
from fedray.models.memory import resident_bytes
from fedray.population.availability import HOUR
from fedray.server.strategy import ServerState
from fedray.simulation import virtual
from fedray.simulation.backend import CohortResult
from fedray.simulation.chosen import Chosen
from fedray.simulation.evaluation import Evaluating
from fedray.simulation.ledger import Ledger
from fedray.simulation.policy import MISSED
from fedray.simulation.run_folder import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A round whose evaluation may still go on, behind the training of the next.

    Attributes:
        state: After the round.
        fingerprint: Its digest, being computed.
        ledger: What became of each client.
        result: What the backend gave.
        evaluating: Its evaluation.
        faults: Faults that are due at its checkpoint.
        seconds: Wall seconds of the round by step.
        chosen: Its clients, and what devices did in virtual time.
    """

    state: ServerState
    fingerprint: Future[str]
    ledger: Ledger
    result: CohortResult
    evaluating: Evaluating
    faults: tuple[Fault, ...]
    seconds: dict[str, float]
    chosen: Chosen

    @property
    def ready(self) -> bool:
        """Whether it can be recorded without waiting."""
        return self.fingerprint.done() and self.evaluating.ready

    @property
    def columns(self) -> dict[str, Array]:
        """The rows of the ledger, with what devices did."""
        columns, times = self.ledger.columns, self.chosen.times
        return columns if times is None else {**columns, **virtual.columns(times, columns["client"])}

    def record(self, metrics: dict[str, float]) -> Record:
        """The line of `rounds.jsonl`.

        Args:
            metrics: Of the round; those that are not finite are left out.
        """
        ledger, result, reports = self.ledger, self.result, self.result.reports
        record: Record = {
            "round": self.state.round,
            "time": time.time(),
            "digest": self.fingerprint.result(),
            "cohort": int(sum(ledger.fates.values())),
            "trained": sum(num for fate, num in ledger.fates.items() if fate not in MISSED),
            "examples": int(ledger.columns["examples"].sum()),
            "weight": result.weight,
            "fates": ledger.fates,
            "deaths": result.deaths,
            "faults": len(result.faults),
            "seconds": self.seconds,
            "bytes": result.num_bytes,
            "slots": result.slots,
            "blocks": len(reports),
            "busy_s": sum(report.seconds for report in reports),
            "longest_block_s": max((report.seconds for report in reports), default=0.0),
            "memory_bytes": {
                "driver": resident_bytes(),
                "host": max((report.memory_bytes for report in reports), default=0),
            },
            "metrics": {name: float(value) for name, value in metrics.items() if np.isfinite(value)},
        }
        if self.chosen.times is not None:
            record["virtual"] = virtual.record(self.chosen.times)
            record["metrics"]["virtual/hours"] = self.chosen.times.end / HOUR
        if self.chosen.wide is not None:
            record["wide"] = asdict(self.chosen.wide)
        return record
