"""Which points a study has, and in which order."""

import pytest

from fedray.errors import ConfigError
from fedray.scaling.grid import Setup, points, setups
from fedray.scaling.request import Request, Target, counts, target


def request(**changes) -> Request:
    return Request(**{"clients": (100, 200), "actors": (1, 2), "rounds": 3, **changes})


def test_strong_grid_is_every_cohort_with_every_number_of_actors():
    assert [(s.clients, s.actors) for s in setups(request(mode="strong"))] == [(100, 1), (100, 2), (200, 1), (200, 2)]


def test_weak_grid_has_as_many_clients_for_each_actor():
    assert [(s.clients, s.actors) for s in setups(request(mode="weak"))] == [(100, 1), (200, 1), (200, 2), (400, 2)]


def test_nodes_without_an_actor_are_no_points():
    found = setups(request(clients=(100,), nodes=(1, 2)))
    assert found == (
        Setup(clients=100, actors=1, nodes=1),
        Setup(clients=100, actors=2, nodes=1),
        Setup(clients=100, actors=2, nodes=2),
    )
    with pytest.raises(ConfigError, match="raise --actors"):
        setups(request(nodes=(3,)))


def test_each_repeat_is_the_whole_grid_in_an_order_of_its_own():
    order = points(request(clients=(100, 200, 300, 400), repeats=3))
    repeats = [[p.setup for p in order if p.repeat == number] for number in (1, 2, 3)]
    assert [p.repeat for p in order] == [1] * 8 + [2] * 8 + [3] * 8
    assert all(sorted(some) == sorted(repeats[0]) for some in repeats)
    assert repeats[0] != repeats[1] != repeats[2]


def test_order_follows_from_the_seed():
    assert points(request(seed=1)) == points(request(seed=1))
    many = {"clients": (1, 2, 3, 4, 5)}
    assert points(request(seed=1, **many)) != points(request(seed=2, **many))


def test_names_are_unique():
    names = [point.name for point in points(request(nodes=(1, 2), repeats=5))]
    assert len(set(names)) == len(names)


def test_counts_are_sorted_and_once_each():
    assert counts("1000, 100,1_000", "--clients") == (100, 1000)


@pytest.mark.parametrize("text", ["", "0", "-1", "1,,2", "a", "1.5", "1;2"])
def test_counts_refuse(text: str):
    with pytest.raises(ConfigError, match="--actors is"):
        counts(text, "--actors")


def test_target():
    assert target("clients=10, actors=4") == Target(actors=4, clients=10)


@pytest.mark.parametrize(
    "text", ["", "actors=4", "actors=4,clients=0", "actors=4,nodes=2", "actors=4,clients=1,actors=2,"]
)
def test_target_refuses(text: str):
    with pytest.raises(ConfigError, match="--predict is"):
        target(text)
