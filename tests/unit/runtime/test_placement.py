import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import CapacityError
from fedray.runtime.limits import Limit
from fedray.runtime.placement import (
    ACTOR_BYTES,
    CUDA_BYTES,
    FORKED_ACTOR_BYTES,
    ActorsConfig,
    ClusterShape,
    cannot_fork,
    place,
)

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


@pytest.mark.parametrize(
    ("settings", "cpus", "actors", "fitting"),
    [
        ({}, 6, 100, 6),
        ({}, 3, 100, 3),
        ({}, 6, 5.5, 5),
        ({}, 60, 100, 20),
        ({}, 0.5, 0.5, 1),
        ({"num_actors": 4}, 6, 100, 4),
        ({"clients_per_actor": 5}, 6, 100, 4),
        ({"clients_per_actor": 1}, 60, 100, 20),
    ],
)
def test_number_of_actors_follows_the_cluster_unless_it_is_fixed(
    settings: dict, cpus: float, actors: float, fitting: int
):
    placement = place(ActorsConfig(**settings), 20, P, cluster())
    assert placement.fitting(cpus, int(actors * SMALL)) == fitting
    is_free = not settings
    again = placement.refitted(cpus, int(actors * SMALL))
    assert again.num_actors == (fitting if is_free else placement.num_actors)
    assert again.slots == (fitting if is_free else placement.slots)


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


@pytest.mark.parametrize(
    ("fork", "here", "num_actors", "forked"),
    [
        ("auto", True, 2, True),
        ("auto", True, 1, False),
        ("auto", False, 9, False),
        (True, False, 9, True),
        (True, True, 1, True),
        (False, True, 9, False),
    ],
)
def test_actors_are_forked_where_there_are_several_on_this_machine(fork, here: bool, num_actors: int, forked: bool):
    shape = ClusterShape(cpus=4, memory_bytes=10**10, nodes=1, here=here)
    placement = place(ActorsConfig(num_actors=num_actors, fork=fork), 100, P, shape)
    assert placement.forked == forked
    assert placement.actor_bytes == (FORKED_ACTOR_BYTES if forked else ACTOR_BYTES) + 8 * 4 * P
    assert str(placement).endswith(", forked") == forked


def test_400_forked_actors_fit_a_machine_of_24_gb():
    """Ray leaves about 0.7 of it to actors."""
    shape = ClusterShape(cpus=2, memory_bytes=16_000_000_000, nodes=1, here=True)
    assert place(ActorsConfig(clients_per_actor=1), 400, 2000, shape).num_actors == 400


def test_fork_where_it_cannot_work_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "darwin")
    shape = ClusterShape(cpus=2, memory_bytes=10**10, nodes=1, here=True)
    assert not place(ActorsConfig(num_actors=9), 100, P, shape).forked
    with pytest.raises(CapacityError, match=r"actors\.fork is true.*this is darwin; set actors\.fork to auto"):
        place(ActorsConfig(num_actors=9, fork=True), 100, P, shape)


def test_this_machine_can_fork():
    assert cannot_fork() is None


def limit(what: str, value: int) -> Limit:
    return Limit(what=what, value=value, used=100, per_actor=10, remedy=f"raise {what}")


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"num_actors": 91}, "set actors.num_actors to at most 90, or to null"),
        ({"clients_per_actor": 1}, "set actors.clients_per_actor to at least 2, or to auto"),
    ],
)
def test_the_tightest_limit_is_named_with_its_remedy(settings: dict, setting: str):
    limits = (limit("files", 10**6), limit("threads", 1000), limit("tasks", 2000))
    shape = ClusterShape(cpus=2, memory_bytes=10**12, nodes=1, limits=limits)
    assert place(ActorsConfig(num_actors=90), 100, P, shape).num_actors == 90
    with pytest.raises(CapacityError) as caught:
        place(ActorsConfig(**settings), 100, P, shape)
    num_actors = settings.get("num_actors", 100)
    assert str(caught.value) == (
        f"{num_actors} client actors need about {100 + 10 * num_actors} threads, but the limit is 1000: raise threads; "
        f"90 would fit: {setting}"
    )


