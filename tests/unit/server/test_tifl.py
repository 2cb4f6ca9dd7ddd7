"""Tiers of speed, by hand."""

import numpy as np
from choosing import among, counts, outcome

from fedray.server.selection.tifl import Tifl

DURATIONS = np.array([5.0, 1.0, 9.0, 2.0, 8.0, 4.0])  # tiers of two: 1 and 3, 5 and 0, 4 and 2


def test_tiers_are_by_how_long_devices_take():
    assert Tifl(tiers=3).start(6, DURATIONS)["tier"].tolist() == [1, 0, 2, 0, 2, 1]
    assert Tifl(tiers=3).start(6)["tier"].tolist() == [0] * 6


def test_a_round_has_clients_of_one_tier_and_each_tier_its_share():
    policy, drawn = Tifl(tiers=3), np.zeros(3, int)
    memory = policy.start(6, DURATIONS)
    for round in range(1, 601):
        chosen = policy.select(among(range(6), 2, round=round), memory)
        (tier,) = set(memory["tier"][chosen].tolist())
        drawn[tier] += 1
    assert (np.abs(drawn - 200) < 4 * np.sqrt(600 * 2 / 9)).all()


def test_neighbours_fill_up_where_too_few_of_a_tier_are_there():
    policy = Tifl(tiers=3)
    memory = {**policy.start(6, DURATIONS), "chance": np.array([0, 0, 1.0])}
    chosen = policy.select(among((0, 1, 3, 4, 5), 3), memory)  # no tier has three
    assert chosen[0] == 4
    assert set(chosen[1:].tolist()) == {0, 5}


def test_tier_without_credits_is_not_drawn():
    policy = Tifl(tiers=3, credits=2)
    memory = policy.start(6, DURATIONS)
    for _ in range(2):
        memory = policy.note(memory, outcome(1, {1: 1.0, 3: 1.0}))
    assert memory["times"].tolist() == [2, 0, 0]
    for round in range(1, 40):
        assert set(memory["tier"][policy.select(among(range(6), 2, round=round), memory)].tolist()) <= {1, 2}


def test_chances_follow_losses_where_the_last_tier_got_no_better():
    policy = Tifl(tiers=3, interval=2)
    memory = policy.start(6, DURATIONS)
    memory = policy.note(memory, outcome(1, {1: 1.0, 3: 3.0}))
    assert memory["chance"].tolist() == [1 / 3] * 3
    memory = policy.note(memory, outcome(2, {0: 4.0, 5: 4.0}))  # better than nothing known
    assert memory["chance"].tolist() == [1 / 3] * 3
    assert memory["before"].tolist() == [2, 4, 4]  # nothing is known of the last: as bad as the worst
    memory = policy.note(memory, outcome(3, {2: 2.0, 4: 2.0}))
    memory = policy.note(memory, outcome(4, {0: 5.0, 5: 3.0}))  # no better
    assert memory["chance"].tolist() == [2 / 8, 4 / 8, 2 / 8]
    memory = policy.note(memory, outcome(6, {0: 1.0, 5: 1.0}))  # better
    assert memory["chance"].tolist() == [2 / 8, 4 / 8, 2 / 8]


def test_everybody_takes_part_in_the_long_run():
    assert counts(Tifl(tiers=4), 20, 4, 400, duration_s=np.arange(20.0)).min() > 30
