"""The vectorised engine gives what the sequential one gives, and a client the same bits in whatever company."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedray.client.engines import choose
from fedray.client.mapped import MappedGradients
from fedray.client.optimizers import Adam, OptimizerConfig, Sgd
from fedray.client.sequential import SequentialEngine
from fedray.client.stack import lay_out
from fedray.client.training import TrainingConfig, batches
from fedray.client.vectorised import VectorisedEngine
from fedray.errors import ModelError
from fedray.messages import DataSpec, Joined, Shard
from fedray.models.base import ModelConfig
from fedray.models.cnn1d import Cnn1d
from fedray.models.gru import Gru
from fedray.models.lstm import Lstm
from fedray.models.mlp import Mlp
from fedray.models.softmax import Linear, Softmax
from fedray.models.table import build
from fedray.models.tasks import ClassificationConfig, RegressionConfig, make_task

CLASSES = DataSpec(features=(6,), task="classification", num_outputs=3)
TARGETS = DataSpec(features=(6,), task="regression", num_outputs=1, target_scale=20.0)
WINDOWS = DataSpec(features=(4, 12), task="classification", num_outputs=3)
SPEEDS = DataSpec(features=(14, 10), task="regression", num_outputs=1, target_scale=20.0)
IMAGES = DataSpec(features=(2, 5, 6), task="classification", num_outputs=3)
RUL = DataSpec(features=(33,), task="regression", num_outputs=1, target_scale=20.0)
WIDE = DataSpec(features=(50,), task="classification", num_outputs=3)
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


@pytest.fixture(autouse=True)
def one_thread():
    """What a host has unless an experiment says otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def alone_as_together(model: ModelConfig, spec: DataSpec, training: TrainingConfig) -> None:
    sequential, vectorised = engines(model, spec, training)
    parameters, data = sequential.weights.clone(), shards(spec)
    together = vectorised.train(parameters, data, 2, CLIENTS)
    for group in ([0], [2], [5, 2], [4, 1, 0, 3]):
        part = vectorised.train(parameters, [data[i] for i in group], 2, CLIENTS[group])
        assert torch.equal(part.delta, together.delta[group])
        assert part.loss.tolist() == together.loss[group].tolist()


