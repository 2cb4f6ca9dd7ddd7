import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray import seeds

KNOWN_KEYS = ["0xeac0ad3a5e06ac17", "0x5e15ed33588a0210", "0xeebac3fdc2e6251c"]
KNOWN_WORDS = [1208786322042806764, 8822856475412636728]
KNOWN_ORDERS = [[0, 4, 2, 1, 3], [4, 3, 2, 0, 1], [3, 4, 0, 2, 1]]
KNOWN_TORCH = 7693641958701889860
SEED = st.integers(0, 2**63 - 1)


def test_streams_are_the_same_on_every_machine_for_ever():
    keys = seeds.keys(7, "batches", 3, [0, 1, 2**40])
    assert [hex(k) for k in keys.tolist()] == KNOWN_KEYS
    assert seeds.words(keys, 2)[0].tolist() == KNOWN_WORDS
    assert seeds.permutations(keys, 5).tolist() == KNOWN_ORDERS
    assert seeds.torch_seed(7, "dropout", 3, 4) == KNOWN_TORCH


@given(SEED, st.integers(0, 10**6), st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_a_key_depends_on_nothing_but_its_own_client(seed: int, round: int, clients: list[int]):
    together = seeds.keys(seed, "a", round, clients)
    assert together.tolist() == [seeds.keys(seed, "a", round, c)[0] for c in clients]


def test_keys_differ_by_seed_purpose_round_and_client():
    variants = [
        seeds.keys(seed, purpose, round, np.arange(200))
        for seed in (0, 1, 2**62)
        for purpose in ("batches", "dropout")
        for round in (0, 1, 2)
    ]
    everything = np.concatenate(variants)
    assert len(np.unique(everything)) == len(everything)


def test_more_words_begin_with_the_same_ones():
    keys = seeds.keys(1, "x", 1, np.arange(5))
    assert np.array_equal(seeds.words(keys, 40)[:, :7], seeds.words(keys, 7))


def test_words_from_a_place_on_are_those_of_the_whole_stream():
    keys = seeds.keys(1, "x", 1, np.arange(5))
    assert np.array_equal(seeds.words(keys, 7, start=33), seeds.words(keys, 40)[:, 33:])


def test_uniforms_are_in_range_and_even():
    values = seeds.uniforms(seeds.keys(0, "u", 0, np.arange(100)), 1000)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.003
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    chi2 = ((counts - 5000) ** 2 / 5000).sum()
    assert chi2 < 45  # 19 degrees of freedom, p = 0.0007


def test_streams_of_neighbouring_clients_are_uncorrelated():
    values = seeds.uniforms(seeds.keys(0, "u", 0, np.arange(50)), 2000)
    correlation = np.corrcoef(values)[~np.eye(50, dtype=bool)]
    assert np.abs(correlation).max() < 0.12


def test_bells_have_mean_0_deviation_1_and_bounds():
    values = seeds.bells(seeds.keys(3, "noise", 0, np.arange(100)), 2000)
    assert values.dtype == np.float32
    assert abs(float(values.mean(dtype=np.float64))) < 0.01
    assert abs(float(values.std(dtype=np.float64)) - 1) < 0.01
    assert np.abs(values).max() <= 3.4642


@settings(max_examples=30)
@given(SEED, st.integers(1, 300))
def test_permutations_hold_everything_once(seed: int, num: int):
    orders = seeds.permutations(seeds.keys(seed, "p", 1, np.arange(3)), num)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(num), (3, 1)))


def test_every_order_of_four_comes_equally_often():
    orders = seeds.permutations(seeds.keys(0, "p", 1, np.arange(24_000)), 4)
    _, counts = np.unique(orders @ np.array([64, 16, 4, 1]), return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 52  # 23 degrees of freedom, p = 0.0005


def test_generator_and_torch_seed_depend_on_every_argument():
    arguments = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 1), (0, "a", 0, 1), (0, "a", 1, 1), (0, "a|1"), (0, "a", 11, 1)]
    assert len({seeds.torch_seed(*a) for a in arguments}) == len(arguments)
    assert len({seeds.generator(*a).random() for a in arguments}) == len(arguments)
    assert all(0 <= seeds.torch_seed(*a) < 2**63 for a in arguments)


def test_no_words_for_no_clients():
    assert seeds.words(seeds.keys(0, "a", 0, []), 3).shape == (0, 3)


@pytest.mark.parametrize("num", [0, 1])
def test_shapes_of_short_streams(num: int):
    keys = seeds.keys(0, "a", 0, np.arange(4))
    assert seeds.bells(keys, num).shape == seeds.permutations(keys, num).shape == (4, num)
