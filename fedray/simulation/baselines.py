"""What the federation is compared with: the same model trained centrally, and by each client alone."""

import numpy as np

from fedray import seeds
from fedray.client.evaluation import Evaluated
from fedray.client.host import Alone
from fedray.data.base import FederatedData
from fedray.messages import Floats, Ints
from fedray.simulation.backend import Backend
from fedray.simulation.evaluation import named
from fedray.simulation.plan import Plan
from fedray.simulation.watch import Watch

Metrics = dict[str, float]


def run(plan: Plan, data: FederatedData, backend: Backend, parameters: Floats, watch: Watch) -> dict[str, Metrics]:
    """Trains the baselines that the plan asks for and evaluates them on the central test set.

    Args:
        plan: The experiment.
        data: The population's data; it has a test set.
        backend: Runs the training.
        parameters: The initial parameters, shape (P,).
        watch: Told what is done; asked whether to stop.

    Returns:
        Baseline to its metrics, for instance {"central": {"test/rmse": 14.1}}. The metrics of "local" are means over
        clients.
    """
    found: dict[str, Metrics] = {}
    if plan.baselines.central:
        watch.tell("baseline", text="training centrally, on all examples in one place")
        found["central"] = _train(backend, plan, parameters, [np.arange(data.num_clients)], epochs(plan, data.sizes))
    if plan.baselines.local:
        clients = _local_clients(plan, data.num_clients)
        watch.tell("baseline", text=f"training {len(clients)} clients alone")
        groups = [np.array([client]) for client in clients]
        found["local"] = _train(backend, plan, parameters, groups, epochs(plan, data.sizes))
    return found


def _train(backend: Backend, plan: Plan, parameters: Floats, groups: list[Ints], passes: int) -> Metrics:
    jobs = [Alone(clients=clients, epochs=passes) for clients in groups]
    answers: list[Evaluated] = backend.ask("train_alone", parameters, jobs).wait()
    rows = [named("test", plan.workload.task, answer.stats) for answer in answers]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def epochs(plan: Plan, sizes: Ints) -> int:
    """Passes over the examples: as many as a client makes in the federation on average, unless set.

    Args:
        plan: The experiment.
        sizes: Examples of each client.
    """
    if plan.baselines.epochs is not None:
        return plan.baselines.epochs
    training = plan.workload.training
    passes = float(training.epochs)
    if training.steps is not None:
        batches = np.minimum(training.batch_size or sizes, sizes)
        passes = float(np.mean(training.steps * batches / sizes))
    return max(1, round(plan.rounds * plan.cohort_size * passes / plan.num_clients))


def _local_clients(plan: Plan, num_clients: int) -> Ints:
    wanted = plan.baselines.local_clients or num_clients
    if wanted >= num_clients:
        return np.arange(num_clients)
    return np.sort(seeds.generator(plan.workload.seed, "baseline").choice(num_clients, wanted, replace=False))
