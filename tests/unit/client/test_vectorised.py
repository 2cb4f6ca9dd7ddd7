"""The vectorised engine gives what the sequential one gives, and a client the same bits in whatever company."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from fedray.client.engines import choose
from fedray.client.gradients import MappedGradients, dense_chain
from fedray.client.optimizers import Adam, OptimizerConfig, Sgd
from fedray.client.sequential import SequentialEngine
from fedray.client.stack import lay_out
from fedray.client.training import TrainingConfig, batches
from fedray.client.vectorised import VectorisedEngine
from fedray.errors import ModelError
from fedray.messages import DataSpec, Shard
from fedray.models.base import ModelConfig
from fedray.models.cnn1d import Cnn1d
from fedray.models.gru import Gru
from fedray.models.mlp import Mlp
from fedray.models.softmax import Linear, Softmax
from fedray.models.table import build
from fedray.models.tasks import ClassificationConfig, RegressionConfig, make_task

CLASSES = DataSpec(features=(6,), task="classification", num_outputs=3)
TARGETS = DataSpec(features=(6,), task="regression", num_outputs=1, target_scale=20.0)
WINDOWS = DataSpec(features=(4, 12), task="classification", num_outputs=3)
SIZES = [40, 17, 3, 20, 20, 25]
CLIENTS = np.array([3, 9, 11, 2, 7, 1])
OPTIMIZERS: list[OptimizerConfig] = [
    Sgd(lr=0.1),
    Sgd(lr=0.05, momentum=0.9, weight_decay=1e-3),
    Sgd(lr=0.05, momentum=0.9, nesterov=True),
    Adam(lr=0.01),
    Adam(lr=0.01, weight_decay=0.01, decoupled=True),
]
EXTRAS = [{}, {"clip_norm": 0.3}, {"proximal": 0.1}, {"epochs": 3}, {"steps": 7}, {"batch_size": None}]


def shards(spec: DataSpec) -> list[Shard]:
    draw = np.random.default_rng(1)
    xs = [draw.normal(size=(size, *spec.features)).astype(np.float32) for size in SIZES]
    if spec.task == "regression":
        return [Shard(x=x, y=(20 * draw.normal(size=len(x))).astype(np.float32)) for x in xs]
    return [Shard(x=x, y=draw.integers(0, spec.num_outputs, len(x))) for x in xs]


def engines(model: ModelConfig, spec: DataSpec, training: TrainingConfig, task=None):
    task = task or make_task(None, spec)
    sequential = SequentialEngine(build(model, spec, 0), task, training, seed=5)
    return sequential, VectorisedEngine(build(model, spec, 0), task, training, 5, largest_shard=max(SIZES))


def agree(model: ModelConfig, spec: DataSpec, training: TrainingConfig, tolerance: float = 1e-6, task=None) -> None:
    sequential, vectorised = engines(model, spec, training, task)
    parameters = sequential.weights.clone()
    expected = sequential.train(parameters, shards(spec), 2, CLIENTS)
    found = vectorised.train(parameters, shards(spec), 2, CLIENTS)
    scale = float(expected.delta.abs().max())
    torch.testing.assert_close(found.delta, expected.delta, rtol=0, atol=tolerance * max(1.0, scale))
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    assert found.steps.tolist() == expected.steps.tolist()


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("model", [Softmax(), Mlp(hidden=(8, 5)), Mlp(hidden=(8,), activation="tanh")], ids=repr)
def test_engines_agree_on_dense_models(model: ModelConfig, optimizer: OptimizerConfig, extra: dict) -> None:
    # Adam divides by the root of tiny squares: the last bits of a gradient are enlarged.
    tolerance = 2e-4 if isinstance(optimizer, Adam) else 1e-6
    agree(model, CLASSES, TrainingConfig(optimizer=optimizer, **{"batch_size": 8, **extra}), tolerance)


@pytest.mark.parametrize("model", [Linear(), Mlp(hidden=(8,))], ids=repr)
def test_engines_agree_on_regression_in_units_of_the_target(model: ModelConfig) -> None:
    agree(model, TARGETS, TrainingConfig(batch_size=8), 1e-5)
    agree(model, TARGETS, TrainingConfig(batch_size=8), 1e-5, RegressionConfig(loss="huber").build(TARGETS))


def test_engines_agree_on_weighted_classes_and_smoothed_labels() -> None:
    weighted = ClassificationConfig(class_weights=(1.0, 5.0, 0.5)).build(CLASSES)
    agree(Mlp(hidden=(8,)), CLASSES, TrainingConfig(batch_size=8), task=weighted)
    smoothed = ClassificationConfig(label_smoothing=0.1).build(CLASSES)
    agree(Mlp(hidden=(8,)), CLASSES, TrainingConfig(batch_size=8), task=smoothed)


@pytest.mark.parametrize(
    ("model", "spec"), [(Mlp(hidden=(8,), activation="gelu"), CLASSES), (Cnn1d(channels=(4,)), WINDOWS)], ids=repr
)
def test_engines_agree_on_other_modules_by_mapping(model: ModelConfig, spec: DataSpec) -> None:
    assert dense_chain(build(model, spec, 0)) is None
    agree(model, spec, TrainingConfig(batch_size=8, clip_norm=0.5), 1e-5)


def test_mapped_gradients_equal_the_ones_by_hand() -> None:
    module, task = build(Mlp(hidden=(8,)), CLASSES, 0), make_task(None, CLASSES)
    engine = VectorisedEngine(module, task, TrainingConfig(batch_size=8), 5, largest_shard=max(SIZES))
    parameters = SequentialEngine(build(Mlp(hidden=(8,)), CLASSES, 0), task, TrainingConfig(), 0).weights.clone()
    by_hand = engine.train(parameters, shards(CLASSES), 1, CLIENTS)
    engine._gradients = MappedGradients(module, task)
    mapped = engine.train(parameters, shards(CLASSES), 1, CLIENTS)
    torch.testing.assert_close(by_hand.delta, mapped.delta, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "extra"), list(itertools.product(OPTIMIZERS, [{}, {"clip_norm": 0.3}, {"epochs": 2}])), ids=str
)
@pytest.mark.parametrize("spec", [CLASSES, TARGETS], ids=["classes", "targets"])
def test_client_has_the_same_bits_in_whatever_company(optimizer: OptimizerConfig, extra: dict, spec: DataSpec) -> None:
    training = TrainingConfig(optimizer=optimizer, batch_size=8, **extra)
    sequential, vectorised = engines(Mlp(hidden=(8, 5)), spec, training)
    parameters, data = sequential.weights.clone(), shards(spec)
    together = vectorised.train(parameters, data, 2, CLIENTS)
    for group in ([0], [1], [2], [5, 2], [4, 1, 0, 3]):
        part = vectorised.train(parameters, [data[i] for i in group], 2, CLIENTS[group])
        assert torch.equal(part.delta, together.delta[group])
        assert part.loss.tolist() == together.loss[group].tolist()


def test_stack_holds_the_batches_of_each_client() -> None:
    training, data = TrainingConfig(batch_size=8, epochs=2), shards(CLASSES)
    stack = lay_out(training, make_task(None, CLASSES), data, CLIENTS, seed=5, round=3, batch_size=8)
    for row, place in enumerate(stack.order):
        expected = batches(training, SIZES[place], 5, 3, int(CLIENTS[place]))
        assert sum(active > row for active in stack.active) == len(expected)
        for step, picked in enumerate(expected):
            rows = stack.rows[step, row][stack.filled[step, row] > 0]
            assert torch.equal(stack.x[rows], torch.from_numpy(data[place].x[picked]))
            assert torch.equal(stack.y[rows], torch.from_numpy(data[place].y[picked]))


def test_engine_is_chosen_by_the_model_and_says_why() -> None:
    sizes, training = np.array(SIZES), TrainingConfig(batch_size=8)
    assert choose(build(Mlp(), CLASSES, 0), training, sizes).name == "vectorised"
    gru = choose(build(Gru(), WINDOWS, 0), training, sizes)
    assert gru.name == "sequential"
    assert "GRU" in gru.why
    assert choose(build(Cnn1d(), WINDOWS, 0), training, sizes).name == "sequential"
    assert choose(build(Mlp(dropout=0.5), CLASSES, 0), training, sizes).name == "sequential"
    assert choose(build(Mlp(hidden=(1000, 1000)), CLASSES, 0), training, sizes).name == "sequential"
    assert choose(build(Mlp(), CLASSES, 0), TrainingConfig(engine="sequential"), sizes).name == "sequential"
    with pytest.raises(ModelError, match=r"training\.engine is vectorised, but the model has buffers"):
        choose(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)), TrainingConfig(engine="vectorised"), sizes)
