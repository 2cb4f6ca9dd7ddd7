"""Evaluation of the federation's model: centrally, and by the clients."""

from typing import Any

import numpy as np

from fedray import seeds
from fedray.client.evaluation import Evaluated
from fedray.client.host import Chunk
from fedray.data.base import FederatedData
from fedray.errors import ClientError
from fedray.messages import Array, Failure, Ints, Stats
from fedray.models.tasks import Task, merge
from fedray.server.strategy import ServerState
from fedray.simulation.backend import Backend
from fedray.simulation.plan import Plan
from fedray.simulation.run_folder import RunFolder

_CLIENTS_AT_ONCE = 32


class Evaluations:
    """Decides what is evaluated after a round, and puts the answers together in an order of their own.

    Args:
        plan: The experiment.
        data: The population's data.
        backend: Runs the evaluation.
    """

    def __init__(self, plan: Plan, data: FederatedData, backend: Backend) -> None:
        self.plan, self.backend = plan, backend
        self.num_clients = data.num_clients
        test = data.test()
        self.num_test = 0 if test is None else len(test)

    def due(self, state: ServerState, folder: RunFolder) -> dict[str, float]:
        """Metrics after a round, by name; clients' own go to the folder too."""
        metrics: dict[str, float] = {}
        if self.num_test and self._is_due(state.round, self.plan.evaluation.every):
            metrics |= self.test(state)
        if self.plan.evaluation.clients and self._is_due(state.round, self.plan.evaluation.clients_every):
            found, columns = self.clients(state, folder)
            if columns:
                folder.evaluations.append(state.round, columns)
            metrics |= found
        return metrics

    def _is_due(self, round: int, every: int) -> bool:
        return round % every == 0 or round == self.plan.rounds

    def test(self, state: ServerState) -> dict[str, float]:
        """Metrics on the central test set: "test/loss" and so on."""
        answers: list[Evaluated] = self.backend.map("evaluate_test", state.parameters, self._chunks())
        return named("test", self.plan.workload.task, merge(*(answer.stats for answer in answers)))

    def _chunks(self) -> list[Chunk]:
        size = self.plan.evaluation.batch_size
        return [Chunk(start=i, stop=min(i + size, self.num_test)) for i in range(0, self.num_test, size)]

    def clients(self, state: ServerState, folder: RunFolder) -> tuple[dict[str, float], dict[str, Array]]:
        """Metrics over clients' own examples ("clients/..."), and a row for each client.

        Raises:
            ClientError: A client could not evaluate, and `failures.client_error` is abort.
        """
        chosen = self._choose(state.round)
        groups: list[Any] = [chosen[i : i + _CLIENTS_AT_ONCE] for i in range(0, len(chosen), _CLIENTS_AT_ONCE)]
        answers: list[Evaluated] = self.backend.map("evaluate_clients", state.parameters, groups)
        self._judge({client: f for a in answers for client, f in a.failures.items()}, state.round, folder)
        answers = [answer for answer in answers if answer.columns]
        if not answers:
            return {}, {}
        columns = {name: np.concatenate([a.columns[name] for a in answers]) for name in answers[0].columns}
        task = self.plan.workload.task
        columns[task.headline] = task.client_metric(columns)
        metrics = named("clients", task, merge(*(answer.stats for answer in answers)))
        return metrics | spread(task, columns[task.headline]), columns

    def _judge(self, failures: dict[int, Failure], round: int, folder: RunFolder) -> None:
        for client, failure in sorted(failures.items()):
            folder.write_error(round, client, failure.details)
            if self.plan.failures.client_error == "abort":
                raise ClientError(client, round, failure.cause, failure.details)

    def _choose(self, round: int) -> Ints:
        wanted = self.plan.evaluation.clients
        if not isinstance(wanted, int) or wanted >= self.num_clients:
            return np.arange(self.num_clients)
        draw = seeds.generator(self.plan.workload.seed, "evaluation", round)
        return np.sort(draw.choice(self.num_clients, wanted, replace=False, shuffle=False))


def named(prefix: str, task: Task, stats: Stats) -> dict[str, float]:
    """Metrics from statistics, with a prefix."""
    return {f"{prefix}/{name}": value for name, value in task.metrics(stats).items()}


def spread(task: Task, values_C: Array) -> dict[str, float]:
    """How a metric differs between clients: quantiles, and the mean of the worst 10 %, shape (C,) in."""
    finite = np.sort(values_C[np.isfinite(values_C)])
    if not len(finite):
        return {}
    count = max(1, len(finite) // 10)
    worst = finite[:count] if task.higher_is_better else finite[-count:]
    name = f"clients/{task.headline}"
    quantiles = {f"{name}_p{q}": float(np.quantile(finite, q / 100)) for q in (10, 50, 90)}
    return {f"{name}_mean": float(finite.mean()), **quantiles, f"{name}_worst10": float(worst.mean())}
