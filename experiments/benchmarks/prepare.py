"""Makes the files of a workload, in fedray's environment: data once, the small files at every start of the bench."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import data
from experiments.benchmarks.workloads import Workload
from fedray.client.training import TrainingConfig, batches
from fedray.config import parse
from fedray.experiment import Experiment
from fedray.messages import DataSpec
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.server.sampling import CohortConfig, choose

HERE = Path(__file__).parent


def prepare(workload: Workload, cache: Path = HERE / "cache") -> Path:
    """The folder of a workload, complete.

    Cohorts, orders and initial parameters are what fedray's own sampler, batches and models give, so that every other
    runner can be made to do exactly fedray's work; they are written anew each time, because fedray may have changed.
    """
    folder = cache / workload.data_key
    if not (folder / "complete").exists():
        for old in cache.glob(f"{workload.name}-*"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        data.write(workload, folder)
        (folder / "complete").touch()
    cohorts = np.stack([cohort(workload, round) for round in range(1, workload.longest + 1)])
    np.save(folder / "cohorts.npy", cohorts)
    np.save(folder / "orders.npy", orders(workload, cohorts[: workload.check_rounds]))
    np.save(folder / "initial.npy", initial(workload))
    workload.write(folder / "workload.json")
    return folder


def cohort(workload: Workload, round: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """fedray's cohort of a round, from 1."""
    sizes = np.full(workload.clients, workload.rows, np.int64)
    return choose(CohortConfig(size=workload.cohort), sizes, workload.seed, round)


def orders(workload: Workload, cohorts: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """fedray's order of every client's rows, (rounds, cohort, rows)."""
    training = TrainingConfig(batch_size=workload.batch)
    return np.array(
        [
            [np.concatenate(batches(training, workload.rows, workload.seed, round, client)) for client in clients]
            for round, clients in enumerate(cohorts.tolist(), start=1)
        ]
    )


def initial(workload: Workload) -> np.ndarray[Any, np.dtype[np.float32]]:
    """fedray's initial parameters, (P,)."""
    spec = DataSpec(features=workload.features, task="classification", num_outputs=workload.classes)
    module = build(parse(Experiment, {"model": model(workload)}).model, spec, workload.seed)
    return Layout(module).flatten(module).numpy()


def model(workload: Workload) -> dict[str, Any]:
    """The model in fedray's settings."""
    if workload.model == "cnn":
        return {"name": "cifar_cnn", "dropout_conv": 0.0, "dropout_dense": 0.0}
    return {"name": "mlp", "hidden": list(workload.hidden)}
