import numpy as np
import pytest
from handmade import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.data.base import Partition
from fedray.data.partition.base import labels_or_bins
from fedray.data.partition.dirichlet import Dirichlet
from fedray.data.partition.iid import Iid
from fedray.data.partition.imported import ImportedPartition
from fedray.data.partition.natural import Natural
from fedray.data.partition.quantity import Quantity
from fedray.data.partition.regime import Regime, clients_per_regime
from fedray.data.partition.shards import LabelShards
from fedray.errors import ConfigError, DataError

SETTINGS = st.one_of(
    st.builds(Iid, num_clients=st.integers(1, 20)),
    st.builds(
        Dirichlet,
        num_clients=st.integers(1, 20),
        alpha=st.sampled_from([0.01, 0.5, 100.0]),
        min_size=st.integers(1, 2),
        sizes=st.sampled_from(["equal", "varied"]),
    ),
    st.builds(LabelShards, num_clients=st.integers(1, 20), shards_per_client=st.integers(1, 2)),
    st.builds(Quantity, num_clients=st.integers(1, 20), exponent=st.sampled_from([0.0, 1.0, 3.0])),
    st.builds(Regime, num_clients=st.integers(3, 20)),
)


@given(
    config=SETTINGS,
    labels=st.lists(st.integers(0, 4), min_size=40, max_size=120),
    regression=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_every_example_has_one_owner_and_no_client_is_empty(config, labels, regression, seed):
    y = np.array(labels, dtype=np.float32 if regression else np.int64)
    table = make_table(y, regimes=np.arange(len(y)) % 3)
    partition = config.partition(table, seed)
    assert sorted(partition.indices.tolist()) == list(range(len(y)))
    assert partition.num_clients == config.num_clients
    assert partition.sizes.min() >= getattr(config, "min_size", 1)
    assert partition.offsets.dtype == partition.indices.dtype == np.int64
    again = config.partition(table, seed)
    assert partition.indices.tolist() == again.indices.tolist()
    assert partition.offsets.tolist() == again.offsets.tolist()


def owners_of(partition, num):
    owners = np.full(num, -1)
    owners[partition.indices] = np.repeat(np.arange(partition.num_clients), partition.sizes)
    return owners


def test_natural_clients_keep_their_examples_in_order():
    partition = Natural().partition(make_table([0, 1, 0, 1, 0], owners=[7, 2, 7, 2, 4]), 0)
    assert [partition.of(c).tolist() for c in range(3)] == [[1, 3], [4], [0, 2]]


def test_iid_sizes_differ_by_at_most_one():
    partition = Iid(num_clients=4).partition(make_table(np.zeros(11, int), num_classes=2), 0)
    assert partition.sizes.tolist() == [3, 3, 3, 2]
    other = Iid(num_clients=4).partition(make_table(np.zeros(11, int), num_classes=2), 1)
    assert partition.indices.tolist() != other.indices.tolist()


def label_shares(partition, y):
    counts = np.stack([np.bincount(y[partition.of(c)], minlength=10) for c in range(partition.num_clients)])
    return counts / counts.sum(axis=1, keepdims=True)


def test_dirichlet_alpha_sets_the_skew():
    y = np.arange(20000) % 10
    table = make_table(y)
    skewed = label_shares(Dirichlet(num_clients=100, alpha=0.05).partition(table, 0), y)
    even = label_shares(Dirichlet(num_clients=100, alpha=1000.0).partition(table, 0), y)
    assert skewed.max(axis=1).mean() > 0.7
    assert even.max(axis=1).mean() < 0.2
    moderate = label_shares(Dirichlet(num_clients=100, alpha=1.0).partition(table, 0), y)
    assert moderate.var(axis=0).mean() == pytest.approx(0.1 * 0.9 / 11, rel=0.3)


def test_dirichlet_sizes_are_equal_or_varied():
    table = make_table(np.arange(3000) % 10)
    assert set(Dirichlet(num_clients=100, alpha=0.1).partition(table, 0).sizes.tolist()) == {30}
    varied = Dirichlet(num_clients=100, alpha=0.1, sizes="varied", min_size=5).partition(table, 0).sizes
    assert varied.min() == 5
    assert varied.max() > 60


def test_label_shards_give_a_client_few_classes():
    y = np.repeat(np.arange(10), 60)
    partition = LabelShards(num_clients=30, shards_per_client=2).partition(make_table(y), 0)
    assert partition.sizes.tolist() == [20] * 30
    assert max(len(set(y[partition.of(c)].tolist())) for c in range(30)) <= 2


def test_regression_targets_are_cut_at_quantiles():
    table = make_table(np.linspace(0, 1, 100, dtype=np.float32) ** 5)
    assert np.bincount(labels_or_bins(table, 4)).tolist() == [25, 25, 25, 25]
    partition = LabelShards(num_clients=10, shards_per_client=1, bins=10).partition(table, 0)
    spans = sorted((int(partition.of(c).min()), int(partition.of(c).max())) for c in range(10))
    assert spans == [(10 * i, 10 * i + 9) for i in range(10)]


def test_quantity_follows_the_power_law():
    partition = Quantity(num_clients=4, exponent=1.0, min_size=2).partition(
        make_table(np.zeros(58, int), num_classes=2), 0
    )
    assert sorted(partition.sizes.tolist()) == [8, 10, 14, 26]
    even = Quantity(num_clients=4, exponent=0.0).partition(make_table(np.zeros(8, int), num_classes=2), 0)
    assert even.sizes.tolist() == [2, 2, 2, 2]


def test_regime_clients_see_one_regime():
    regimes = np.repeat([0, 1, 2], [80, 15, 5])
    partition = Regime(num_clients=10).partition(make_table(np.zeros(100, int), regimes=regimes, num_classes=2), 0)
    assert all(len(set(regimes[partition.of(c)].tolist())) == 1 for c in range(10))
    assert clients_per_regime(np.array([80, 15, 5]), 10).tolist() == [8, 1, 1]
    assert clients_per_regime(np.array([98, 1, 1]), 4).tolist() == [2, 1, 1]
    assert clients_per_regime(np.array([2, 2, 96]), 100).tolist() == [2, 2, 96]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Iid(num_clients=11), r"10 examples are too few for 11 clients .* lower partition\.num_clients"),
        (Dirichlet(num_clients=5, min_size=3), r"lower partition\.num_clients or partition\.min_size"),
        (LabelShards(num_clients=5, shards_per_client=3), r"partition\.shards_per_client"),
        (Quantity(num_clients=5, min_size=3), r"lower partition\.num_clients or partition\.min_size"),
        (Regime(num_clients=2), r"raise partition\.num_clients to 3"),
    ],
)
def test_what_cannot_be_cut_names_the_setting(config, message):
    with pytest.raises(DataError, match=message):
        config.partition(make_table(np.arange(10) % 2, regimes=np.arange(10) % 3), 0)


