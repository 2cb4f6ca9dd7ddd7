"""Training on a real GPU: the same bits each time and in any company, and nearly those of the processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_vectorised import CLIENTS, MODELS, SIZES, shards

import fedray
from fedray.aggregation.ring import Ring
from fedray.client.device import repeatable
from fedray.client.optimizers import Sgd
from fedray.client.sequential import SequentialEngine
from fedray.client.training import TrainingConfig
from fedray.client.vectorised import VectorisedEngine
from fedray.config import parse
from fedray.messages import DataSpec
from fedray.models.base import ModelConfig
from fedray.models.cifar_cnn import CifarCnn
from fedray.models.table import build
from fedray.models.tasks import make_task

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
]
TRAINING = TrainingConfig(optimizer=Sgd(lr=0.05, momentum=0.9), batch_size=8, clip_norm=0.5, epochs=2)
PICTURES = DataSpec(features=(3, 12, 12), task="classification", num_outputs=3)
EVERY_MODEL = [*MODELS, (CifarCnn(), PICTURES)]


@pytest.fixture(autouse=True)
def cuda():
    with repeatable("cuda") as device:
        yield device


@pytest.mark.parametrize(("model", "spec"), EVERY_MODEL, ids=repr)
def test_engines_on_a_gpu_give_equal_bits_in_any_company_and_agree_with_the_processor(
    model: ModelConfig, spec: DataSpec, cuda: torch.device
):
    task, data = make_task(None, spec), shards(spec)
    on_processor = SequentialEngine(build(model, spec, 0), task, TRAINING, 5)
    parameters = on_processor.weights.clone()
    expected = on_processor.train(parameters, data, 2, CLIENTS).delta
    stacked = VectorisedEngine(build(model, spec, 0), task, TRAINING, 5, max(SIZES), cuda)
    for engine in (stacked, SequentialEngine(build(model, spec, 0), task, TRAINING, 5, cuda)):
        found = engine.train(parameters, data, 2, CLIENTS).delta.clone()
        assert torch.equal(engine.train(parameters, data, 2, CLIENTS).delta, found)
        for group in ([0], [5, 2], [4, 1, 0, 3]):
            part = engine.train(parameters, [data[i] for i in group], 2, CLIENTS[group]).delta
            assert torch.equal(part, found[group])
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-4 * scale)


def test_a_client_has_the_same_bits_among_few_and_many(cuda: torch.device):
    model, spec = MODELS[1]
    engine = VectorisedEngine(build(model, spec, 0), make_task(None, spec), TRAINING, 5, max(SIZES), cuda)
    parameters, clients = torch.randn(sum(p.numel() for p in build(model, spec, 0).parameters())), np.arange(300)
    data = [shards(spec)[i % 6] for i in range(300)]
    together = engine.train(parameters, data, 2, clients).delta
    for client in (0, 127, 128, 299):
        alone = engine.train(parameters, [data[client]], 2, clients[client : client + 1]).delta
        assert torch.equal(alone[0], together[client])


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e9], ids=["small", "large", "too large"])
def test_sums_of_a_gpu_are_those_of_the_processor(scale: float, cuda: torch.device):
    ring, weights = Ring(fraction_bits=30, cohort=50), torch.arange(1, 51)
    delta = scale * torch.randn(50, 400_000)
    delta[7, 5], delta[9, 1] = float("nan"), float("inf")
    totals = [torch.zeros(400_000, dtype=torch.int64) for _ in range(2)]
    fits = [ring.add(values, weights, total) for values, total in zip((delta, delta.to(cuda)), totals, strict=True)]
    assert torch.equal(*fits)
    assert torch.equal(*totals)


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_runs_on_a_gpu_have_the_same_digest(engine: str, tmp_path: Path):
    settings = {
        "rounds": 3,
        "data": {"name": "fleet", "machines": 20},
        "model": {"name": "mlp", "hidden": [8], "dropout": 0.2},
        "training": {"engine": engine},
        "cohort": {"size": 10},
        "evaluation": {"clients": "all", "holdout": 0.2},
        "device": "cuda",
        "actors": {"backend": "serial"},
        "tracking": {"enabled": False},
        "runs": str(tmp_path),
    }
    state = torch.cuda.get_rng_state()
    digests = {
        fedray.run(parse(fedray.Experiment, {**settings, "blocks": {"size": size}})).digest for size in (10, 10, 3)
    }
    assert len(digests) == 1
    assert torch.equal(torch.cuda.get_rng_state(), state)
