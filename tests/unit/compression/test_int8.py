import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import FINITE, MODERATE, keys, row, same_bits, squared

from fedray.compression.int8 import Int8


def test_by_hand():
    codec = Int8(bits=3, bucket=4)  # codes -3 to 3
    delta = row([3.0, -1.4, 0.5, -0.5, 0.06, 0.01])  # 0.5 and 0.5 are halves: to even; the last two are a bucket
    assert codec.apply(delta, keys(1)).tolist() == [[3.0, -1.0, 0.0, 0.0, torch.tensor(0.06).item(), 0.0]]
    assert codec.encode(delta[0].numpy(), keys(1))[:3] == bytes([0b11_010_110, 0b1_110_011_0, 0b01])


def test_bytes():
    assert Int8().num_bytes(1) == 1 + 4
    assert Int8().num_bytes(1024) == 1024 + 8
    assert Int8().num_bytes(1025) == 1025 + 12
    assert Int8(bits=3, bucket=10).num_bytes(101) == 38 + 44


@settings(max_examples=30, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=30), st.integers(2, 8), st.integers(1, 12))
def test_no_coordinate_is_off_by_more_than_half_a_step(values: list[float], bits: int, bucket: int):
    delta = row(values)
    off = (Int8(bits=bits, bucket=bucket).apply(delta, keys(1)).double() - delta.double()).abs()
    for mine, errors in zip(delta.split(bucket, dim=1), off.split(bucket, dim=1), strict=True):
        largest = float(mine.abs().max())
        half = largest / (2**bits - 2)
        assert float(errors.max()) <= half * (1 + 2**-14) + 2**-149
        assert (errors <= mine.double().abs() + largest * 2**-22 + 2**-149).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=30), st.integers(2, 8))
def test_sent_again_nothing_changes(values: list[float], bits: int):
    once = Int8(bits=bits, bucket=8).apply(row(values), keys(1))
    assert same_bits(Int8(bits=bits, bucket=8).apply(once, keys(1)), once)


@settings(max_examples=30, deadline=None)
@given(st.lists(MODERATE, min_size=1, max_size=30), st.integers(2, 8), st.integers(1, 40))
def test_contraction(values: list[float], bits: int, bucket: int):
    delta, codec = row(values), Int8(bits=bits, bucket=bucket)
    error = squared(codec.apply(delta, keys(1)) - delta)
    assert codec.relative_error(len(values)) < 1
    assert error <= (codec.relative_error(len(values)) + 1e-5) * squared(delta) + 1e-80


@pytest.mark.parametrize("size", [1e-45, 1e-40, 3e38])
def test_very_small_and_very_large_buckets_stay_finite(size: float):
    delta = row([size, -size, 0.0])
    assert same_bits(Int8().apply(delta, keys(1)), delta)
