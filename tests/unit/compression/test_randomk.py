import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import MODERATE, keys, row, same_bits, squared, updates

from fedray.compression.randomk import RandomK

KNOWN = [[13, 19, 21], [14, 20, 24]]


def test_by_hand():
    delta = torch.ones(100, 4)
    assert set(RandomK(fraction=0.5).apply(delta, keys(100)).flatten().tolist()) == {0.0, 2.0}
    assert set(RandomK(fraction=0.5, unbiased=False).apply(delta, keys(100)).flatten().tolist()) == {0.0, 1.0}


def test_positions_are_the_same_on_every_machine_for_ever():
    sent = RandomK(fraction=0.1, unbiased=False).apply(torch.ones(2, 30), keys(2))
    assert [places.nonzero()[:, 0].tolist() for places in sent] == KNOWN


def test_only_values_travel():
    assert RandomK(fraction=0.01).num_bytes(4000) == 160
    assert RandomK(fraction=1e-9).num_bytes(4000) == 4


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.floats(0.001, 1), st.integers(0, 10**6))
def test_k_different_positions(num: int, fraction: float, round: int):
    codec = RandomK(fraction=fraction, unbiased=False)
    sent = codec.apply(torch.ones(3, num), keys(3, round))
    assert (sent == 1).sum(dim=1).tolist() == [codec.num_sent(num)] * 3


def test_every_pair_of_positions_comes_equally_often():
    sent = RandomK(fraction=0.4, unbiased=False).apply(torch.ones(20_000, 5), keys(20_000))
    _, counts = np.unique(sent.numpy() @ 2 ** np.arange(5), return_counts=True)
    assert len(counts) == 10
    assert ((counts - 2000) ** 2 / 2000).sum() < 30  # 9 degrees of freedom, p = 0.0004


def test_positions_change_with_client_and_round():
    codec = RandomK(fraction=0.1)
    one, other = codec.apply(torch.ones(2, 500), keys(2))
    assert not torch.equal(one, other)
    assert not torch.equal(one, codec.apply(torch.ones(1, 500), keys(1, 2))[0])


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_right_in_the_mean(fraction: float):
    """A coordinate's variance is x^2 (P/k - 1): 6 deviations of the mean."""
    delta, num, codec = updates(1, 40, seed=5), 20_000, RandomK(fraction=fraction)
    mean = codec.apply(delta.expand(num, -1), keys(num)).double().mean(dim=0)
    deviation = delta[0].double().abs() * (codec.relative_error(40) / num) ** 0.5
    assert ((mean - delta[0]).abs() <= 6 * deviation + 1e-6 * delta[0].abs()).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(MODERATE, min_size=1, max_size=40), st.floats(0.01, 1))
def test_unscaled_is_part_of_the_vector_and_stays_so(values: list[float], fraction: float):
    delta, codec = row(values), RandomK(fraction=fraction, unbiased=False)
    sent = codec.apply(delta, keys(1))
    assert ((sent == 0) | (sent == delta)).all()
    assert squared(delta - sent) <= squared(delta)
    assert same_bits(codec.apply(sent, keys(1)), sent)


def test_contraction_in_the_mean():
    delta, codec = updates(1, 50, seed=7), RandomK(fraction=0.2, unbiased=False)
    error = squared(codec.apply(delta.expand(5000, -1), keys(5000)) - delta).mean() / squared(delta)
    assert codec.relative_error(50) == 0.8
    assert float(error) == pytest.approx(0.8, abs=0.03)
