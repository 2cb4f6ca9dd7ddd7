"""What all runners read is the same, each time and for everybody."""

import pickle
from dataclasses import replace

import numpy as np
import torch

from experiments.benchmarks import data, networks
from experiments.benchmarks.prepare import cohort, initial, prepare
from experiments.benchmarks.shards import Shards
from experiments.benchmarks.source import Cached
from experiments.benchmarks.workloads import WORKLOADS, Workload
from fedray.client.training import TrainingConfig, batches


def test_data_depends_on_the_workload_alone(shards: Shards, tmp_path):
    again = Shards(prepare(shards.workload, tmp_path))
    for name in ("x", "y", "cohorts", "orders", "initial"):
        np.testing.assert_array_equal(getattr(shards, name), getattr(again, name))
    other, _ = data.examples(replace(shards.workload, seed=2), 0, 10)
    mine, _ = data.examples(shards.workload, 0, 10)
    assert not np.array_equal(mine, other)


def test_pieces_of_the_data_differ(shards: Shards):
    rows = shards.x.reshape(-1, 32)
    assert len(np.unique(rows[:, 0])) == len(rows)
    assert shards.x.shape == (12, 20, 32)
    assert not np.array_equal(shards.test[0][0], rows[0])


def test_existing_data_is_kept(shards: Shards):
    before = (shards.folder / "x.npy").stat().st_mtime_ns
    prepare(shards.workload, shards.folder.parent)
    assert (shards.folder / "x.npy").stat().st_mtime_ns == before


def test_cohorts_are_fedrays_for_the_longest_run(shards: Shards):
    assert shards.cohorts.shape == (3, 5)
    for round, clients in enumerate(shards.cohorts, start=1):
        np.testing.assert_array_equal(clients, cohort(shards.workload, round))


def test_orders_are_fedrays(shards: Shards):
    client = int(shards.cohorts[1, 3])
    wanted = np.concatenate(batches(TrainingConfig(batch_size=10), 20, 1, 2, client))
    np.testing.assert_array_equal(shards.orders[1, 3], wanted)


def test_networks_have_the_parameters_of_fedrays_models():
    counts = {"W1": 4258, "W2": 1_626_442, "W3": 66, "W4": 25_214_986}
    for name, count in counts.items():
        assert sum(p.numel() for p in networks.build(WORKLOADS[name]).parameters()) == count
    small = replace(WORKLOADS["W2"], features=(3, 8, 8))
    module = networks.build(small)
    assert networks.bind(module).shape == initial(small).shape


def test_bound_vector_is_the_module(shards: Shards):
    module = networks.build(shards.workload)
    vector = networks.bind(module)
    vector.copy_(torch.from_numpy(shards.initial))
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()])
    np.testing.assert_array_equal(flat.numpy(), shards.initial)


def test_workload_survives_its_file(shards: Shards):
    assert Workload.read(shards.folder / "workload.json") == shards.workload


def test_source_travels_as_a_path(shards: Shards):
    source = Cached(name="ours", folder=str(shards.folder)).load(seed=0)
    sent = pickle.dumps(source)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    for shard, client in zip(received.shards(np.array([3, 7])), (3, 7), strict=True):
        np.testing.assert_array_equal(shard.x, shards.x[client])
        np.testing.assert_array_equal(shard.y, shards.y[client])
