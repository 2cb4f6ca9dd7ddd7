"""The examples of many clients in shared arrays are those of their shards."""

import numpy as np
import pytest

from fedray.data.base import ArrayData, Partition, Table
from fedray.data.fleet import Fleet
from fedray.data.holdout import Holdout
from fedray.messages import DataSpec, Shard


def arrays() -> ArrayData:
    draw = np.random.default_rng(0)
    train = Shard(x=draw.normal(size=(60, 3)).astype(np.float32), y=draw.integers(0, 2, 60))
    spec = DataSpec(features=(3,), task="classification", num_outputs=2)
    offsets = np.array([0, 5, 6, 26, 40, 45, 60])
    return ArrayData(Table(train=train, test=None, spec=spec), Partition(offsets=offsets, indices=draw.permutation(60)))


def fleet():
    return Fleet(machines=6, features=8, rows=(4, 30)).load(1)


@pytest.mark.parametrize("fraction", [0.0, 0.3])
@pytest.mark.parametrize("make", [arrays, fleet])
def test_joined_examples_are_those_of_the_shards(make, fraction: float) -> None:
    holdout, clients = Holdout(make(), fraction, 7), np.array([4, 0, 5, 1])
    joined, shards = holdout.train_joined(clients), holdout.train_shards(clients)
    assert joined.sizes.tolist() == [len(shard) for shard in shards] == holdout.sizes[clients].tolist()
    assert np.array_equal(joined.x[joined.rows], np.concatenate([shard.x for shard in shards]))
    assert np.array_equal(joined.y[joined.rows], np.concatenate([shard.y for shard in shards]))
