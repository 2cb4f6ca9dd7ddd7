"""Who is below whom, what comes up and goes down, and when: by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.server.edges import begin_below, climb
from fedray.server.hierarchy import Hierarchy, shares
from fedray.server.links import travel
from fedray.server.strategies import FedAvg
from fedray.server.strategy import ServerState, begin

TWO = {"levels": [{"name": "plant", "servers": 4, "rounds": 2}, {"name": "region", "servers": 2, "rounds": 3}]}


def hierarchy(**more) -> Hierarchy:
    return parse(Hierarchy, {**TWO, **more})


def test_neighbours_have_the_same_server():
    tree = hierarchy().build(10)
    assert tree.edge.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert [above.tolist() for above in tree.above] == [[0, 0, 1, 1], [0, 0]]
    assert [clients.tolist() for clients in tree.clients()] == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9]]
    assert tree.children(0) == [[0, 1], [2, 3]]
    assert tree.children(1) == [[0, 1]]


def test_levels_report_when_their_rounds_are_over():
    assert hierarchy().periods == [2, 6]
    assert [hierarchy().num_reporting(round) for round in range(1, 8)] == [0, 1, 0, 1, 0, 2, 0]


def test_table_says_who_is_below_whom(tmp_path: Path):
    path = tmp_path / "plants.csv"
    path.write_text("client,plant,region\n1,0,1\n0,1,0\n3,1,0\n2,0,1\n")
    levels = [{"name": "plant", "servers": 2}, {"name": "region", "servers": 2}]
    tree = hierarchy(levels=levels, table=str(path)).build(4)
    assert tree.edge.tolist() == [1, 0, 0, 1]
    assert tree.above[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0,0,0\n1,1,1\n1,1,1\n", "not each of the 3 clients once"),
        ("0,0,0\n1,1,1\n3,1,1\n", "not each of the 3 clients once"),
        ("0,0,0\n1,0,1\n2,1,1\n", "has plant 0 below two servers of region"),
        ("0,0,0\n1,2,1\n2,2,1\n", "not each of the 2 servers from 0 in column 'plant'"),
        ("0,0,0\n1,0.5,1\n2,1,1\n", "not each of the 2 servers from 0 in column 'plant'"),
    ],
)
def test_wrong_table_is_refused(rows: str, words: str, tmp_path: Path):
    path = tmp_path / "plants.csv"
    path.write_text(f"client,plant,region\n{rows}")
    levels = [{"name": "plant", "servers": 2}, {"name": "region", "servers": 2}]
    with pytest.raises(ConfigError, match=words):
        hierarchy(levels=levels, table=str(path)).build(3)


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([], "levels"),
        ([{"servers": 2}, {"servers": 1}], "give each a name of its own"),
        ([{"name": "a", "servers": 2}, {"name": "b", "servers": 3}], "more servers than the one below"),
    ],
)
def test_levels_that_cannot_be_are_refused(levels: list, words: str):
    with pytest.raises(ConfigError, match=words):
        hierarchy(levels=levels)


def test_more_servers_than_clients_are_refused():
    with pytest.raises(ConfigError, match=r"4 servers of 3 clients; lower plant's servers"):
        hierarchy().build(3)


def test_shares_are_in_proportion():
    assert shares(10, np.array([50, 30, 20])).tolist() == [5, 3, 2]
    assert shares(3, np.array([1000, 1, 1])).tolist() == [1, 1, 1]
    assert shares(7, np.array([2, 5])).tolist() == [2, 5]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_shares_add_up(data: st.DataObject):
    sizes = np.array(data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=12)))
    wanted = data.draw(st.integers(len(sizes), int(sizes.sum())))
    share = shares(wanted, sizes)
    assert share.sum() == wanted
    assert ((share >= 1) & (share <= sizes)).all()


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_edges_report_the_mean_of_their_models_and_go_on_from_it():
    settings = hierarchy(levels=[{"name": "plant", "servers": 2, "rounds": 2}])
    tree, cloud = settings.build(6), FedAvg()
    state = begin_below(begin(cloud, vector(1, 1, 5), 2), settings, 2)
    reports = {0: (np.array([1.0, 0.0, 1.0]), 30), 1: (np.array([0.0, 2.0, 0.0]), 10)}
    state = climb(state, settings, tree, cloud, reports, 2)
    assert state.round == 1
    assert state.parameters.tolist() == [1, 1, 5]  # nothing has come up yet
    assert [edge.parameters.tolist() for edge in state.below[0]] == [[2, 1, 6], [1, 3, 5]]
    assert [edge.weight for edge in state.below[0]] == [30, 10]
    state = climb(state, settings, tree, cloud, {0: (np.array([0.0, 4.0, 0.0]), 30)}, 2)
    # plant 0 changed by (1, 4, 1) with weight 60, plant 1 by (0, 2, 0) with weight 10
    assert state.parameters.tolist() == [np.float32(1 + 60 / 70), np.float32(1 + 260 / 70), np.float32(5 + 60 / 70)]
    assert all(edge.parameters is state.parameters and edge.weight == 0 for edge in state.below[0])


def test_regions_stand_between_plants_and_cloud():
    settings, cloud = hierarchy(), FedAvg()
    tree = settings.build(8)
    state = begin_below(begin(cloud, vector(0), 1), settings, 1)
    for round in range(1, 7):
        reports = {plant: (np.array([float(plant)]), 1) for plant in range(4)}
        state = climb(state, settings, tree, cloud, reports, 1)
        if round == 2:  # plants moved by 2 * (0, 1, 2, 3); regions take the means of 0 and 2, of 4 and 6
            assert [region.parameters.tolist() for region in state.below[1]] == [[1], [5]]
            assert [plant.parameters.tolist() for plant in state.below[0]] == [[1], [1], [5], [5]]
            assert [region.weight for region in state.below[1]] == [4, 4]
            assert state.parameters.tolist() == [0]
    assert state.parameters.tolist() == [9]  # the mean of three steps of 1 and three of 5
    assert [server.parameters.tolist() for level in state.below for server in level] == [[9]] * 6
    assert [server.weight for level in state.below for server in level] == [0] * 6


def test_edge_without_updates_has_nothing_to_say():
    settings = hierarchy(levels=[{"name": "plant", "servers": 2}])
    tree, cloud = settings.build(4), FedAvg()
    state = begin_below(begin(cloud, vector(0), 1), settings, 1)
    after = climb(state, settings, tree, cloud, {1: (np.array([3.0]), 5)}, 1)
    assert after.parameters.tolist() == [3]
    assert climb(after, settings, tree, cloud, {}, 1).parameters.tolist() == [3]


def test_strategies_of_levels_keep_their_own_memory():
    plant = {"name": "plant", "servers": 2, "strategy": {"name": "fedavgm", "momentum": 0.5}}
    settings, cloud = hierarchy(levels=[plant]), FedAvg()
    tree = settings.build(4)
    state = begin_below(begin(cloud, vector(0), 1), settings, 1)
    state = climb(state, settings, tree, cloud, {0: (np.array([2.0]), 1)}, 1)
    state = climb(state, settings, tree, cloud, {0: (np.array([0.0]), 1)}, 1)
    assert state.parameters.tolist() == [3]  # 2, then half of it again
    assert not state.slots
    assert all(edge.slots for edge in state.below[0])


def test_travel_takes_time_and_bytes():
    fast = {"up_mbps": 8, "down_mbps": 16, "latency_s": 1}  # a megabyte: 1 s up, 0.5 s down, and 1 s each
    levels = [{"name": "plant", "servers": 3, **fast}, {"name": "region", "servers": 2, "rounds": 2, **fast}]
    settings = hierarchy(levels=levels)
    tree = settings.build(6)
    assert tree.above[0].tolist() == [0, 0, 1]
    ends = np.array([10.0, 20.0, 5.0])
    way = travel(settings, tree, 1, ends, 10**6)
    assert (way.reached, way.end, way.up, way.down) == ("region", 22, 3 * 10**6, 3 * 10**6)
    assert way.next_s.tolist() == [
        23.5,
        23.5,
        8.5,
    ]  # plants wait for those of their region
    way = travel(settings, tree, 2, ends, 10**6)
    assert (way.reached, way.end, way.up) == ("cloud", 24, 5 * 10**6)  # region 0 has all at 22, the cloud at 24
    assert way.next_s.tolist() == [27, 27, 27]
    seldom = hierarchy(levels=[{"name": "plant", "servers": 3, "rounds": 2}])
    way = travel(seldom, seldom.build(6), 1, ends, 10**6)
    assert (way.reached, way.end, way.up, way.down) == ("plant", 20, 0, 0)
    assert way.next_s.tolist() == ends.tolist()


def test_link_without_a_speed_takes_no_time():
    level = {"servers": 2, "up_mbps": None, "down_mbps": None, "latency_s": 0}
    settings = hierarchy(levels=[level])
    way = travel(settings, settings.build(6), 1, np.array([10.0, 20.0]), 10**6)
    assert (way.end, way.next_s.tolist(), way.up) == (20, [20, 20], 2 * 10**6)


def test_state_without_a_hierarchy_has_nobody_below():
    assert ServerState(round=0, parameters=vector(1)).below == ()
