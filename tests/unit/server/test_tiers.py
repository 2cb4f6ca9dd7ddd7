"""Tiers that do not wait for each other: exact times on paper."""

from typing import Any

import numpy as np
import pytest
from devices_by_hand import a_second_each_way

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.population.availability import Always
from fedray.population.devices import Devices
from fedray.server.strategies import FedAvg
from fedray.server.strategy import begin
from fedray.server.tiers import FedAT, TierQueue, begin_tiers, step_of_tier, tiers_of, together
from fedray.server.trips import LATE, REPORTED, Demand


def queue(passes: list[float], wanted: int = 2, **rounds: Any) -> TierQueue:
    """Two tiers of devices that receive in 1 s, train for as many seconds as they have passes, and send in 1 s."""
    num = len(passes)
    profiles = a_second_each_way(num)
    demand = Demand(wanted=wanted, passes=np.array(passes, float), down=100, up=100, able=np.arange(num))
    config = parse(FedAT, {"tiers": 2, "rounds": {"over_selection": 1, **rounds}})
    return TierQueue(config, Devices(profiles, Always().build(num, 0)), demand, seed=0)


def test_tiers_are_as_large_as_each_other():
    duration_s = np.array([3.0, 1.0, 2.0, 2.0, 9.0])
    found = tiers_of(duration_s, np.array([2, 3, 5, 7, 8]), 2)
    assert [tier.tolist() for tier in found] == [[3, 5, 7], [2, 8]]


def test_each_tier_goes_at_its_own_pace():
    """The fast tier takes 10 s, the slow one 25 s, and each starts from what the server has when it begins."""
    steps = queue([8, 23, 8, 23])
    found = [steps.step(number) for number in range(1, 7)]
    assert [(tier, times.begin, times.end) for tier, times in found] == [
        (0, 0, 10),
        (0, 10, 20),
        (1, 0, 25),
        (0, 20, 30),
        (0, 30, 40),
        (0, 40, 50),
    ]
    assert [int(times.version[0]) for _, times in found] == [0, 1, 0, 2, 4, 5]
    assert [times.versions for _, times in found] == [(0,), (0,), (2,), (3,), (3,), (3,)]
    assert [times.clients.tolist() for _, times in found[:3]] == [[0, 2], [0, 2], [1, 3]]
    tier, times = steps.step(7)  # the slow one began when it had reported, after three steps
    assert (tier, times.begin, times.end, int(times.version[0])) == (1, 25, 50, 3)
    assert steps.step(2)[1].end == 20  # from the start once more


def test_slow_devices_of_a_tier_miss_its_deadline():
    steps = queue([8, 30, 8, 23], deadline_s=26, min_reports=0.5)
    found = [steps.step(number) for number in range(1, 4)]
    assert [(tier, times.end) for tier, times in found] == [(0, 10), (0, 20), (1, 26)]
    assert found[2][1].fate.tolist() == [LATE, REPORTED]
    assert found[2][1].committed


def test_slow_tiers_weigh_what_fast_ones_have_reported():
    models = [np.float32([1, 0]), np.float32([0, 1]), np.float32([4, 4])]
    assert together(models, [5, 2, 1]).tolist() == [(1 * 1 + 5 * 4) / 8, (2 * 1 + 5 * 4) / 8]


def test_server_puts_the_newest_models_together():
    state = begin_tiers(begin(FedAvg(), np.float32([0, 0]), 2), 2)
    start = state.parameters
    state = step_of_tier(state, FedAvg(), 0, start, np.array([2.0, 0.0]), 2)
    assert state.parameters.tolist() == [0, 0]  # as the slow tier, which weighs all, has nothing new
    assert [tier.parameters.tolist() for tier in state.below[0]] == [[2, 0], [0, 0]]
    state = step_of_tier(state, FedAvg(), 1, start, np.array([0.0, 3.0]), 2)
    assert state.parameters.tolist() == [1, 1.5]
    state = step_of_tier(state, FedAvg(), 0, state.parameters, np.array([3.0, 0.0]), 2)
    assert [tier.parameters.tolist() for tier in state.below[0]] == [[4, 1.5], [0, 3]]
    assert state.parameters.tolist() == [np.float32(4 / 3), 2.5]
    assert [tier.weight for tier in state.below[0]] == [2, 1]
    assert state.round == 3


def test_wrong_settings():
    with pytest.raises(ConfigError, match="tiers"):
        parse(FedAT, {"tiers": 0})
    with pytest.raises(ConfigError, match="there is no deadline_s"):
        parse(FedAT, {"rounds": {"partial_work": True}})
