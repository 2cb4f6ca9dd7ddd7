import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import CapacityError
from fedray.runtime.placement import ACTOR_BYTES, ActorsConfig, ClusterShape, place

P = 1000
SMALL = ACTOR_BYTES + 8 * 4 * P


def cluster(cpus: float = 4, actors: float = 100) -> ClusterShape:
    """A cluster with memory for so many actors."""
    return ClusterShape(cpus=cpus, memory_bytes=int(actors * SMALL), nodes=1)


@pytest.mark.parametrize(
    ("settings", "num_clients", "num_actors", "slots", "cpus", "own"),
    [
        ({}, 1000, 4, 4, 1.0, False),
        ({}, 3, 3, 3, 1.0, False),
        ({"clients_per_actor": 1}, 8, 8, 4, 0.5, True),
        ({"clients_per_actor": 1}, 2, 2, 2, 1.0, True),
        ({"clients_per_actor": 3}, 10, 4, 4, 1.0, False),
        ({"clients_per_actor": 50}, 10, 1, 1, 1.0, False),
        ({"num_actors": 7}, 1000, 7, 4, 0.571, False),
        ({"num_actors": 7}, 5, 5, 4, 0.8, False),
    ],
)
def test_placement(settings: dict, num_clients: int, num_actors: int, slots: int, cpus: float, own: bool):
    placement = place(ActorsConfig(**settings), num_clients, P, cluster())
    assert (placement.num_actors, placement.slots, placement.own_actor) == (num_actors, slots, own)
    assert placement.cpus_per_actor == cpus
    assert placement.actor_bytes == SMALL


def test_auto_takes_fewer_actors_where_memory_is_short():
    assert place(ActorsConfig(), 1000, P, cluster(cpus=64, actors=5.5)).num_actors == 5


def test_cluster_with_less_than_one_processor_has_one_slot():
    assert place(ActorsConfig(), 10, P, cluster(cpus=0.5)).slots == 1


@given(st.floats(0.5, 500), st.integers(1, 5000))
def test_shares_of_all_actors_fit_the_processors(cpus: float, num_clients: int):
    shape = ClusterShape(cpus=cpus, memory_bytes=10**15, nodes=1)
    placement = place(ActorsConfig(clients_per_actor=1), num_clients, P, shape)
    assert placement.num_actors * placement.cpus_per_actor <= cpus + 1e-6 or placement.num_actors == 1
    assert placement.cpus_per_actor * 1000 == pytest.approx(round(placement.cpus_per_actor * 1000))


@given(
    st.integers(2, 5000),
    st.floats(1, 40),
    st.one_of(
        st.builds(lambda n: {"clients_per_actor": n}, st.integers(1, 10)),
        st.builds(lambda n: {"num_actors": n}, st.integers(1, 5000)),
    ),
)
def test_the_setting_that_a_capacity_error_names_fits(num_clients: int, actors: float, settings: dict):
    shape = cluster(actors=actors)
    wanted = settings.get("num_actors") or -(-num_clients // settings["clients_per_actor"])
    if min(wanted, num_clients) * SMALL <= shape.memory_bytes:
        assert place(ActorsConfig(**settings), num_clients, P, shape).num_actors == min(wanted, num_clients)
        return
    with pytest.raises(CapacityError) as caught:
        place(ActorsConfig(**settings), num_clients, P, shape)
    found = re.search(r"set actors\.(\w+) to at (least|most) (\d+), or to (auto|null)$", str(caught.value))
    assert found, str(caught.value)
    name, _, number, other = found.groups()
    for value in (int(number), None if other == "null" else other):
        assert place(parse(ActorsConfig, {**settings, name: value}), num_clients, P, shape).num_actors >= 1


def test_one_actor_that_does_not_fit_is_one_sentence():
    with pytest.raises(
        CapacityError, match=r"one client actor of this model needs about 0\.3 GB.*choose a smaller model"
    ):
        place(ActorsConfig(), 10, P, cluster(actors=0.9))


def test_placement_reads_well():
    assert str(place(ActorsConfig(num_actors=1), 10, P, cluster())) == "1 client actor, 1 at a time, about 0.3 GB"
    assert str(place(ActorsConfig(num_actors=8), 10, P, cluster())) == "8 client actors, 4 at a time, about 2.4 GB"
