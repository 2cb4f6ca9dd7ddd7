"""Fairness-constrained selection, by hand and in the long run."""

from itertools import combinations

import numpy as np
import pytest
from choosing import among, counts, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.server.selection.fair import Fair, _limit


def test_queues_by_hand():
    policy = Fair(guarantee=0.8)  # beta = 0.8 * 1 / 4
    memory = policy.note(policy.start(4), outcome(1, {2: 1.0}, wanted=1))
    assert memory["queue"] == pytest.approx([0.2, 0.2, 0, 0.2])
    memory = policy.note(memory, outcome(2, {0: None}, wanted=1))
    assert memory["queue"] == pytest.approx([0, 0.4, 0.2, 0.4])


def test_the_longest_queues_are_chosen():
    memory = {"queue": np.array([0.1, 0.4, 0.2, 0.3])}
    assert Fair().select(among(range(4), 2), memory).tolist() == [1, 3]
    assert sorted(Fair().select(among((0, 2, 3), 2), memory)) == [2, 3]


def test_equal_queues_are_drawn_alike():
    times = np.zeros(6)
    for round in range(1, 3001):
        times[Fair().select(among(range(6), 2, round=round), Fair().start(6))] += 1
    assert ((times - 1000) ** 2 / 1000).sum() < 25


def test_the_quickest_are_chosen_while_nobody_waits():
    durations = np.array([5.0, 1.0, 3.0, 2.0])
    assert sorted(Fair().select(among(range(4), 2, duration_s=durations), Fair().start(4))) == [1, 3]


def test_a_slow_one_is_worth_waiting_for_when_its_queue_is_long_enough():
    durations, memory = np.array([10.0, 10.0, 40.0]), {"queue": np.array([0.0, 0.0, 1.0])}  # the mean is 20 s
    assert Fair(speed=0.6).select(among(range(3), 1, duration_s=durations), memory).tolist() == [2]  # costs 0.9
    assert Fair(speed=0.7).select(among(range(3), 1, duration_s=durations), memory).tolist() != [2]  # costs 1.05


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10**6))
def test_no_other_choice_is_better(num: int, wanted: int, seed: int):
    wanted, random = min(num, wanted), np.random.default_rng(seed)
    queue, cost = random.integers(0, 5, num) / 2.0, random.integers(1, 6, num) * 0.5
    limit = _limit(queue, cost, wanted)
    able = np.flatnonzero(cost <= limit)
    chosen = able[np.argsort(-queue[able])[:wanted]]
    best = min(cost[list(some)].max() - queue[list(some)].sum() for some in combinations(range(num), wanted))
    assert cost[chosen].max() - queue[chosen].sum() == pytest.approx(best)


@pytest.mark.parametrize("guarantee", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("speed", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("with_devices", [False, True])
def test_everybody_is_chosen_at_its_rate(guarantee: float, speed: float, with_devices: bool):
    """With a tolerance for the queues that are left: they are bounded, so it shrinks with the rounds."""
    rounds, num, wanted = 1500, 30, 6
    durations = np.exp(np.random.default_rng(0).normal(size=num)) if with_devices else None
    times = counts(Fair(guarantee=guarantee, speed=speed), num, wanted, rounds, duration_s=durations)
    assert (times / rounds >= guarantee * wanted / num - 0.01).all()
    if with_devices and speed == 1 and guarantee < 1:
        assert times[np.argsort(durations)[:3]].mean() > 1.5 * times[np.argsort(durations)[-3:]].mean()


def test_everybody_is_chosen_at_its_rate_who_is_away_half_of_the_time():
    random = np.random.default_rng(1)
    times = counts(Fair(guarantee=0.8), 30, 5, 1500, there=lambda _: np.flatnonzero(random.random(30) < 0.5))
    assert (times / 1500 >= 0.8 * 5 / 30 - 0.01).all()
