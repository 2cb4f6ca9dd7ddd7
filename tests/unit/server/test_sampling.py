import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.errors import ConfigError
from fedray.server.draws import permute
from fedray.server.sampling import CohortConfig, choose

KINDS = ("uniform", "without_replacement", "weighted")


@settings(max_examples=80)
@given(st.integers(1, 600), st.integers(0, 2**63 - 1), st.integers(0, 50))
def test_permute_is_a_bijection(num: int, seed: int, cycle: int):
    assert np.array_equal(np.sort(permute(np.arange(num), num, seed, cycle)), np.arange(num))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 16, 17, 64, 65, 4095, 4096, 4097, 100_000])
def test_permute_is_a_bijection_at_the_edges(num: int):
    assert np.array_equal(np.sort(permute(np.arange(num), num, 7, 0)), np.arange(num))


def test_permute_part_by_part_is_the_whole_and_changes_no_argument():
    positions = np.arange(1000)
    whole = permute(positions, 1000, 3, 1)
    assert np.array_equal(positions, np.arange(1000))
    assert np.array_equal(whole, np.concatenate([permute(positions[i : i + 7], 1000, 3, 1) for i in range(0, 1000, 7)]))
    assert not np.array_equal(whole, permute(positions, 1000, 3, 2))


def test_permute_sends_every_position_everywhere_alike():
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), permute(np.arange(6), 6, seed, 0)] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 60  # 25 degrees of freedom, p = 0.0001


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(1, 80), st.data())
def test_cohort_is_sorted_unique_and_in_range(kind: str, num_clients: int, data: st.DataObject):
    size = data.draw(st.integers(1, num_clients))
    round = data.draw(st.integers(1, 1000))
    sizes = np.arange(1, num_clients + 1)
    config = CohortConfig(size=size, sampling=kind)
    cohort = choose(config, sizes, 5, round)
    assert cohort.dtype == np.int64
    assert len(cohort) == size
    assert (np.diff(cohort) > 0).all()
    assert 0 <= cohort[0] <= cohort[-1] < num_clients
    assert np.array_equal(cohort, choose(config, sizes, 5, round))


@pytest.mark.parametrize("kind", KINDS)
def test_cohort_differs_by_round_and_seed(kind: str):
    sizes = np.full(1000, 5)
    config = CohortConfig(size=20, sampling=kind)
    cohorts = {tuple(choose(config, sizes, seed, round).tolist()) for seed in range(3) for round in range(1, 60)}
    assert len(cohorts) == 3 * 59


@pytest.mark.parametrize(("num_clients", "size"), [(12, 4), (10, 3), (7, 7), (1000, 64), (5, 4)])
def test_nobody_comes_twice_within_a_cycle(num_clients: int, size: int):
    config = CohortConfig(size=size, sampling="without_replacement")
    rounds = num_clients // size
    for cycle in range(3):
        drawn = [choose(config, np.ones(num_clients), 1, cycle * rounds + r) for r in range(1, rounds + 1)]
        assert len(np.unique(np.concatenate(drawn))) == rounds * size


def test_everybody_comes_once_where_the_size_divides_the_population():
    config = CohortConfig(size=5, sampling="without_replacement")
    drawn = np.concatenate([choose(config, np.ones(100), 1, round) for round in range(1, 21)])
    assert np.array_equal(np.sort(drawn), np.arange(100))


def test_nobody_is_left_out_for_ever_where_it_does_not():
    config = CohortConfig(size=4, sampling="without_replacement")
    assert len(np.unique(np.concatenate([choose(config, np.ones(7), 1, round) for round in range(1, 30)]))) == 7


def test_uniform_draws_everybody_alike():
    counts = np.zeros(20)
    for round in range(1, 3001):
        counts[choose(CohortConfig(size=4), np.ones(20), 0, round)] += 1
    assert ((counts - 600) ** 2 / 600).sum() < 45


def test_weighted_draws_one_in_proportion_to_its_examples():
    sizes, counts = np.array([1, 2, 3, 4, 10]), np.zeros(5)
    for round in range(1, 4001):
        counts[choose(CohortConfig(size=1, sampling="weighted"), sizes, 0, round)] += 1
    expected = 4000 * sizes / sizes.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 20  # 4 degrees of freedom, p = 0.0005


def test_weighted_draws_pairs_as_one_after_another_without_replacement():
    sizes, pairs = np.array([1.0, 2.0, 5.0]), np.zeros((3, 3))
    for round in range(1, 4001):
        a, b = choose(CohortConfig(size=2, sampling="weighted"), sizes, 3, round)
        pairs[a, b] += 1
    p = sizes / sizes.sum()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        expected = 4000 * (p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b]))
        assert abs(pairs[a, b] - expected) < 4 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [({}, 10), ({"fraction": 0.5}, 50), ({"fraction": 0.001}, 1), ({"fraction": 1.0}, 100), ({"size": 7}, 7)],
)
def test_size_of_a_cohort(settings: dict, wanted: int):
    assert CohortConfig(**settings).resolve(100) == wanted


def test_cohort_larger_than_the_population_is_one_sentence():
    with pytest.raises(ConfigError, match=r"^cohort\.size is 9, but .* only 8 clients; set cohort\.size to at most 8$"):
        choose(CohortConfig(size=9), np.ones(8), 0, 1)
