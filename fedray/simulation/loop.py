"""The round loop."""

import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import psutil

from fedray.data.base import FederatedData
from fedray.data.holdout import Holdout
from fedray.messages import BlockReport, Partial
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.server.sampling import choose
from fedray.server.strategy import ServerState, advance, begin
from fedray.simulation import ledger as ledgers
from fedray.simulation.backend import Backend, CohortResult
from fedray.simulation.blocks import form
from fedray.simulation.checkpoint import Checkpoints, digest
from fedray.simulation.evaluation import Evaluations
from fedray.simulation.plan import Plan
from fedray.simulation.run_folder import Record, RunFolder
from fedray.simulation.watch import Watch


class Simulation:
    """Runs the rounds of one experiment, from the newest checkpoint on where there is one.

    Args:
        plan: The experiment.
        data: The population's data.
        backend: Runs the clients.
        folder: Keeps the records.
        watch: Told of what happens; asked whether to stop.
    """

    def __init__(self, *, plan: Plan, data: FederatedData, backend: Backend, folder: RunFolder, watch: Watch) -> None:
        self.plan, self.backend, self.folder, self.watch = plan, backend, folder, watch
        self.sizes = Holdout(data, plan.workload.holdout, plan.workload.seed).sizes
        self.module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
        self.layout = Layout(self.module)
        self.evaluations = Evaluations(plan, data, backend)
        self.checkpoints = Checkpoints(folder.path / "checkpoint", plan.checkpoint.keep)
        self._seconds: dict[str, float] = {}
        self._saved_at = time.monotonic()

    def start(self) -> ServerState:
        """The newest checkpoint, or the state before the first round; records after it are dropped."""
        state = self.checkpoints.latest()
        if state is None:
            state = begin(self.plan.strategy, self.layout.flatten(self.module).numpy(), self.layout.num_trainable)
        self.folder.truncate(state.round)
        return state

    def run(self, state: ServerState) -> ServerState:
        """All rounds after `state`.

        Raises:
            Interrupted: Somebody asked to stop; the last whole round is saved.
            ClientError: A client gave no usable update, and the settings say to end the run.
        """
        try:
            while state.round < self.plan.rounds:
                self.watch.check()
                state = self.run_round(state)
                if time.monotonic() - self._saved_at >= self.plan.checkpoint.every_s:
                    self.save(state)
        finally:
            self.save(state)
        return state

    def run_round(self, state: ServerState) -> ServerState:
        """One round: state in, state out."""
        plan, round, began = self.plan, state.round + 1, time.perf_counter()
        self._seconds = {}
        with self._clock("sample"):  # 1. choose the cohort
            cohort = choose(plan.cohort, self.sizes, plan.workload.seed, round)
        with self._clock("schedule"):  # 2. cut it into blocks
            blocks = form(cohort, self.sizes, plan.block_size, round)
        result = self.backend.run_cohort(state.parameters, blocks, self._count(round))  # 3. train and aggregate
        self._seconds.update(result.seconds)
        with self._clock("record"):  # 4. close the ledger, decide about failures
            ledger = ledgers.close(blocks, result.reports, result.attempts)
            self._write_errors(ledger, round)
            ledgers.judge(ledger, plan.failures, round)
        with self._clock("server"):  # 6. strategy step, digest
            state = self._step(state, result.partial)
            fingerprint = digest(state)
        with self._clock("evaluate"):  # 7. evaluate when due, record
            metrics = {"train/loss": ledger.loss, **self.evaluations.due(state, self.folder)}
        seconds = {**self._seconds, "round": time.perf_counter() - began}
        self._record(state, fingerprint, ledger, result, metrics, seconds)
        return state

    def _step(self, state: ServerState, partial: Partial) -> ServerState:
        mean = self.plan.workload.ring.mean(partial)
        return advance(self.plan.strategy, state, mean, self.layout.num_trainable)

    def save(self, state: ServerState) -> None:
        """A checkpoint of `state`, after everything up to its round is on the disk."""
        self.folder.flush(state.round)
        self.checkpoints.save(state)
        self._saved_at = time.monotonic()

    def _count(self, round: int):
        done = 0

        def count(report: BlockReport) -> None:
            nonlocal done
            done += len(report.columns["examples"])
            self.watch.tell("block", round=round, clients=done, cohort=self.plan.cohort_size)

        return count

    def _write_errors(self, ledger: ledgers.Ledger, round: int) -> None:
        for client, failure in ledger.failures.items():
            self.watch.tell("warning", text=f"client {client} in round {round} is {failure.fate}: {failure.cause}")
            if failure.details:
                self.folder.write_error(round, client, failure.details)

    def _record(
        self,
        state: ServerState,
        fingerprint: str,
        ledger: ledgers.Ledger,
        result: CohortResult,
        metrics: dict[str, float],
        seconds: dict[str, float],
    ) -> None:
        memory = {
            "driver": psutil.Process().memory_info().rss,
            "host": max(report.memory_bytes for report in result.reports),
        }
        record: Record = {
            "round": state.round,
            "time": time.time(),
            "digest": fingerprint,
            "cohort": int(sum(ledger.fates.values())),
            "examples": int(ledger.columns["examples"].sum()),
            "weight": result.partial.weight,
            "fates": ledger.fates,
            "deaths": result.deaths,
            "seconds": seconds,
            "bytes": result.num_bytes,
            "memory_bytes": memory,
            "metrics": {name: float(value) for name, value in metrics.items() if np.isfinite(value)},
        }
        self.folder.clients.append(state.round, ledger.columns)
        self.folder.append("rounds", record)
        self.watch.tell("round", rounds=self.plan.rounds, **record)

    @contextmanager
    def _clock(self, step: str) -> Generator[None]:
        began = time.perf_counter()
        yield
        self._seconds[step] = self._seconds.get(step, 0.0) + time.perf_counter() - began
