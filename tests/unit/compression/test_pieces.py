import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray import seeds
from fedray.compression.lanes import lanes
from fedray.compression.pieces import columns, rows


@pytest.mark.parametrize(("clients", "num"), [(1, 1), (0, 7), (3, 300_001), (200_000, 5), (40, 66), (2, 2**20)])
def test_pieces_cover_everything_once(clients: int, num: int):
    delta = torch.zeros(1, 1).expand(clients, num)
    for found, total in ((list(columns(delta, multiple=512)), num), (list(rows(delta)), clients)):
        assert [piece.start for piece in found] == [0, *(piece.stop for piece in found)][: len(found)]
        assert sum(piece.stop - piece.start for piece in found) == total
    assert all(piece.start % 512 == 0 for piece in columns(delta, multiple=512))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.integers(1, 50))
def test_a_lane_depends_on_its_coordinate_alone(start: int, num: int):
    keys = seeds.keys(0, "lanes", 1, np.arange(3))
    assert np.array_equal(lanes(keys, slice(start, start + num)), lanes(keys, slice(0, 100))[:, start : start + num])
