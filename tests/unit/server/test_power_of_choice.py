"""Power of choice, by hand."""

import math

import numpy as np
from choosing import among, outcome

from fedray.server.draws import draw
from fedray.server.selection.power_of_choice import PowerOfChoice


def test_the_highest_losses_of_all_where_all_are_candidates():
    memory = PowerOfChoice().note(PowerOfChoice().start(5), outcome(1, {0: 0.5, 1: 0.9, 2: 0.1, 3: 0.7, 4: 0.8}))
    assert PowerOfChoice(ratio=5 / 2).select(among(range(5), 2), memory).tolist() == [1, 4]
    assert PowerOfChoice(ratio=9).select(among((0, 2, 3), 2), memory).tolist() == [3, 0]


def test_candidates_are_drawn_in_proportion_to_examples():
    """Of two candidates of four, the one with the higher loss is taken: by hand from the draw itself."""
    sizes, memory = np.array([1, 2, 30, 40]), {"loss": np.array([4, 3, 2, 1], np.float32)}
    for round in range(1, 50):
        chosen = PowerOfChoice(ratio=2).select(among(range(4), 1, sizes=sizes, round=round), memory)
        assert chosen.tolist() == [min(draw(sizes, 2, 0, round))]


def test_who_was_never_chosen_comes_first():
    memory = PowerOfChoice().note(PowerOfChoice().start(4), outcome(1, {0: 9.0, 2: 99.0}))
    assert sorted(PowerOfChoice().select(among(range(4), 2), memory)) == [1, 3]
    assert math.isinf(memory["loss"][1])


def test_who_gave_no_update_counts_as_the_median_until_it_does():
    policy = PowerOfChoice()
    memory = policy.note(policy.start(5), outcome(1, {0: 1.0, 1: None, 2: 2.0, 3: 6.0}))
    assert memory["loss"].tolist() == [1, 2, 2, 6, math.inf]
    memory = policy.note(memory, outcome(2, {1: 8.0, 3: None}))
    assert memory["loss"].tolist() == [1, 8, 2, 6, math.inf]
    assert policy.note(memory, outcome(3, {4: None}))["loss"].tolist() == memory["loss"].tolist()


def test_losses_that_are_asked_for():
    asked: list[list[int]] = []

    def losses(clients: np.ndarray) -> np.ndarray:
        asked.append(clients.tolist())
        return np.where(clients == 3, np.nan, clients)

    policy = PowerOfChoice(ratio=2, loss="evaluated")
    chosen = policy.select(among(range(4), 2, losses=losses), policy.start(4))
    assert [sorted(each) for each in asked] == [[0, 1, 2, 3]]
    assert chosen.tolist() == [2, 1]  # client 3 has nothing to tell, and comes last


def test_ratio_of_one_draws_by_size():
    memory = {"loss": np.arange(5, dtype=np.float32)}
    sizes = np.array([1, 2, 3, 4, 5])
    chosen = PowerOfChoice(ratio=1).select(among(range(5), 3, sizes=sizes, round=4), memory)
    assert sorted(chosen) == sorted(draw(sizes, 3, 0, 4))
