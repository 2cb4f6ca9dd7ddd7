import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.compression.packing import pack, packed_bytes, unpack


def test_by_hand():
    assert pack(np.array([5, 1, 7, 2]), 3) == bytes([0b11_001_101, 0b0101])
    assert pack(np.array([300]), 9) == bytes([300 & 255, 1])
    assert pack(np.array([0]), 0) == b""


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 25), st.integers(1, 60), st.integers(0, 1000))
def test_what_is_packed_comes_out_again(width: int, num: int, seed: int):
    numbers = np.random.default_rng(seed).integers(0, 2**width, num)
    data = pack(numbers, width)
    assert len(data) == packed_bytes(num, width)
    assert unpack(data, num, width).tolist() == numbers.tolist()
