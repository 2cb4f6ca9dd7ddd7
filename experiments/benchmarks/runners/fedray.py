"""fedray through its public API: Ray backend, automatic placement, automatic engine, no tracking."""

import json
from pathlib import Path
from typing import Any

import ray
import torch
import yaml

import fedray
from experiments.benchmarks.prepare import model
from experiments.benchmarks.protocol import Answer, Request, serve
from experiments.benchmarks.workloads import Workload


def run(request: Request) -> Answer:
    """One run, timed by the records in its run folder."""
    workload = Workload.read(Path(request.shards) / "workload.json")
    file = Path(request.out) / "experiment.yaml"
    file.write_text(yaml.safe_dump(settings(workload, request)), encoding="utf-8")
    result = fedray.run(fedray.load(file))
    request.save_parameters(torch.cat([p.detach().reshape(-1) for p in result.model.parameters()]))
    lines = (Path(result.folder) / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    return answer([json.loads(line) for line in lines], request)


def settings(workload: Workload, request: Request) -> dict[str, Any]:
    """The experiment file."""
    return {
        "name": workload.name,
        "seed": workload.seed,
        "rounds": request.rounds,
        "data": {"name": "experiments.benchmarks.source:Cached", "args": {"folder": request.shards}},
        "model": model(workload),
        "training": {"optimizer": {"name": "sgd", "lr": workload.lr}, "epochs": 1, "batch_size": workload.batch},
        "cohort": {"size": workload.cohort},
        "actors": {"num_cpus": request.workers},
        "tracking": {"enabled": False},
        "runs": str(Path(request.out) / "runs"),
    }


def answer(records: list[dict[str, Any]], request: Request) -> Answer:
    """Times from one record a round.

    fedray says how long each round took. Should that be less than what passed from the first record to the last, then
    the rest was spent between rounds and is spread over them: nothing may be left out.
    """
    round_s = [record["seconds"]["round"] for record in records]
    passed = records[-1]["time"] - records[0]["time"]
    between = max(0.0, passed - sum(round_s[1:])) / max(1, len(round_s) - 1)
    round_s = [round_s[0], *(seconds + between for seconds in round_s[1:])]
    return Answer(
        round_s=round_s,
        start_s=records[-1]["time"] - sum(round_s) - request.started,
        versions={"fedray": fedray.__version__, "ray": ray.__version__, "torch": torch.__version__},
        accounted=accounted(records),
    )


def accounted(records: list[dict[str, Any]]) -> float:
    """Part of the rounds' wall time that the recorded steps explain; the first round is left out."""
    kept = [record["seconds"] for record in records[1:] or records]
    steps = sum(value for seconds in kept for step, value in seconds.items() if step != "round")
    return steps / sum(seconds["round"] for seconds in kept)


if __name__ == "__main__":
    serve(run)
