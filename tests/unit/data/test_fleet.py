import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.data.fleet import Fleet
from fedray.errors import ConfigError

SMALL = {"machines": 50, "rows": 30, "features": 5, "test_machines": 4}


@given(
    seed=st.integers(0, 5),
    clients=st.lists(st.integers(0, 49), min_size=1, max_size=12),
    window=st.sampled_from([1, 4]),
    target=st.sampled_from(["failure", "fault", "rul"]),
    rows=st.sampled_from([30, (3, 30)]),
)
@settings(max_examples=40, deadline=None)
def test_a_shard_is_bit_identical_to_its_row_of_any_batch(seed, clients, window, target, rows):
    data = Fleet(**{**SMALL, "window": window, "target": target, "rows": rows}).load(seed)
    x, y = data.generate(clients)
    together = data.shards(np.array(clients))
    for i, client in enumerate(clients):
        shard, num = data.shard(client), data.sizes[client]
        assert len(shard) == num == len(together[i])
        assert shard.x.shape == (num, *data.spec.features)
        assert shard.x.tobytes() == x[i, :num].tobytes() == together[i].x.tobytes()
        assert shard.y.tobytes() == y[i, :num].tobytes() == together[i].y.tobytes()


def test_large_batches_cross_chunks_without_a_seam():
    data = Fleet(machines=300).load(0)
    x, y = data.generate(np.arange(300))
    for client in (0, 162, 163, 164, 299):
        assert data.shard(client).x.tobytes() == x[client].tobytes()
        assert data.shard(client).y.tobytes() == y[client].tobytes()


def test_shapes_types_and_names():
    data = Fleet(**SMALL).load(0)
    shard = data.shard(3)
    assert (shard.x.dtype, shard.y.dtype) == (np.float32, np.int64)
    assert data.test().x.shape == (4 * 30, 5)
    assert len(data.spec.feature_names) == 5
    windowed = Fleet(**SMALL, window=7).load(0)
    assert windowed.shard(3).x.shape == (30, 5, 7)
    assert windowed.test().x.shape == (120, 5, 7)
    regression = Fleet(**SMALL, target="rul", rul_cap=50).load(0)
    assert regression.shard(3).y.dtype == np.float32
    assert regression.test().y.max() == 50
    assert regression.spec.target_scale == 50
    assert Fleet(**SMALL, target="fault", fault_modes=2).load(0).spec.num_outputs == 3
    assert Fleet(**{**SMALL, "test_machines": 0}).load(0).test() is None


def test_consecutive_examples_are_consecutive_windows():
    flat, windowed = Fleet(**{**SMALL, "rows": 36}).load(1), Fleet(**SMALL, window=7).load(1)
    x, (w, _) = flat.shard(9).x, windowed.generate([9])
    for i in (0, 11, 29):
        assert w[0, i].tobytes() == np.ascontiguousarray(x[i : i + 7].T).tobytes()
    assert windowed.shard(9).y.tolist() == flat.shard(9).y[6:].tolist()


def test_remaining_life_counts_down_to_the_failure_and_starts_anew():
    data = Fleet(machines=20, rows=300, features=1, target="rul", rul_cap=None, life=80).load(0)
    lives = set()
    for client in range(20):
        steps = np.diff(data.shard(client).y)
        assert (steps[steps < 0] == -1).all()
        lives |= set(steps[steps > 0].astype(int).tolist())
    assert min(lives) >= 64 - 1
    assert max(lives) <= 96 - 1


def test_the_seed_and_nothing_else_decides():
    one, again, other = (Fleet(**SMALL).load(seed).shard(7) for seed in (1, 1, 2))
    assert one.x.tobytes() == again.x.tobytes()
    assert one.x.tobytes() != other.x.tobytes()
    more = Fleet(**{**SMALL, "machines": 5000}).load(1).shard(7)
    assert one.x.tobytes() == more.x.tobytes()
    copy = pickle.loads(pickle.dumps(Fleet(**SMALL).load(1)))
    assert copy.shard(7).x.tobytes() == one.x.tobytes()


def test_pinned_values_guard_against_a_change_of_the_generator():
    shard = Fleet(machines=3, rows=4, features=2).load(0).shard(1)
    assert shard.x.view(np.uint32).tolist() == [
        [1064601410, 1067688517],
        [1069646074, 3208951459],
        [3198818421, 1047613802],
        [3207289558, 3215639375],
    ]


def test_a_million_machines_store_only_sizes():
    data = Fleet(machines=1_000_000, rows=(20, 200)).load(0)
    assert len(pickle.dumps(data)) < 8_100_000
    assert (data.sizes.min(), data.sizes.max()) == (20, 200)
    assert abs(data.sizes.mean() - 110) < 0.3
    assert len(data.shard(999_999)) == data.sizes[999_999]


def test_failures_are_rare_and_heterogeneity_makes_machines_differ():
    def offsets(heterogeneity):
        x, y = Fleet(machines=300, heterogeneity=heterogeneity).load(0).generate(np.arange(300))
        return y.mean(), x.mean(axis=1).std(axis=0).mean()

    (rare, alike), (rare_too, different) = offsets(0.0), offsets(1.0)
    assert 0.05 < rare < 0.15
    assert 0.05 < rare_too < 0.15
    assert different > 2 * alike


def test_faults_come_as_often_as_set():
    y = Fleet(machines=500, target="fault", fault_rate=0.1).load(0).generate(np.arange(500))[1]
    shares = np.bincount(y.ravel(), minlength=4) / y.size
    assert shares[0] == pytest.approx(0.9, abs=0.02)
    assert shares[1:].tolist() == pytest.approx([0.1 / 3] * 3, abs=0.012)
    none = Fleet(machines=9, target="fault", fault_rate=0.0).load(0).generate(np.arange(9))[1]
    assert none.max() == 0


def test_it_can_be_learnt_but_not_by_a_linear_model():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.neural_network import MLPClassifier

    data = Fleet(machines=300).load(0)
    x, y = data.generate(np.arange(300))
    test = data.test()

    def precision(model):
        model.fit(x.reshape(-1, 32), y.ravel())
        return average_precision_score(test.y, model.predict_proba(test.x)[:, 1])

    linear = precision(LogisticRegression(max_iter=300))
    network = precision(MLPClassifier((64, 32), max_iter=1000, early_stopping=True, random_state=0, n_iter_no_change=3))
    assert linear > 4 * test.y.mean()
    assert 0.98 > network > linear + 0.05


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": [50, 20]}, r"rows is \[50, 20\], but must be \[least, most\]"),
        ({"horizon": 300}, "horizon is 300, but must be less than life, 200"),
        ({"machine": 3}, "did you mean 'machines'"),
        ({"heterogeneity": 2}, "heterogeneity is 2"),
    ],
)
def test_wrong_settings_are_one_sentence(wrong, message):
    with pytest.raises(ConfigError, match=message):
        parse(Fleet, wrong)
