"""The runners that need no peer do the same work."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks.evaluation import evaluate
from experiments.benchmarks.protocol import Request
from experiments.benchmarks.runners import fedray as fedray_runner
from experiments.benchmarks.runners import plain, stacked
from experiments.benchmarks.shards import Shards
from fedray.api import run as run_fedray
from fedray.config import parse
from fedray.experiment import Experiment


def request(shards: Shards, out: Path, *, rounds: int = 1, processes: int = 1, same_orders: bool = True) -> Request:
    return Request(
        shards=str(shards.folder),
        out=str(out),
        rounds=rounds,
        workers=1,
        processes=processes,
        same_orders=same_orders,
        started=time.time(),
    )


@pytest.mark.parametrize("rounds", [1, 2])
def test_stacked_floor_equals_plain_loop(shards: Shards, tmp_path, rounds):
    finals = []
    for runner in (plain, stacked):
        answer = runner.run(request(shards, tmp_path, rounds=rounds))
        assert len(answer.round_s) == rounds
        finals.append(np.load(tmp_path / "final.npy"))
    np.testing.assert_allclose(finals[0], finals[1], atol=1e-5, rtol=0)
    assert np.abs(finals[0] - shards.initial).max() > 1e-3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("runner", [plain, stacked])
def test_two_processes_equal_one(shards: Shards, tmp_path, runner):
    finals = []
    for processes in (1, 2):
        runner.run(request(shards, tmp_path, processes=processes))
        finals.append(np.load(tmp_path / "final.npy"))
    np.testing.assert_allclose(finals[0], finals[1], atol=1e-6, rtol=0)


def test_fedray_equals_plain_loop(shards: Shards, tmp_path):
    asked = request(shards, tmp_path)
    plain.run(asked)
    settings = fedray_runner.settings(shards.workload, asked) | {"actors": {"backend": "serial"}}
    result = run_fedray(parse(Experiment, settings))
    ours = np.concatenate([p.detach().numpy().reshape(-1) for p in result.model.parameters()])
    np.testing.assert_allclose(ours, np.load(tmp_path / "final.npy"), atol=1e-5, rtol=0)
    lines = (Path(result.folder) / "rounds.jsonl").read_text().splitlines()
    answer = fedray_runner.answer([json.loads(line) for line in lines], asked)
    assert len(answer.round_s) == 1
    assert 0 < answer.accounted <= 1.001


def test_other_orders_give_other_parameters(shards: Shards, tmp_path):
    finals = []
    for same in (True, False):
        plain.run(request(shards, tmp_path, same_orders=same))
        finals.append(np.load(tmp_path / "final.npy"))
    assert not np.array_equal(finals[0], finals[1])


def test_training_improves_the_test_loss(shards: Shards, tmp_path):
    before, _ = evaluate(shards, shards.initial)
    plain.run(request(shards, tmp_path, rounds=2))
    after, accuracy = evaluate(shards, np.load(tmp_path / "final.npy"))
    assert after < before
    assert 0 < accuracy <= 1