@pytest.mark.parametrize("extra", [{}, {"epochs": 3}, {"steps": 7}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize("place", [0, 1], ids=["sequential", "vectorised"])
def test_client_that_takes_fewer_steps_trains_as_if_no_more_were_wanted(place: int, extra: dict):
    settings = {"batch_size": 8, **{name: value for name, value in extra.items() if name != "momentum"}}
    training = TrainingConfig(optimizer=Sgd(lr=0.05, momentum=extra.get("momentum", 0)), **settings)
    most_steps = np.array([2, 1000, 1, 2, 5, 1])
    engine = engines(Mlp(hidden=(8, 5), dropout=0.3), CLASSES, training)[place]
    data, parameters = shards(CLASSES), engines(Mlp(hidden=(8, 5), dropout=0.3), CLASSES, training)[0].weights.clone()
    found = engine.train(parameters, data, 2, CLIENTS, most_steps)
    whole = engine.train(parameters, data, 2, CLIENTS)
    assert found.steps.tolist() == np.minimum(whole.steps, most_steps).tolist()
    found_delta, found_loss = found.delta.clone(), found.loss.copy()
    for row, steps in enumerate(found.steps.tolist()):
        fewer = training.model_copy(update={"epochs": 1, "steps": steps})
        alone = engines(Mlp(hidden=(8, 5), dropout=0.3), CLASSES, fewer)[place]
        expected = alone.train(parameters, [data[row]], 2, CLIENTS[row : row + 1])
        assert torch.equal(found_delta[row], expected.delta[0])
        assert found_loss[row] == expected.loss[0]


MODELS = [
    (Softmax(), CLASSES),
    (Mlp(hidden=(8, 5), dropout=0.3), CLASSES),
    (Mlp(hidden=(8, 5), activation="tanh"), TARGETS),
    (Mlp(hidden=(8,), activation="gelu"), CLASSES),
    (Cnn1d(channels=(4,), dropout=0.3), WINDOWS),
    (Gru(hidden=4, layers=2, dropout=0.3), WINDOWS),
    (Lstm(hidden=4, dropout=0.3), SPEEDS),
    (Lstm(hidden=4, layers=2, dropout=0.3), WINDOWS),
]


def tolerance_of(optimizer: OptimizerConfig) -> float:
    """Adam divides by the root of tiny squares: the last bits of a gradient are enlarged."""
    return 2e-3 if isinstance(optimizer, Adam) else 1e-5


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize(("model", "spec"), MODELS, ids=repr)
def test_engines_agree_and_company_changes_no_bit(
    model: ModelConfig, spec: DataSpec, optimizer: OptimizerConfig
) -> None:
    training = TrainingConfig(optimizer=optimizer, batch_size=8)
    agree(model, spec, training, tolerance_of(optimizer))
    alone_as_together(model, spec, training)


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize("optimizer", [OPTIMIZERS[1], OPTIMIZERS[4]], ids=repr)
def test_engines_agree_and_company_changes_no_bit_with_other_settings(optimizer: OptimizerConfig, extra: dict) -> None:
    training = TrainingConfig(optimizer=optimizer, **{"batch_size": 8, **extra})
    model = Mlp(hidden=(8, 5), dropout=0.2)
    agree(model, CLASSES, training, tolerance_of(optimizer))
    alone_as_together(model, CLASSES, training)


@pytest.mark.parametrize("spec", [RUL, WIDE], ids=["one output", "odd widths"])
@pytest.mark.parametrize("extra", [{}, {"clip_norm": 0.3}], ids=str)
def test_company_changes_no_bit_where_mkl_would(spec: DataSpec, extra: dict) -> None:
    """One output, and widths that are not a multiple of 4, are where MKL looks at addresses and at numbers."""
    alone_as_together(Mlp(hidden=(33, 30), dropout=0.1), spec, TrainingConfig(batch_size=20, **extra))
    alone_as_together(Mlp(hidden=(33,), activation="gelu"), spec, TrainingConfig(batch_size=20, **extra))


def test_company_with_short_batches_changes_no_bit_in_units_of_the_target() -> None:
    """A share of 1/7 is a number where all batches are full, and a tensor where one is not."""
    spec = DataSpec(features=(6,), task="regression", num_outputs=1, target_scale=13.7)
    draw = np.random.default_rng(0)
    data = [
        Shard(x=draw.normal(size=(n, 6)).astype(np.float32), y=(13.7 * draw.normal(size=n)).astype(np.float32))
        for n in (14, 10)
    ]
    module = build(Mlp(hidden=(8,)), spec, 0)
    engine = VectorisedEngine(module, make_task(None, spec), TrainingConfig(batch_size=7), 5, largest_shard=14)
    parameters = torch.cat([p.detach().flatten() for p in module.parameters()])
    together = engine.train(parameters, data, 1, np.array([0, 1])).delta
    assert torch.equal(engine.train(parameters, data[:1], 1, np.array([0])).delta[0], together[0])


@pytest.mark.parametrize("model", [Cnn1d(channels=(16, 6)), Lstm(hidden=32), Gru(hidden=32)], ids=lambda m: m.name)
def test_company_changes_no_bit_of_larger_mapped_models(model: ModelConfig) -> None:
    alone_as_together(model, SPEEDS, TrainingConfig(batch_size=20))


def test_large_blocks_of_mapped_models_train_in_parts() -> None:
    model, training = Cnn1d(channels=(4,)), TrainingConfig(batch_size=8)
    sequential, vectorised = engines(model, WINDOWS, training)
    parameters, clients = sequential.weights.clone(), np.arange(38)
    data = [shards(WINDOWS)[i % 6] for i in range(38)]
    together = vectorised.train(parameters, data, 2, clients)
    alone = vectorised.train(parameters, [data[35]], 2, clients[35:36])
    assert torch.equal(together.delta[35], alone.delta[0])
    assert together.steps.tolist() == [training.num_steps(len(shard)) for shard in data]


class Various(nn.Module):
    """Most of what a user's module may use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 3, stride=2, dilation=2, padding="valid", bias=False)
        self.same = nn.Conv1d(6, 6, 4, padding="same")
        self.norm, self.drop1d, self.drop = nn.GroupNorm(2, 6), nn.Dropout1d(0.3), nn.Dropout(0.4)
        self.cells = nn.GRU(6, 4, 2, bidirectional=True, dropout=0.2)
        self.output = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1d(self.norm(self.same(self.conv(x))))
        states, last = self.cells(x.permute(2, 0, 1))
        return self.output(self.drop(states[-1] + self.drop(last[-1].repeat(1, 2))))


class TwoDimensional(nn.Sequential):
    def __init__(self) -> None:
        pool = nn.AdaptiveAvgPool2d(1)
        conv = nn.Conv2d(2, 6, (3, 2), stride=(1, 2), padding=(0, 1))
        super().__init__(conv, nn.Dropout2d(0.2), nn.Tanh(), pool, nn.Flatten(), nn.Linear(6, 3))


class ByHand(ModelConfig):
    name: str = "by_hand"
    kind: str

    def build(self, spec: DataSpec) -> nn.Module:
        return Various() if self.kind == "various" else TwoDimensional()


@pytest.mark.parametrize(("kind", "spec"), [("various", WINDOWS), ("images", IMAGES)])
def test_users_modules_can_be_stacked(kind: str, spec: DataSpec) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch pads an even kernel unevenly
        agree(ByHand(kind=kind), spec, TrainingConfig(batch_size=8, epochs=2), 1e-5)
        alone_as_together(ByHand(kind=kind), spec, TrainingConfig(batch_size=8))


@pytest.mark.parametrize("model", [Linear(), Mlp(hidden=(8,))], ids=repr)
def test_engines_agree_on_regression_in_units_of_the_target(model: ModelConfig) -> None:
    agree(model, TARGETS, TrainingConfig(batch_size=8), 1e-5)
    agree(model, TARGETS, TrainingConfig(batch_size=8), 1e-5, RegressionConfig(loss="huber").build(TARGETS))


def test_engines_agree_on_weighted_classes_and_smoothed_labels() -> None:
    weighted = ClassificationConfig(class_weights=(1.0, 5.0, 0.5)).build(CLASSES)
    agree(Mlp(hidden=(8,)), CLASSES, TrainingConfig(batch_size=8), task=weighted)
    smoothed = ClassificationConfig(label_smoothing=0.1).build(CLASSES)
    agree(Mlp(hidden=(8,)), CLASSES, TrainingConfig(batch_size=8), task=smoothed)


def test_mapped_gradients_equal_the_ones_by_hand() -> None:
    module, task = build(Mlp(hidden=(8,)), CLASSES, 0), make_task(None, CLASSES)
    engine = VectorisedEngine(module, task, TrainingConfig(batch_size=8), 5, largest_shard=max(SIZES))
    parameters = SequentialEngine(build(Mlp(hidden=(8,)), CLASSES, 0), task, TrainingConfig(), 0).weights.clone()
    by_hand = engine.train(parameters, shards(CLASSES), 1, CLIENTS)
    engine._gradients = MappedGradients(module, task)
    mapped = engine.train(parameters, shards(CLASSES), 1, CLIENTS)
    torch.testing.assert_close(by_hand.delta, mapped.delta, rtol=0, atol=1e-6)


def test_stack_holds_the_batches_of_each_client() -> None:
    training, data = TrainingConfig(batch_size=8, epochs=2), shards(CLASSES)
    stack = lay_out(training, Joined.of(data), CLIENTS, seed=5, round=3, batch_size=8)
    steps = list(stack.batches(make_task(None, CLASSES), torch.device("cpu")))
    for row, place in enumerate(stack.order):
        expected = batches(training, SIZES[place], 5, 3, int(CLIENTS[place]))
        back = row - len(stack.order)
        assert sum(batch.active >= -back for batch in steps) == len(expected) == stack.steps[place]
        for batch, picked in zip(steps, expected, strict=False):
            assert torch.equal(batch.x[back, : len(picked)], torch.from_numpy(data[place].x[picked]))
            assert torch.equal(batch.y[back, : len(picked)], torch.from_numpy(data[place].y[picked]))


def choice(model: ModelConfig, spec: DataSpec, **training):
    return choose(build(model, spec, 0), TrainingConfig(**{"batch_size": 8, **training}), np.array(SIZES), spec)


def test_engine_is_chosen_by_the_model_and_says_why() -> None:
    for model, spec, kind in (
        (Mlp(), CLASSES, "dense"),
        (Mlp(dropout=0.5), CLASSES, "dense"),
        (Gru(), WINDOWS, "recurrent"),
        (Cnn1d(), WINDOWS, "convolutions"),
    ):
        found = choice(model, spec)
        assert (found.name, kind in found.why) == ("vectorised", True)
    assert choice(Mlp(hidden=(1000, 1000)), CLASSES).name == "sequential"
    assert choice(Mlp(), CLASSES, engine="sequential").name == "sequential"
    lstm = choice(Lstm(hidden=128), WINDOWS)
    assert lstm.name == "sequential"
    assert lstm.why == "LSTM layers of 128 on batches of 8 fill a processor by themselves"
    assert choice(Lstm(hidden=128), WINDOWS, engine="vectorised").name == "vectorised"


class Draws(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return functional.dropout(super().forward(input), 0.5, self.training)


class Branches(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * (1 if input.sum() > 0 else 2)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)), "the model has buffers"),
        (nn.Sequential(nn.Linear(6, 3), nn.AlphaDropout(0.5)), "draws at random"),
        (Draws(6, 3), "draws at random; only dropout layers"),
        (Branches(6, 3), "the model cannot be mapped over clients"),
        (nn.Sequential(nn.Unflatten(1, (1, 6)), nn.RNN(6, 3)), "RNN layers cannot be stacked"),
        (nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 3, groups=2), nn.Flatten()), "with groups"),
        (nn.Sequential(nn.Linear(6, 3).requires_grad_(False), nn.Linear(3, 3)), "are frozen"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_stacked_is_refused_with_a_reason(module: nn.Module, why: str) -> None:
    assert choose(module, TrainingConfig(), np.array(SIZES), CLASSES).name == "sequential"
    with pytest.raises(ModelError, match=f"training\\.engine is vectorised, but .*{why}"):
        choose(module, TrainingConfig(engine="vectorised"), np.array(SIZES), CLASSES)


def test_users_dropout_function_still_works_in_turn() -> None:
    class Config(ModelConfig):
        name: str = "draws"

        def build(self, spec: DataSpec) -> nn.Module:
            return Draws(6, 3)

    engine = SequentialEngine(Config().build(CLASSES), make_task(None, CLASSES), TrainingConfig(), seed=5)
    parameters = engine.weights.clone()
    first, again = (engine.train(parameters, shards(CLASSES), 1, CLIENTS).delta.clone() for _ in range(2))
    assert torch.equal(first, again)
