import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import MODERATE, keys, row, same_bits, squared, updates

from fedray.compression.qsgd import Qsgd


def test_by_hand():
    """Norm 5: 3 is 1.2 of two steps of 2.5, and 4 is 1.6; so 3 goes up in 1 of 5 times, and 4 in 3 of 5."""
    sent = Qsgd(levels=2).apply(row([3.0, -4.0]).expand(10_000, 2), keys(10_000))
    assert set(sent[:, 0].tolist()) == {2.5, 5.0}
    assert set(sent[:, 1].tolist()) == {-2.5, -5.0}
    ups = (sent.abs() == 5).double().mean(dim=0)
    assert ups.tolist() == pytest.approx([0.2, 0.6], abs=0.03)  # 6 deviations of 0.005


def test_bytes():
    assert Qsgd(levels=1, bucket=8).num_bytes(9) == 3 + 8  # two bits each
    assert Qsgd(levels=7).num_bytes(1000) == 500 + 8
    assert Qsgd(levels=8).num_bytes(1000) == 625 + 8
    assert Qsgd().num_bytes(1000) == 1000 + 8


@pytest.mark.parametrize("levels", [1, 3, 127])
@pytest.mark.parametrize("bucket", [5, 64])
def test_right_in_the_mean(levels: int, bucket: int):
    """A coordinate's deviation is at most half a step, norm / (2 levels); 6 of its mean's, and float32's rounding."""
    delta, num = updates(1, 23, seed=5), 6_000
    sent = Qsgd(levels=levels, bucket=bucket).apply(delta.expand(num, -1), keys(num)).double()
    norms = torch.cat([part.double().norm().expand(part.shape[1]) for part in delta.split(bucket, dim=1)])
    assert ((sent.mean(dim=0) - delta[0].double()).abs() <= norms * (6 / (2 * levels * num**0.5) + 1e-6)).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(MODERATE, min_size=1, max_size=30), st.integers(1, 200), st.integers(1, 12), st.integers(0, 10**6))
def test_each_coordinate_goes_to_one_of_its_two_neighbours(values: list[float], levels: int, bucket: int, round: int):
    delta = row(values)
    sent = Qsgd(levels=levels, bucket=bucket).apply(delta, keys(1, round))
    for mine, theirs in zip(delta.split(bucket, dim=1), sent.split(bucket, dim=1), strict=True):
        norm = float(mine.double().norm())
        assert float((theirs.double() - mine.double()).abs().max()) <= norm * (1 / levels + 1e-6) + 1e-44
        assert float(theirs.double().abs().max()) <= norm * (1 + 1e-6)
        assert (theirs * mine >= 0).all()


def test_single_coordinate_of_a_bucket_is_exact():
    delta = row([0.1, 1e-45, -3e38, 0.0, 7.0])
    assert same_bits(Qsgd(levels=3, bucket=1).apply(delta, keys(1)), delta)


def test_keys_decide():
    delta = updates(1, 500)
    codec, twice = Qsgd(levels=4), delta.expand(2, -1)
    assert not torch.equal(*codec.apply(twice, keys(2)))
    assert torch.equal(*codec.apply(twice, np.repeat(keys(1), 2)))
    assert not torch.equal(codec.apply(delta, keys(1, 1)), codec.apply(delta, keys(1, 2)))


def test_mean_squared_error_is_within_the_papers_bound():
    """Equal coordinates, far below a step: where the bound of sqrt(n) / s is nearly met."""
    delta, codec = torch.full((1, 400), 0.01), Qsgd(levels=2)
    sent = codec.apply(delta.expand(500, -1), keys(500))
    ratio = float((squared(sent - delta).mean() / squared(delta)).item())
    assert codec.relative_error(400) == 10
    assert 8.5 < ratio < 10  # (1 - 0.1) * 10 = 9 is what it is


def test_norm_beyond_float32_is_not_sent_as_numbers():
    assert not Qsgd().apply(row([3e38, 3e38]), keys(1)).isfinite().any()
