"""Apple's pfl-research: its SimulatedBackend and FederatedAveraging, in one process or in several.

Several processes are started as its guide "Fast distributed simulations" does: the same script once for each, with
PFL_WORKER_ADDRESSES and PFL_WORKER_RANK.
"""

import contextlib
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import torch

from experiments.benchmarks import networks
from experiments.benchmarks.protocol import Answer, Laps, Request, serve
from experiments.benchmarks.shards import Shards

RANK = "PFL_WORKER_RANK"


def main() -> None:
    """Rank 0 starts the others before pfl is imported, which connects to them."""
    if os.environ.get(RANK):
        serve(run)
        return
    serve(_first)


def _first(request: Request) -> Answer:
    if request.processes == 1:
        return run(request)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = ",".join(f"127.0.0.1:{port + rank}" for rank in range(request.processes))
    os.environ["PFL_WORKER_ADDRESSES"] = addresses
    others = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "experiments.benchmarks.runners.pfl", sys.argv[1], f"{sys.argv[2]}.{rank}"],
            env={**os.environ, RANK: str(rank)},
        )
        for rank in range(1, request.processes)
    ]
    os.environ[RANK] = "0"
    answer = run(request)
    for process in others:
        process.wait()
    return answer


def run(request: Request) -> Answer:
    """What every process does."""
    import asyncio

    asyncio.set_event_loop(asyncio.new_event_loop())  # pfl asks for one that Python no longer makes by itself
    torch.set_num_threads(1)
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.hyperparam import NNTrainHyperParams
    from pfl.model.pytorch import PyTorchModel

    shards, laps = Shards(request.shards), Laps()
    workload = shards.workload
    module = _module(shards)
    data = _population(shards, request)
    model = PyTorchModel(
        model=module,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
    )
    with contextlib.redirect_stdout(Path(os.devnull).open("w")):
        FederatedAveraging().run(
            algorithm_params=NNAlgorithmParams(
                central_num_iterations=request.rounds,
                evaluation_frequency=10**9,
                train_cohort_size=workload.cohort,
                val_cohort_size=None,
            ),
            backend=SimulatedBackend(training_data=data, val_data=data, postprocessors=[WeightByDatapoints()]),
            model=model,
            model_train_params=NNTrainHyperParams(
                local_num_epochs=1, local_learning_rate=workload.lr, local_batch_size=workload.batch
            ),
            callbacks=[_stopwatch(laps)],
            send_metrics_to_platform=False,
        )
    if os.environ.get(RANK, "0") == "0":
        request.save_parameters(torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy())
    return laps.answer(request, {name: version(name) for name in ("pfl", "torch")})


def _module(shards: Shards) -> torch.nn.Module:
    """The workload's model with the two methods that pfl calls."""
    module = networks.build(shards.workload)
    networks.bind(module).copy_(torch.from_numpy(shards.initial))

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(module(x), y)

    def metrics(x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        return {}

    module.loss, module.metrics = loss, metrics
    return module


def _population(shards: Shards, request: Request):
    """The shards as pfl's in-memory data set; the sampler hands out the given cohorts, client by client."""
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.pytorch import PyTorchTensorDataset

    x, y = torch.from_numpy(shards.x), torch.from_numpy(shards.y)
    places = cycle((round, place) for round in range(len(shards.cohorts)) for place in range(shards.workload.cohort))

    def user(where: tuple[int, int]) -> PyTorchTensorDataset:
        client = int(shards.cohorts[where])
        order = torch.from_numpy(shards.orders[where]) if request.same_orders else torch.randperm(len(y[client]))
        return PyTorchTensorDataset((x[client][order], y[client][order]))

    return FederatedDataset(user, lambda: next(places))


def _stopwatch(laps: Laps):
    from pfl.callback.base import TrainingProcessCallback
    from pfl.metrics import Metrics

    class Stopwatch(TrainingProcessCallback):
        """Laps of rounds."""

        def on_train_begin(self, *, model) -> Metrics:
            laps.lap()
            return Metrics()

        def after_central_iteration(self, aggregate_metrics, model, *, central_iteration) -> tuple[bool, Metrics]:
            laps.lap()
            return False, Metrics()

    return Stopwatch()


if __name__ == "__main__":
    main()
