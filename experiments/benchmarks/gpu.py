"""The engines on one device, without Ray: clients a second, memory, and whether they do the same work.

    python -m experiments.benchmarks.gpu --device cuda --workloads W1 W2 --schedule cifar10

Needs torch and what fedray imports below its runtime; neither Ray nor MLflow.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks import machine
from experiments.benchmarks.evaluation import evaluate
from experiments.benchmarks.prepare import HERE, cohort, model, prepare
from experiments.benchmarks.shards import Shards
from experiments.benchmarks.workloads import WORKLOADS, Workload
from fedray.client.device import chosen, model_of_gpu
from fedray.client.host import Host
from fedray.config import parse
from fedray.errors import UserError
from fedray.experiment import Experiment, build_data, build_plan
from fedray.models.base import Layout
from fedray.models.table import build
from fedray.server.strategy import advance, begin
from fedray.simulation.blocks import form
from fedray.simulation.checkpoint import digest

ENGINES = ("auto", "sequential", "vectorised")
SCHEDULES = {"cifar10": replace(WORKLOADS["W2"], rounds=1500)}
"""pfl-research's CIFAR-10 benchmark in full, on W2's images: 1,500 rounds of 50 clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One workload on one engine.

    Attributes:
        workload: Its name, or that of the schedule.
        engine: What trained.
        why: Why that engine.
        rounds: Rounds trained.
        seconds: Wall time of all rounds, the first included.
        first_round_s: Wall time of the first round, in which a GPU is warmed up.
        round_s: The median round; the first one is left out where there are others.
        clients_per_s: Cohort by `round_s`.
        peak_device_bytes: Most memory that torch had in use on the GPU at once; None on the processor.
        loss: Of the test set, after the last round.
        accuracy: The same.
        digest: Of the parameters, the same wherever the bits are the same.
    """

    workload: str
    engine: str
    why: str
    rounds: int
    seconds: float
    first_round_s: float
    round_s: float
    clients_per_s: float
    peak_device_bytes: int | None
    loss: float
    accuracy: float
    digest: str


def measure(name: str, shards: Shards, *, engine: str, device: str, rounds: int) -> Measured:
    """Trains some rounds: fedray's cohorts, blocks, sums and server step, and nothing beside them.

    Args:
        name: What is measured, for the record.
        shards: The workload.
        engine: Setting `training.engine`.
        device: Setting `device`.
        rounds: How many.

    Raises:
        UserError: The device is not there, or the engine cannot train the model.
    """
    workload = shards.workload
    experiment = parse(Experiment, settings(shards, engine, device, rounds))
    data = build_data(experiment)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    plan = build_plan(experiment, data)
    module = build(plan.workload.model, plan.workload.spec, plan.workload.seed)
    layout, times = Layout(module), list[float]()
    state = begin(plan.strategy, layout.flatten(module).numpy(), layout.num_trainable)
    with closing(Host(plan.workload, data)) as host:
        for round in range(1, rounds + 1):
            began = time.perf_counter()
            blocks = form(cohort(workload, round), host.holdout.sizes, plan.block_size, round)
            (partial,) = host.train(state.parameters, blocks, hand_over=True).partials
            state = advance(plan.strategy, state, plan.workload.ring.mean(partial), layout.num_trainable)
            times.append(time.perf_counter() - began)
    loss, accuracy = evaluate(shards, state.parameters)
    round_s = statistics.median(times[1:] or times)
    return Measured(
        workload=name,
        engine=plan.workload.engine.name,
        why=plan.workload.engine.why,
        rounds=rounds,
        seconds=sum(times),
        first_round_s=times[0],
        round_s=round_s,
        clients_per_s=workload.cohort / round_s,
        peak_device_bytes=torch.cuda.max_memory_allocated() if device == "cuda" else None,
        loss=loss,
        accuracy=accuracy,
        digest=digest(state),
    )


def settings(shards: Shards, engine: str, device: str, rounds: int) -> dict[str, Any]:
    """The experiment file."""
    workload = shards.workload
    return {
        "name": workload.name,
        "seed": workload.seed,
        "rounds": rounds,
        "data": {"name": "experiments.benchmarks.source:Cached", "args": {"folder": str(shards.folder)}},
        "model": model(workload),
        "training": {
            "engine": engine,
            "optimizer": {"name": "sgd", "lr": workload.lr},
            "epochs": 1,
            "batch_size": workload.batch,
        },
        "cohort": {"size": workload.cohort},
        "device": device,
        "actors": {"backend": "serial"},
    }


def about(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    return {"device": model_of_gpu(chosen(device)) or "cpu", "torch": torch.__version__, "machine": machine.describe()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: prints JSON; progress goes to stderr.

    Returns:
        The exit status: 2 where what was asked for cannot be done.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--workloads", nargs="*", default=["W1", "W2"], choices=list(WORKLOADS))
    parser.add_argument("--schedule", nargs="*", default=[], choices=list(SCHEDULES), help="whole trainings")
    parser.add_argument("--engines", nargs="+", default=["sequential", "vectorised"], choices=ENGINES)
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of 20 and of a schedule's own")
    parser.add_argument("--repeats", type=int, default=1, help="how often each is measured; digests should be equal")
    parser.add_argument("--cache", type=Path, default=HERE / "cache", help="folder of the generated data")
    given = parser.parse_args(arguments)
    wanted = [(name, replace(WORKLOADS[name], rounds=20)) for name in given.workloads]
    wanted += [(name, SCHEDULES[name]) for name in given.schedule]
    try:
        found = {**about(given.device), "runs": _all(given, wanted)}
    except UserError as error:
        print(f"gpu: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1))
    return 0


def _all(given: argparse.Namespace, wanted: Sequence[tuple[str, Workload]]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for name, workload in wanted:
        shards = Shards(prepare(replace(workload, rounds=1, more_rounds={}), given.cache))
        for engine in given.engines:
            for _ in range(given.repeats):
                rounds = given.rounds or workload.rounds
                run = measure(name, shards, engine=engine, device=given.device, rounds=rounds)
                print(f"{name} {run.engine}: {run.clients_per_s:,.1f} clients/s", file=sys.stderr)
                runs.append(asdict(run))
    return runs


if __name__ == "__main__":
    sys.exit(main())