def test_missing_owners_and_regimes_are_named():
    with pytest.raises(DataError, match=r"no natural clients; change partition\.name"):
        Natural().partition(make_table([0, 1]), 0)
    with pytest.raises(DataError, match=r"no operating regimes; change partition\.name"):
        Regime(num_clients=1).partition(make_table([0, 1]), 0)


MODULE = """
import numpy as np
from typing import Literal
from fedray.data.base import Partition
from fedray.data.partition.base import PartitionConfig, group

def by_parity(table, seed, modulus=2):
    return np.arange(len(table.train)) % modulus

def twice(table, seed):
    return Partition(offsets=np.array([0, 1, 2]), indices=np.array([0, 0]))

def broken(table, seed):
    raise RuntimeError("oh")

class Halves(PartitionConfig):
    name: str
    at: int
    def partition(self, table, seed):
        return group((np.arange(len(table.train)) >= self.at).astype(int), 2)

number = 3
"""


def test_a_partitioner_by_import_path(elsewhere):
    (elsewhere / "own_split.py").write_text(MODULE)
    table = make_table([0, 1, 0, 1, 0])
    partition = ImportedPartition(name="own_split:by_parity", args={"modulus": 3}).partition(table, 0)
    assert isinstance(partition, Partition)
    assert owners_of(partition, 5).tolist() == [0, 1, 2, 0, 1]
    halves = parse(ImportedPartition, {"name": "own_split:Halves", "args": {"at": 2}}).partition(table, 0)
    assert halves.sizes.tolist() == [2, 3]
    for name, args, error, message in [
        ("own_split:Halves", {}, ConfigError, "at is missing"),
        ("own_split:by_parity", {"mod": 2}, ConfigError, r"cannot be called.*change partition\.args"),
        ("own_split:twice", {}, DataError, "to two clients"),
        ("own_split:broken", {}, DataError, "RuntimeError: oh"),
        ("own_split:number", {}, ConfigError, "no partitioner"),
    ]:
        with pytest.raises(error, match=message):
            ImportedPartition(name=name, args=args).partition(table, 0)
