import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.client.training import TrainingConfig, batches, weights_of


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(1, 70) | st.none(), st.integers(1, 4))
def test_every_epoch_takes_every_example_once(num: int, batch_size: int | None, epochs: int):
    training = TrainingConfig(batch_size=batch_size, epochs=epochs)
    chosen = batches(training, num, 5, 2, 3)
    size = min(batch_size or num, num)
    per_epoch = -(-num // size)
    assert len(chosen) == training.num_steps(num) == epochs * per_epoch
    for epoch in range(epochs):
        order = np.concatenate(chosen[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert np.array_equal(np.sort(order), np.arange(num))
    assert all(len(b) == size for i, b in enumerate(chosen) if (i + 1) % per_epoch)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 25))
def test_steps_begin_like_epochs_and_stop_when_enough(num: int, batch_size: int, steps: int):
    some = batches(TrainingConfig(batch_size=batch_size, steps=steps), num, 0, 1, 1)
    many = batches(TrainingConfig(batch_size=batch_size, epochs=26), num, 0, 1, 1)
    assert len(some) == steps
    assert all(np.array_equal(a, b) for a, b in zip(some, many, strict=False))


def test_order_differs_by_epoch_round_client_and_seed():
    training = TrainingConfig(batch_size=None, epochs=2)
    orders = [
        tuple(order.tolist())
        for seed in (0, 1)
        for round in (1, 2)
        for client in (0, 1)
        for order in batches(training, 20, seed, round, client)
    ]
    assert len(set(orders)) == 16


def test_learning_rate_decays_by_round():
    training = TrainingConfig(lr_decay=0.5)
    assert [training.lr(round) for round in (1, 2, 3)] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize(("weighting", "weight"), [("examples", 7), ("uniform", 1)])
def test_weight(weighting: str, weight: int):
    assert weights_of(TrainingConfig(weighting=weighting), np.array([7, 7])).tolist() == [weight] * 2
