"""Oort, by hand."""

import math
from typing import Any

import numpy as np
import pytest
from choosing import among, counts, outcome

from fedray.server.selection.oort import Oort

EXPLOIT: dict[str, Any] = {"exploration": 0, "exploration_min": 0}


def known(policy: Oort, *losses: float, round: int = 1) -> dict[str, np.ndarray]:
    return policy.note(policy.start(len(losses)), outcome(round, dict(enumerate(losses))))


def test_exploitation_takes_the_highest_utility():
    policy = Oort(**EXPLOIT, clip=1, cutoff=1)
    memory = known(policy, 1.0, 4.0, 2.0, 3.0)
    assert sorted(policy.select(among(range(4), 2, round=2), memory)) == [1, 3]
    sizes = np.array([100, 1, 10, 10])  # utility 100, 4, 20, 30
    assert sorted(policy.select(among(range(4), 2, round=2, sizes=sizes), memory)) == [0, 3]


def test_utility_by_hand():
    policy = Oort(clip=0.5)
    memory = known(policy, 1.0, 2.0, 4.0)  # utilities 10, 20, 40; the median caps at 20
    memory = policy.note(memory, outcome(2, {0: 3.0}))
    confidence = [math.sqrt(0.1 * math.log(3) / last) for last in (2, 1, 1)]
    found = policy._utility(among(range(3), 1, round=3), memory)  # utilities 30, 20, 40, capped at 30
    assert found == pytest.approx([1 + confidence[0], 2 / 3 + confidence[1], 1 + confidence[2]])


def test_system_utility_by_hand():
    policy = Oort(penalty=2, pace=0.5)
    found = policy._system(among(range(3), 1, duration_s=np.array([10.0, 20.0, 40.0])), policy.start(3))
    assert found.tolist() == [1, 1, 0.25]  # 20 s are preferred
    assert policy._system(among(range(3), 1), policy.start(3)).tolist() == [1, 1, 1]


def test_a_slow_device_gives_way():
    policy = Oort(**EXPLOIT, clip=1, cutoff=1, pace=0.5)
    memory = known(policy, 4.0, 2.0, 2.0)
    durations = np.array([100.0, 10.0, 10.0])
    assert sorted(policy.select(among(range(3), 2, round=2, duration_s=durations), memory)) == [1, 2]
    assert 0 in policy.select(among(range(3), 2, round=2), memory)


def test_cutoff_lets_those_be_drawn_that_are_nearly_as_good():
    policy = Oort(**EXPLOIT, clip=1, cutoff=0.5)
    memory = known(policy, 1.0, 10.0, 9.0, 8.0)
    chosen = {int(policy.select(among(range(4), 1, round=2, seed=seed), memory)[0]) for seed in range(100)}
    assert chosen == {1, 2, 3}


def test_exploration_decays_to_its_least():
    policy = Oort(exploration=0.8, exploration_decay=0.5, exploration_min=0.3)
    assert [policy._part(round) for round in (1, 2, 3, 4)] == [0.8, 0.4, 0.3, 0.3]


def test_a_round_explores_a_part_and_exploits_the_rest():
    policy = Oort(exploration=0.5, exploration_decay=1)
    memory = policy.note(policy.start(20), outcome(1, {client: 1.0 + client for client in range(10)}))
    chosen = policy.select(among(range(20), 8, round=2), memory)
    assert (chosen >= 10).sum() == 4
    few_new = policy.select(among(range(11), 8, round=2), memory)
    assert (few_new >= 10).sum() == 1  # there is only one to explore
    few_known = policy.select(among([0, *range(10, 20)], 8, round=2), memory)
    assert (few_known >= 10).sum() == 7


def test_who_never_reported_stays_unexplored():
    policy = Oort(**EXPLOIT)
    memory = policy.note(policy.start(3), outcome(1, {0: 1.0, 1: None}))
    assert policy.select(among(range(3), 1, round=2), memory).tolist() == [0]
    assert memory["times"].tolist() == [1, 1, 0]
    assert memory["last"].tolist() == [1, 1, 0]


def test_who_was_chosen_too_often_gives_way_while_there_are_others():
    policy = Oort(**EXPLOIT, max_times=1)
    memory = policy.note(policy.start(4), outcome(1, {0: 9.0, 1: 9.0}))
    memory = policy.note(memory, outcome(2, {0: 9.0}))
    assert sorted(policy.select(among(range(4), 2, round=3), memory)) == [2, 3]
    assert len(policy.select(among(range(3), 2, round=3), memory)) == 2
    assert counts(policy, 10, 5, 2).tolist() == [1] * 10


def test_pacer_grows_when_a_window_brings_less():
    policy = Oort(pace=0.5, pace_step=0.1, pace_window=2)
    memory, paces = policy.start(2), []
    for round, loss in enumerate((4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 5.0, 1.0, 0.5, 0.5), start=1):
        memory = policy.note(memory, outcome(round, {0: loss, 1: None}))
        paces.append(round_to(memory["pace"]))
    assert paces == [0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7]


def round_to(value: np.ndarray) -> float:
    return float(np.round(value, 6))
