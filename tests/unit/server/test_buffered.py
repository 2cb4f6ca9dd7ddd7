"""Buffered asynchronous steps in virtual time: three devices by hand, and what holds for all."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices_by_hand import a_second_each_way
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import RoundFailed
from fedray.population.devices import Devices, DevicesConfig
from fedray.server.buffered import Buffered, Queue
from fedray.server.trips import LATE, REPORTED, STALE, VANISHED, Demand, Timeline


def queue(
    num: int, *, passes: list[float], wanted: int = 1, seed: int = 0, availability: Any = "always", **config: Any
) -> Queue:
    """Devices that receive in 1 s, train for as many seconds as they have passes, and send in 1 s."""
    profiles = a_second_each_way(num, joules_per_example=1.0)
    there = parse(DevicesConfig, {"availability": availability}).availability.build(num, seed)
    demand = Demand(wanted=wanted, passes=np.array(passes, float), down=100, up=100, able=np.arange(num))
    return Queue(parse(Buffered, {"concurrency": 1, **config}), Devices(profiles, there), demand, seed)


def of(found: Timeline) -> list[tuple[int, float, float, int, int]]:
    """Client, start, end, version and fate of all that a step accounts for, in the order of their ends."""
    rows = zip(
        found.clients.tolist(),
        found.trips.started.tolist(),
        found.until.tolist(),
        found.version.tolist(),
        found.fate.tolist(),
        strict=True,
    )
    return sorted(rows, key=lambda row: (row[2], row[0]))


def test_one_device_after_another():
    steps = queue(3, passes=[8, 8, 8])
    for number in (1, 2, 3, 4):
        found = steps.step(number)
        assert (found.begin, found.end) == (10 * (number - 1), 10 * number)
        (_client, started, until, version, fate) = of(found)[0]
        assert (started, until, version, fate) == (10 * (number - 1), 10 * number, number - 1, REPORTED)
        assert len(found.clients) == 1
    assert steps.num_events == 4


def test_two_at_once_of_which_one_is_slow():
    """A fast device takes 10 s, the slow one 25 s; a step for each update: 0-10, 10-20, then the slow one at 25."""
    passes = [8, 8, 8, 23]
    seed = next(s for s in range(200) if 3 in _first_two(passes, s))
    steps = queue(4, passes=passes, concurrency=2, seed=seed)
    ends = [steps.step(number) for number in range(1, 5)]
    assert [found.end for found in ends] == [10, 20, 25, 30]
    assert [of(found)[0][1:] for found in ends] == [
        (0, 10, 0, REPORTED),
        (10, 20, 1, REPORTED),
        (0, 25, 0, REPORTED),  # sent before any step, there after two: staleness 2
        (20, 30, 2, REPORTED),
    ]
    assert ends[2].clients.tolist() == [3]
    assert ends[0].versions == (0,)  # the slow one trains on what was there at the start
    assert ends[2].versions == (2,)


def _first_two(passes: list[float], seed: int) -> list[int]:
    found = queue(4, passes=[8, 8, 8, 8], concurrency=2, wanted=2, seed=seed).step(1)
    return found.clients.tolist()


def test_an_update_that_is_too_old_does_not_count():
    passes = [8, 8, 8, 23]
    seed = next(s for s in range(200) if 3 in _first_two(passes, s))
    steps = queue(4, passes=passes, concurrency=2, seed=seed, max_staleness=1)
    found = [steps.step(number) for number in range(1, 4)]
    assert [each.end for each in found] == [10, 20, 30]
    late = of(found[2])[0]
    assert late == (3, 0, 25, 0, LATE)
    assert found[2].why[found[2].fate == LATE].tolist() == [STALE]
    assert found[2].lost[found[2].fate == LATE].tolist() == [100]


def test_a_buffer_waits_for_all_of_its_updates():
    steps = queue(6, passes=[8] * 6, concurrency=2, wanted=3)
    found = steps.step(1)
    assert found.end == 20
    assert [row[1:4] for row in of(found)] == [(0, 10, 0), (0, 10, 0), (10, 20, 0)]
    following = steps.step(2)
    assert following.end == 30  # one more at 20, two at 30, of which the first fills it
    assert [row[1:4] for row in of(following)] == [(10, 20, 0), (20, 30, 1), (20, 30, 1)]


def test_steps_can_be_asked_for_again():
    settings = {"passes": [5.0 + client for client in range(30)], "concurrency": 7, "wanted": 4}
    steps, others = queue(30, **settings), queue(30, **settings)
    first = [of(steps.step(number)) for number in range(1, 9)]
    assert of(others.step(8)) == first[7]
    assert of(others.step(3)) == first[2]
    assert of(others.step(4)) == first[3]


def test_at_night_the_server_waits():
    night = {"name": "diurnal", "start_hour": 1, "hours": 1, "jitter_hours": 0, "chance": 1}
    steps = queue(5, passes=[8] * 5, availability=night)
    found = steps.step(1)
    assert of(found)[0][1:3] == (3600, 3610)


def test_nobody_comes_any_more(tmp_path: Path):
    trace = tmp_path / "trace.csv"
    trace.write_text("client,begin,end\n0,0,25\n1,0,25\n2,0,25\n")
    steps = queue(3, passes=[8] * 3, availability={"name": "trace", "path": str(trace)})
    assert [steps.step(number).end for number in (1, 2)] == [10, 20]
    with pytest.raises(RoundFailed, match="step 3: within 366 days of virtual time fewer than 1 updates came"):
        steps.step(3)


def test_staleness_weighs_down():
    config = parse(Buffered, {"concurrency": 1, "staleness_power": 0.5})
    assert config.scale(np.array([0, 3, 8])).tolist() == [1, 0.5, 1 / 3]


AVAILABILITY = st.sampled_from(
    [
        {"name": "always"},
        {"name": "bernoulli", "chance": 0.5, "period_s": 60},
        {"name": "diurnal"},
        {"name": "markov", "mean_there_s": 300, "mean_away_s": 100},
    ]
)


@settings(max_examples=40, deadline=None)
@given(
    availability=AVAILABILITY,
    loss=st.sampled_from([0.0, 0.1]),
    wanted=st.integers(1, 8),
    concurrency=st.integers(1, 20),
    max_staleness=st.integers(0, 5),
    seed=st.integers(0, 10**6),
)
def test_what_holds_in_every_step(
    availability: dict[str, Any], loss: float, wanted: int, concurrency: int, max_staleness: int, seed: int
):
    profile = {"name": "lognormal", "examples_per_s": 5, "speed_spread": 1, "loss": loss}
    devices = parse(DevicesConfig, {"profile": profile, "availability": availability}).build(60, seed)
    config = parse(Buffered, {"concurrency": concurrency, "max_staleness": max_staleness})
    demand = Demand(wanted=wanted, passes=np.linspace(10, 300, 60), down=10**6, up=10**6, able=np.arange(60))
    steps, before = Queue(config, devices, demand, seed), 0.0
    trips: list[tuple[int, float, float]] = []
    needed: set[int] = set()
    for number in range(1, 7):
        found = steps.step(number)
        assert before == found.begin <= found.end  # time never goes back
        assert len(set(found.clients.tolist())) == len(found.clients)  # one fate each
        reported = found.fate == REPORTED
        assert reported.sum() == wanted
        staleness = number - 1 - found.version
        assert (staleness[reported] <= max_staleness).all()
        assert (staleness[found.fate == LATE] > max_staleness).all()
        assert set(found.version[reported].tolist()) <= needed | {number - 1}  # what it starts from was kept
        assert (found.until <= found.end).all()
        assert (found.until[found.fate != VANISHED] > found.begin).all() or math.isclose(found.begin, 0)
        leaves = devices.availability.leaves(found.clients, found.trips.started, found.end)
        assert (leaves >= found.until).all()  # nobody works while away
        received = found.down + found.up - found.lost
        assert np.array_equal(received[reported], np.full(wanted, 2 * 10**6))
        assert np.isin(received[~reported], (0, 10**6)).all()
        trips += zip(found.clients.tolist(), found.trips.started.tolist(), found.until.tolist(), strict=True)
        before, needed = found.end, set(found.versions)
    for client in range(60):  # nobody is in two places at once
        mine = sorted((start, end) for who, start, end in trips if who == client)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(mine))
    points = sorted([(start, 1) for _, start, _ in trips] + [(end, -1) for _, _, end in trips])
    assert max(np.cumsum([step for _, step in points])) <= concurrency