def test_limit_below_what_ray_itself_takes_is_one_sentence():
    shape = ClusterShape(cpus=2, memory_bytes=10**12, nodes=1, limits=(limit("threads", 50),))
    with pytest.raises(CapacityError, match=r"1 client actors? need.*the limit is 50 and not one fits: raise threads$"):
        place(ActorsConfig(num_actors=1), 100, P, shape)


def gpus(number: int, cpus: float = 16) -> ClusterShape:
    return ClusterShape(cpus=cpus, memory_bytes=10**12, nodes=1, gpus=number, here=True)


@pytest.mark.parametrize(
    ("settings", "number", "num_actors", "slots", "share"),
    [
        ({}, 2, 2, 2, 1.0),
        ({"gpus_per_actor": 0.25}, 2, 8, 8, 0.25),
        ({"gpus_per_actor": 0.3}, 2, 6, 6, 0.3),
        ({"gpus_per_actor": 0.1}, 2, 16, 16, 0.1),
        ({"num_actors": 3}, 2, 3, 3, 0.5),
        ({"num_actors": 3}, 1, 3, 3, 0.3333),
        ({"num_actors": 3}, 8, 3, 3, 1.0),
        ({"num_actors": 3, "gpus_per_actor": 0.5}, 2, 3, 3, 0.5),
        ({"clients_per_actor": 50}, 1, 20, 16, 0.05),
    ],
)
def test_actors_share_gpus(settings: dict, number: int, num_actors: int, slots: int, share: float):
    placement = place(ActorsConfig(**settings), 1000, P, gpus(number), on_gpu=True)
    assert (placement.num_actors, placement.slots, placement.gpus_per_actor) == (num_actors, slots, share)
    assert not placement.forked
    assert placement.actor_bytes > ACTOR_BYTES + CUDA_BYTES


@given(st.integers(1, 16), st.integers(1, 3000))
def test_shares_of_all_actors_fit_whole_gpus(number: int, num_actors: int):
    """An actor's share is never divided between two."""
    shape = ClusterShape(cpus=64, memory_bytes=10**15, nodes=1, gpus=number)
    share = place(ActorsConfig(num_actors=num_actors), 5000, P, shape, on_gpu=True).gpus_per_actor
    assert 0 < share <= 1
    assert number * (10_000 // round(share * 10_000)) >= num_actors


def test_actors_on_the_processor_ask_for_no_gpu():
    assert place(ActorsConfig(), 1000, P, gpus(2)).gpus_per_actor == 0
    assert place(ActorsConfig(), 1000, P, gpus(2)).num_actors == 16


@pytest.mark.parametrize(
    ("settings", "number", "sentence"),
    [
        ({}, 0, r"^device is cuda, but the Ray cluster has no GPUs; set device to cpu, or start its nodes with"),
        (
            {"num_actors": 5, "gpus_per_actor": 0.5},
            2,
            r"^5 client actors with 0\.5 of a GPU each need more than the 2 GPUs of the cluster, where 4 fit; "
            r"set actors\.gpus_per_actor to at most 0\.3333, or set actors\.num_actors to at most 4, or to null$",
        ),
        (
            {"clients_per_actor": 100, "gpus_per_actor": 1},
            1,
            r"more than the 1 GPU of the cluster, where 1 fit.*actors\.clients_per_actor to at least 1000",
        ),
        ({"num_actors": 2, "fork": True}, 1, r"cannot be forked here: CUDA does not work in a forked process; set"),
    ],
)
def test_gpus_that_do_not_suffice_are_one_sentence(settings: dict, number: int, sentence: str):
    with pytest.raises(CapacityError, match=sentence):
        place(ActorsConfig(**settings), 1000, P, gpus(number), on_gpu=True)


def test_many_actors_on_a_gpu_are_not_forked():
    assert not place(ActorsConfig(num_actors=90), 1000, P, gpus(1, cpus=2), on_gpu=True).forked
    assert place(ActorsConfig(num_actors=90), 1000, P, gpus(1, cpus=2)).forked


def test_shares_of_a_gpu_read_well():
    text = str(place(ActorsConfig(num_actors=4, gpus_per_actor=0.25), 10, P, gpus(1), on_gpu=True))
    assert text == "4 client actors, 4 at a time, about 7.2 GB, 0.25 of a GPU each"
