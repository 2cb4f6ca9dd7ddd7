"""The benchmark of engines on one device: the same work on each, without Ray and MLflow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_benchmark_runners import request

from experiments.benchmarks import gpu
from experiments.benchmarks.evaluation import evaluate
from experiments.benchmarks.runners import plain
from experiments.benchmarks.shards import Shards

ROOT = Path(__file__).parents[3]
_WITHOUT = """
import sys, warnings

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mlflow"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Refuse())
warnings.simplefilter("error")
from dataclasses import replace
from experiments.benchmarks import gpu
from experiments.benchmarks.workloads import WORKLOADS

gpu.WORKLOADS["W1"] = replace(WORKLOADS["W1"], clients=12, rows=20, cohort=5, test_rows=50)
sys.exit(gpu.main(sys.argv[1:]))
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_it_runs_where_ray_and_mlflow_are_not_installed(tmp_path: Path):
    done = run(
        "--device", "cpu", "--workloads", "W1", "--rounds", 2, "--repeats", 2, "--engines", "auto", "--cache", tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["device"], found["torch"]) == ("cpu", torch.__version__)
    first, again = found["runs"]
    assert first["digest"] == again["digest"]
    assert (first["workload"], first["engine"], first["rounds"]) == ("W1", "vectorised", 2)
    assert first["peak_device_bytes"] is None
    assert first["clients_per_s"] == pytest.approx(5 / first["round_s"])
    assert first["first_round_s"] + first["round_s"] == pytest.approx(first["seconds"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU, and here is one")
def test_device_that_is_not_there_is_one_sentence(tmp_path: Path):
    done = run("--workloads", "W1", "--cache", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu: device is cuda, but")
    assert done.stderr.count("\n") == 1


def test_engines_do_the_work_of_the_plain_loop(shards: Shards, tmp_path: Path):
    plain.run(request(shards, tmp_path, rounds=2))
    loss, accuracy = evaluate(shards, np.load(tmp_path / "final.npy"))
    for engine in ("sequential", "vectorised"):
        found = gpu.measure("tiny", shards, engine=engine, device="cpu", rounds=2)
        assert found.engine == engine
        assert found.loss == pytest.approx(loss, abs=1e-5)
        assert found.accuracy == pytest.approx(accuracy, abs=0.021)


def test_schedule_is_that_of_pfl_research():
    workload = gpu.SCHEDULES["cifar10"]
    assert (workload.rounds, workload.cohort, workload.clients, workload.rows) == (1500, 50, 1000, 50)
    assert (workload.batch, workload.lr, workload.features) == (10, 0.1, (3, 32, 32))
