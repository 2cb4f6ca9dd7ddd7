"""A tiny federation of our own, run serially: small enough for dozens of runs in a test session."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedray.config import parse
from fedray.data.base import FederatedData
from fedray.experiment import Experiment, build_plan
from fedray.messages import Block, DataSpec, Shard
from fedray.simulation.backend import OnReport, SerialBackend
from fedray.simulation.plan import Plan
from fedray.simulation.run import execute
from fedray.simulation.run_folder import RunFolder
from fedray.simulation.watch import Watch

SPEC = DataSpec(features=(3,), task="classification", num_outputs=2)


class Tiny(FederatedData):
    """Client c has 4 + c % 5 examples; `break_client` can spoil one of them."""

    def __init__(self, num_clients: int = 12, spoil: Callable[[int, Shard], Shard] | None = None) -> None:
        self.spec, self.sizes, self.spoil = SPEC, 4 + np.arange(num_clients) % 5, spoil

    def shard(self, client: int) -> Shard:
        shard = self._make(client, int(self.sizes[client]) if client < len(self.sizes) else 40)
        return self.spoil(client, shard) if self.spoil else shard

    def test(self) -> Shard:
        return self._make(10_000, 40)

    @staticmethod
    def _make(client: int, num: int) -> Shard:
        random = np.random.default_rng(client)
        x = random.normal(size=(num, 3)).astype(np.float32)
        return Shard(x=x, y=(x[:, 0] + 0.3 * x[:, 1] > 0).astype(np.int64))


def experiment(**more: Any) -> Experiment:
    defaults = {
        "rounds": 4,
        "model": {"name": "mlp", "hidden": [4], "dropout": 0.2},
        "training": {"batch_size": 3, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.5}},
        "strategy": {"name": "fedadam", "lr": 0.1},
        "cohort": {"size": 6},
        "blocks": {"size": 2},
        "evaluation": {"clients": 5, "clients_every": 2, "holdout": 0.25},
        "actors": {"backend": "serial"},
        "tracking": {"enabled": False},
        "checkpoint": {"every_s": 1e6},
    }
    return parse(Experiment, {**defaults, **more})


class Run:
    """One run of an experiment in a folder."""

    def __init__(self, folder: Path, *, data: FederatedData | None = None, **more: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = RunFolder(folder)
        self.data = data or Tiny()
        self.experiment = experiment(**more)
        self.plan: Plan = build_plan(self.experiment, Tiny(self.data.num_clients))
        self.watch = Watch()

    def go(self, rounds: int | None = None, backend: type[SerialBackend] = SerialBackend) -> "Run":
        plan = self.plan if rounds is None else replace(self.plan, rounds=rounds)
        start = lambda: backend(plan.workload, self.data, self.watch, plan.failures)  # noqa: E731
        execute(plan=plan, data=self.data, backend=start, folder=self.folder, watch=self.watch)
        return self

    @property
    def rounds(self) -> list[dict[str, Any]]:
        return RunFolder(self.folder.path).lines("rounds")

    @property
    def digests(self) -> list[str]:
        return [record["digest"] for record in self.rounds]

    @property
    def clients(self) -> pd.DataFrame:
        return without_machine(self.folder.clients.read().to_pandas())

    @property
    def evaluated(self) -> pd.DataFrame:
        return self.folder.evaluations.read().to_pandas()

    @property
    def status(self) -> dict[str, Any]:
        return self.folder.status()


def without_machine(clients: pd.DataFrame) -> pd.DataFrame:
    """The ledger without what the machine took."""
    return clients.drop(columns=["seconds", "pid", "actor", "node", "time"])


def crash_in(round: int, error: type[BaseException] = MemoryError, block: int = 1) -> type[SerialBackend]:
    """A backend whose process breaks down in a round, when some blocks are done."""

    class Crashing(SerialBackend):
        def run_cohort(self, parameters: Any, blocks: Any, on_report: OnReport, beside: Any, kept: Any) -> Any:
            def watch_out(report: Any) -> None:
                on_report(report)
                if any(each.round == round for each in blocks) and report.block == block:
                    raise error("the machine went away")

            return super().run_cohort(parameters, blocks, watch_out, beside, kept)

    return Crashing


def block(index: int, start: int, *clients: int) -> Block:
    return Block(round=1, index=index, start=start, clients=np.array(clients), work=1.0)
