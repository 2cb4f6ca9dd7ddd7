import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import FINITE, MODERATE, keys, row, same_bits, squared

from fedray.compression.sparse import largest
from fedray.compression.topk import TopK


def test_by_hand():
    delta = row([1.0, -3.0, 0.5, 2.0, -2.0, 0.0])
    assert TopK(fraction=0.5).apply(delta, keys(1)).tolist() == [[0.0, -3.0, 0.0, 2.0, -2.0, 0.0]]
    assert TopK(fraction=1 / 3).apply(delta, keys(1)).tolist() == [[0.0, -3.0, 0.0, 2.0, 0.0, 0.0]]  # ties: the first
    assert TopK(fraction=1e-9).apply(delta, keys(1)).tolist() == [[0.0, -3.0, 0.0, 0.0, 0.0, 0.0]]  # at least one


def test_bytes_are_those_of_positions_or_of_a_bitmap():
    assert TopK(fraction=0.01).num_bytes(4000) == 40 * 4 + 60  # 40 positions of 12 bits
    assert TopK(fraction=0.2).num_bytes(4000) == 800 * 4 + 500  # a bit for each of 4,000
    assert TopK(fraction=0.5).num_bytes(1) == 4  # there is only one position
    data = TopK(fraction=0.5).encode(np.array([0.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 2.0], np.float32), keys(1))
    assert data == np.array([0.0, 1.0, -1.0, 2.0], np.float32).tobytes() + bytes([0b10010011])
    data = TopK(fraction=0.1).encode(np.eye(1, 20, 17, dtype=np.float32)[0], keys(1))
    assert data[8:] == bytes([0b001_00000, 0b10])  # positions 0 and 17, five bits each


@settings(max_examples=30, deadline=None)
@given(st.lists(FINITE | st.sampled_from([1.0, -1.0, 0.0]), min_size=1, max_size=40), st.floats(0.01, 1))
def test_exactly_the_k_largest_ties_by_position(values: list[float], fraction: float):
    delta, codec = row(values), TopK(fraction=fraction)
    k = codec.num_sent(len(values))
    best = sorted(range(len(values)), key=lambda place: (-abs(float(delta[0, place])), place))[:k]
    expected = torch.zeros_like(delta)
    expected[0, best] = delta[0, best]
    assert same_bits(codec.apply(delta, keys(1)), expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=9, max_size=9), min_size=1, max_size=6), st.integers(1, 9))
def test_exactly_k_of_each_row_are_marked(rows: list[list[int]], k: int):
    chosen = largest(torch.tensor(rows, dtype=torch.int32), k)
    for ranks, marks in zip(rows, chosen.tolist(), strict=True):
        expected = sorted(range(9), key=lambda place: (-ranks[place], place))[:k]
        assert [place for place in range(9) if marks[place]] == sorted(expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(MODERATE, min_size=1, max_size=40), st.floats(0.01, 1))
def test_contraction(values: list[float], fraction: float):
    delta, codec = row(values), TopK(fraction=fraction)
    sent = codec.apply(delta, keys(1))
    bound = 1 - codec.num_sent(len(values)) / len(values)
    assert codec.relative_error(len(values)) == bound
    assert squared(delta - sent) <= bound * squared(delta) * (1 + 1e-12)
    assert torch.equal(codec.apply(sent, keys(1)), sent)


@pytest.mark.parametrize("num", [1, 2, 7, 100, 101, 12_345])
@pytest.mark.parametrize("fraction", [1e-6, 0.01, 0.5, 1.0])
def test_there_is_always_something_to_send(num: int, fraction: float):
    assert 1 <= TopK(fraction=fraction).num_sent(num) <= num
