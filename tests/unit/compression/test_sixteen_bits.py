import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import FINITE, keys, row, same_bits

from fedray.compression.sixteen_bits import BFloat16, Float16


def sent(codec: Float16 | BFloat16, values: list[float]) -> list[float]:
    return codec.apply(row(values), keys(1))[0].tolist()


def test_float16_rounds_to_even_and_does_not_overflow():
    assert sent(Float16(), [1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-10]) == [1.0, 1 + 2**-9, -1 - 2**-10]
    assert sent(Float16(), [65_504, 65_519, 65_520, 1e30, -1e30]) == [65_504, 65_504, 65_504, 65_504, -65_504]
    assert sent(Float16(), [2**-24, 2**-25, 3 * 2**-26]) == [2**-24, 0, 2**-24]
    assert sent(Float16(), [float("inf"), float("-inf")]) == [float("inf"), float("-inf")]


def test_bfloat16_rounds_to_even_and_does_not_overflow():
    assert sent(BFloat16(), [1 + 2**-8, 1 + 3 * 2**-8]) == [1.0, 1 + 2**-6]
    largest = (2 - 2**-7) * 2.0**127
    assert sent(BFloat16(), [3.4e38, -3.4e38, 2.0**-130]) == [largest, -largest, 2.0**-130]


@settings(max_examples=30, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=20))
def test_float16_is_numpys(values: list[float]):
    expected = np.clip(np.array(values, np.float32), -65504, 65504).astype(np.float16).astype(np.float32)
    assert same_bits(Float16().apply(row(values), keys(1))[0], torch.from_numpy(expected))


@settings(max_examples=30, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=20))
def test_sent_again_nothing_changes(values: list[float]):
    for codec in (Float16(), BFloat16()):
        once = codec.apply(row(values), keys(1))
        assert same_bits(codec.apply(once, keys(1)), once)


def test_bytes():
    assert Float16().num_bytes(1_000_001) == BFloat16().num_bytes(1_000_001) == 2_000_002
