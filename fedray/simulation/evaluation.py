"""Evaluation of the federation's model: centrally, and by the clients."""

import numpy as np

from fedray import seeds
from fedray.client.evaluation import Evaluated
from fedray.client.host import Chunk
from fedray.data.base import FederatedData
from fedray.errors import ClientError
from fedray.messages import Array, Failure, Ints, Stats
from fedray.models.task_base import mean
from fedray.models.tasks import Task, merge
from fedray.server.strategy import ServerState
from fedray.simulation.backend import Answers, Backend
from fedray.simulation.plan import Plan
from fedray.simulation.run_folder import RunFolder

_CLIENTS_AT_ONCE = 32


class Evaluations:
    """Decides what is evaluated after a round.

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

    def begin(self, state: ServerState) -> "Evaluating":
        """Has evaluated what is due after a round, without waiting for it; nothing where reports have not come up."""
        test = clients = None
        if self.plan.hierarchy is not None and state.round % self.plan.hierarchy.periods[-1]:
            return Evaluating(self.plan, state.round, None, None)
        if self.num_test and self._is_due(state.round, self.plan.evaluation.every):
            test = self.backend.ask("evaluate_test", state.parameters, self._chunks())
        if self.plan.evaluation.clients and self._is_due(state.round, self.plan.evaluation.clients_every):
            clients = self.backend.ask("evaluate_clients", state.parameters, self._groups(state.round))
        return Evaluating(self.plan, state.round, test, clients)

    def losses(self, state: ServerState, clients: Ints, edge: int = 0) -> Array:
        """The mean loss on each client's own examples, asked for now, float64, shape (C,): of the model it would get.

        A client that cannot evaluate has NaN.

        Raises:
            ClientError: A client cannot, and `failures.client_error` is abort.
        """
        groups = [clients[i : i + _CLIENTS_AT_ONCE] for i in range(0, len(clients), _CLIENTS_AT_ONCE)]
        model = state.below[0][edge].parameters if self.plan.hierarchy is not None else state.parameters
        answers: list[Evaluated] = self.backend.ask("evaluate_clients", model, groups).wait()
        failures = {client: failure for answer in answers for client, failure in answer.failures.items()}
        if failures and self.plan.failures.client_error == "abort":
            client, failure = min(failures.items(), key=lambda item: item[0])
            raise ClientError(client, state.round + 1, failure.cause, failure.details)
        return np.concatenate([_losses(answer, group) for answer, group in zip(answers, groups, strict=True)])

    def _is_due(self, round: int, every: int) -> bool:
        return round % every == 0 or round == self.plan.rounds

    def _chunks(self) -> list[Chunk]:
        size = self.plan.evaluation.batch_size
        return [Chunk(start=i, stop=min(i + size, self.num_test)) for i in range(0, self.num_test, size)]

    def _groups(self, round: int) -> list[Ints]:
        chosen = self._choose(round)
        return [chosen[i : i + _CLIENTS_AT_ONCE] for i in range(0, len(chosen), _CLIENTS_AT_ONCE)]

    def _choose(self, round: int) -> Ints:
        wanted = self.plan.evaluation.clients
        if not isinstance(wanted, int) or wanted >= self.num_clients:
            return np.arange(self.num_clients)
        draw = seeds.generator(self.plan.workload.seed, "evaluation", round)
        return np.sort(draw.choice(self.num_clients, wanted, replace=False, shuffle=False))


class Evaluating:
    """The evaluation after one round, which may still go on.

    Args:
        plan: The experiment.
        round: The round.
        test: Statistics of the parts of the test set, where that is due.
        clients: Statistics of the clients, where that is due.
    """

    def __init__(self, plan: Plan, round: int, test: Answers | None, clients: Answers | None) -> None:
        self._plan, self._round, self._test, self._clients = plan, round, test, clients

    @property
    def ready(self) -> bool:
        """Whether `finish` need not wait."""
        return all(answers is None or answers.ready for answers in (self._test, self._clients))

    def wait(self) -> None:
        """Waits for all answers."""
        for answers in (self._test, self._clients):
            if answers is not None:
                answers.wait()

    def finish(self, folder: RunFolder) -> dict[str, float]:
        """Metrics by name: "test/loss", "clients/accuracy" and so on; a row for each client goes to the folder.

        Raises:
            ClientError: A client could not evaluate, and `failures.client_error` is abort.
        """
        metrics: dict[str, float] = {}
        if self._test is not None:
            answers: list[Evaluated] = self._test.wait()
            metrics |= named("test", self._plan.workload.task, merge(*(answer.stats for answer in answers)))
        if self._clients is not None:
            found, columns = self._by_clients(self._clients.wait(), folder)
            if columns:
                folder.evaluations.append(self._round, columns)
            metrics |= found
        return metrics

    def _by_clients(self, answers: list[Evaluated], folder: RunFolder) -> tuple[dict[str, float], dict[str, Array]]:
        self._judge({client: f for a in answers for client, f in a.failures.items()}, folder)
        answers = [answer for answer in answers if answer.columns]
        if not answers:
            return {}, {}
        columns = {name: np.concatenate([a.columns[name] for a in answers]) for name in answers[0].columns}
        task = self._plan.workload.task
        columns[task.headline] = task.client_metric(columns)
        metrics = named("clients", task, merge(*(answer.stats for answer in answers)))
        return metrics | spread(task, columns[task.headline]), columns

    def _judge(self, failures: dict[int, Failure], folder: RunFolder) -> None:
        for client, failure in sorted(failures.items()):
            folder.write_error(self._round, client, failure.details)
            if self._plan.failures.client_error == "abort":
                raise ClientError(client, self._round, failure.cause, failure.details)


def _losses(answer: Evaluated, clients: Ints) -> Array:
    """The mean loss of each client, in the order in which they were asked."""
    loss = np.full(len(clients), np.nan)
    if answer.columns:
        able = ~np.isin(clients, list(answer.failures))
        loss[able] = mean(answer.columns["loss_sum"], answer.columns["examples"])
    return loss


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
