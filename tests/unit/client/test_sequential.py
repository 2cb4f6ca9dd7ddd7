"""The sequential engine equals the loop that one would write by hand, and is a pure function."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedray.client.evaluation import evaluate, evaluate_clients
from fedray.client.optimizers import Adam, OptimizerConfig, Sgd
from fedray.client.sequential import SequentialEngine
from fedray.client.training import TrainingConfig, batches
from fedray.messages import Shard
from fedray.models.base import Layout
from fedray.models.classification import Classification
from fedray.models.regression import Regression
from fedray.models.tensors import as_tensor

TASK = Classification(num_classes=3)


def train_one(engine: SequentialEngine, parameters: torch.Tensor, data: Shard, round: int, client: int):
    trained = engine.train(parameters, [data], round, np.array([client]))
    return SimpleNamespace(delta=trained.delta[0].clone(), loss=trained.loss[0], steps=trained.steps[0])


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def norm_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


def dropout_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.5), nn.Linear(16, 3))


def shard(client: int, num: int = 11) -> Shard:
    random = np.random.default_rng(client)
    return Shard(x=random.normal(size=(num, 5)).astype(np.float32), y=random.integers(0, 3, num))


def by_hand(
    module: nn.Module, training: TrainingConfig, data: Shard, round: int, client: int, seed: int = 4
) -> tuple[dict[str, Tensor], float]:
    """FedAvg's client as torch's own tutorial would have it; gives the trained tensors and the mean loss."""
    start = {n: p.detach().clone() for n, p in module.named_parameters()}
    settings, lr = training.optimizer, training.lr(round)
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    if isinstance(settings, Sgd):
        optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=settings.momentum)
    else:
        optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    module.train()
    losses, seen = 0.0, 0
    for rows in batches(training, len(data), seed, round, client):
        optimizer.zero_grad()
        x, y = torch.tensor(data.x)[rows], torch.tensor(data.y)[rows]
        loss = nn.functional.cross_entropy(module(x), y)
        losses, seen = losses + loss.item() * len(rows), seen + len(rows)
        if training.proximal:
            pull = sum(((p - start[n]) ** 2).sum() for n, p in module.named_parameters())
            loss = loss + training.proximal / 2 * pull
        loss.backward()
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), training.clip_norm)
        optimizer.step()
    return {n: t.detach() for n, t in [*module.named_parameters(), *module.named_buffers()]}, losses / seen


@pytest.mark.parametrize(
    ("optimizer", "more", "exact"),
    [
        (Sgd(lr=0.3), {}, True),
        (Sgd(lr=0.3, momentum=0.9), {"lr_decay": 0.9}, True),
        (Adam(lr=0.01), {}, True),
        (Sgd(lr=0.3), {"steps": 7, "epochs": 1}, True),
        (Sgd(lr=0.3), {"batch_size": None}, True),
        (Sgd(lr=0.3), {"clip_norm": 0.05}, False),
        (Adam(lr=0.01), {"clip_norm": 100.0}, True),
        (Sgd(lr=0.3), {"proximal": 0.7}, False),
        (Adam(lr=0.01), {"proximal": 0.7, "clip_norm": 0.1}, False),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, OptimizerConfig) else str(v),
)
@pytest.mark.parametrize("make", [net, norm_net])
def test_equals_a_plain_torch_loop(optimizer: OptimizerConfig, more: dict, exact: bool, make):
    training = TrainingConfig(optimizer=optimizer, **{"epochs": 3, "batch_size": 4, **more})
    engine = SequentialEngine(make(), TASK, training, seed=4)
    layout, reference = Layout(make()), make()
    parameters = layout.flatten(reference)
    trained = train_one(engine, parameters, shard(1), 2, 9)
    expected, loss = by_hand(reference, training, shard(1), 2, 9)
    got = layout.split(parameters + trained.delta)
    for name, tensor in got.items():
        # a delta is rounded once more than the weights themselves
        torch.testing.assert_close(tensor, expected[name], rtol=0 if exact else 1e-5, atol=1.2e-7 if exact else 1e-6)
    assert trained.loss == pytest.approx(loss, rel=1e-6)
    assert trained.steps == training.num_steps(11)
    if exact:
        weights = torch.cat([expected[slot.name].reshape(-1) for slot in layout.slots])
        assert torch.equal(trained.delta, weights - parameters)


@pytest.mark.parametrize("make", [net, norm_net, dropout_net])
def test_training_others_in_between_changes_nothing(make):
    training = TrainingConfig(optimizer=Adam(lr=0.05), epochs=2, batch_size=4)
    engine = SequentialEngine(make(), TASK, training, seed=4)
    parameters = Layout(make()).flatten(make())
    alone = train_one(engine, parameters, shard(1), 1, 1)
    train_one(engine, parameters * 3, shard(2, 50), 1, 2)
    evaluate(engine.module, TASK, shard(3), 4)
    torch.manual_seed(99)
    again = train_one(engine, parameters, shard(1), 1, 1)
    fresh = train_one(SequentialEngine(make(), TASK, training, seed=4), parameters, shard(1), 1, 1)
    assert torch.equal(alone.delta, again.delta)
    assert torch.equal(alone.delta, fresh.delta)
    assert alone.loss == again.loss == fresh.loss


def test_results_of_several_clients_are_apart():
    engine = SequentialEngine(net(), TASK, TrainingConfig(), seed=4)
    parameters = Layout(net()).flatten(net())
    both = engine.train(parameters, [shard(1), shard(2)], 1, np.array([1, 2]))
    for row, client in enumerate((1, 2)):
        assert torch.equal(both.delta[row], train_one(engine, parameters, shard(client), 1, client).delta)


def test_dropout_depends_on_seed_round_and_client():
    training = TrainingConfig(batch_size=None)
    parameters = Layout(dropout_net()).flatten(dropout_net())
    deltas = [
        train_one(SequentialEngine(dropout_net(), TASK, training, seed), parameters, shard(1), round, client).delta
        for seed, round, client in ((4, 1, 1), (5, 1, 1), (4, 2, 1), (4, 1, 2))
    ]
    assert all(not torch.allclose(deltas[0], other) for other in deltas[1:])


def test_batch_norm_buffers_are_part_of_the_delta_and_counters_start_anew():
    engine = SequentialEngine(norm_net(), TASK, TrainingConfig(batch_size=None), seed=4)
    layout, data = engine.layout, shard(1)
    parameters = layout.flatten(norm_net())
    for _ in range(3):
        delta = layout.split(train_one(engine, parameters, data, 1, 1).delta)
        assert int(engine.module[1].num_batches_tracked) == 1
    with torch.no_grad():
        hidden = norm_net()[0](torch.tensor(data.x))
    torch.testing.assert_close(delta["1.running_mean"], 0.1 * hidden.mean(0))
    torch.testing.assert_close(delta["1.running_var"], 0.1 * (hidden.var(0) - 1))


def test_frozen_tensors_do_not_move():
    def make() -> nn.Module:
        module = net()
        module[0].weight.requires_grad_(False)
        return module

    engine = SequentialEngine(make(), TASK, TrainingConfig(optimizer=Sgd(weight_decay=0.5)), seed=0)
    layout = engine.layout
    delta = layout.split(train_one(engine, layout.flatten(make()), shard(1), 1, 1).delta)
    assert delta["0.weight"].abs().max() == 0
    assert all(delta[name].abs().max() > 0 for name in ("0.bias", "2.weight", "2.bias"))


def test_unused_parameter_gets_no_gradient_of_the_client_before():
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) if x[0, 0] > 0 else self.second(x)

    engine = SequentialEngine(Sometimes(), TASK, TrainingConfig(batch_size=None), seed=0)
    parameters = engine.layout.flatten(Sometimes())
    x, y = np.ones((4, 5), np.float32), np.zeros(4, np.int64)
    train_one(engine, parameters, Shard(x=x, y=y), 1, 1)
    delta = engine.layout.split(train_one(engine, parameters, Shard(x=-x, y=y), 1, 2).delta)
    assert delta["first.weight"].abs().max() == 0
    assert delta["second.weight"].abs().max() > 0


def test_read_only_inputs_are_neither_changed_nor_warned_about():
    engine = SequentialEngine(net(), TASK, TrainingConfig(), seed=0)
    values, data = engine.layout.flatten(net()).numpy().copy(), shard(1)
    before, x = values.copy(), data.x.copy()
    for array in (values, data.x, data.y):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_one(engine, as_tensor(values), data, 1, 1)
        evaluate(engine.module, TASK, data, 4)
        evaluate_clients(engine.module, TASK, np.array([1]), lambda _: data, 4)
    assert np.array_equal(values, before)
    assert np.array_equal(data.x, x)


def test_model_that_writes_into_its_input_spoils_no_data():
    def make() -> nn.Module:
        return nn.Sequential(nn.ReLU(inplace=True), net())

    engine, data = SequentialEngine(make(), TASK, TrainingConfig(), seed=0), shard(1)
    before = data.x.copy()
    train_one(engine, engine.layout.flatten(make()), data, 1, 1)
    evaluate(engine.module, TASK, data, 100)
    assert np.array_equal(data.x, before)


def test_evaluation_does_not_depend_on_batches_and_rows_add_up():
    module, task = nn.Linear(5, 1), Regression()
    data = [Shard(x=shard(c).x, y=shard(c).x[:, 0].copy()) for c in range(3)]
    everything = Shard(x=np.concatenate([d.x for d in data]), y=np.concatenate([d.y for d in data]))
    whole, parts = evaluate(module, task, everything, 1000), evaluate(module, task, everything, 4)
    clients = evaluate_clients(module, task, np.arange(3), data.__getitem__, 3)
    for name in ("examples", "squared_error", "absolute_error"):
        assert float(parts.stats[name]) == pytest.approx(float(whole.stats[name]))
        assert float(clients.stats[name]) == pytest.approx(float(whole.stats[name]))
        assert clients.columns[name].sum() == pytest.approx(float(whole.stats[name]))
    assert clients.columns["client"].tolist() == [0, 1, 2]
    assert whole.columns == {}


def test_evaluation_leaves_batch_norm_alone():
    engine = SequentialEngine(norm_net(), TASK, TrainingConfig(), seed=0)
    before = engine.weights.clone()
    evaluate(engine.module, TASK, shard(1), 4)
    assert torch.equal(engine.weights, before)


def test_client_that_cannot_evaluate_is_named_and_left_out():
    module, data = net(), {1: shard(1), 3: shard(3)}
    found = evaluate_clients(module, TASK, np.array([1, 2, 3]), data.__getitem__, 4)
    assert found.columns["client"].tolist() == [1, 3]
    assert int(found.stats["examples"]) == 22
    assert found.failures[2].cause == "KeyError: 2"
    assert "Traceback" in found.failures[2].details
    nobody = evaluate_clients(module, TASK, np.array([2]), data.__getitem__, 4)
    assert (nobody.columns, nobody.stats) == ({}, {})
