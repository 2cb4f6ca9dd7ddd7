"""Availability: the clock of each kind, and what all kinds must keep to."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedray.config import parse
from fedray.errors import ConfigError
from fedray.population.availability import DAY, HOUR, Availability
from fedray.population.devices import DevicesConfig

KINDS: list[dict[str, Any]] = [
    {"name": "always"},
    {"name": "bernoulli", "chance": 0.6, "period_s": 1000},
    {"name": "diurnal", "zones": [0, -7.5, 9], "chance": 0.8},
    {"name": "shifts", "shifts": [[6, 14], [22, 30]], "plants": 3, "zones": [0, 5]},
    {"name": "markov", "mean_there_s": 5000, "mean_away_s": 3000},
]
OUTAGES = {"groups": 4, "mean_days_between": 0.5, "mean_hours": 2}


def built(num: int = 20, seed: int = 3, outages: dict[str, Any] | None = None, **settings: Any) -> Availability:
    return parse(DevicesConfig, {"availability": settings, "outages": outages}).build(num, seed).availability


@pytest.mark.parametrize("outages", [None, OUTAGES], ids=["calm", "outages"])
@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["name"])
def test_answers_depend_on_client_and_time_alone(settings: dict[str, Any], outages: dict[str, Any] | None):
    random = np.random.default_rng(0)
    clients, times = random.integers(0, 20, 300), random.uniform(0, 10 * DAY, 300)
    once, until = built(outages=outages, **settings).look(clients, times)
    again = built(outages=outages, **settings)
    for place in random.permutation(300).tolist():  # one by one, in another order
        there, stays = again.look(clients[place : place + 1], times[place : place + 1])
        assert (there[0], stays[0]) == (once[place], until[place])


@pytest.mark.parametrize("outages", [None, OUTAGES], ids=["calm", "outages"])
@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["name"])
def test_nothing_changes_before_it_says(settings: dict[str, Any], outages: dict[str, Any] | None):
    availability, clients = built(outages=outages, **settings), np.arange(20)
    for start in np.random.default_rng(1).uniform(0, 8 * DAY, 30).tolist():
        there, until = availability.look(clients, np.full(20, start))
        assert (until > start).all()
        for share in (0.3, 0.999):
            then = start + (np.minimum(until, start + DAY) - start) * share
            assert np.array_equal(availability.look(clients, then)[0], there)


@pytest.mark.parametrize("settings", KINDS[1:], ids=lambda settings: settings["name"])
def test_comes_and_leaves_are_when_it_changes(settings: dict[str, Any]):
    availability, clients = built(**settings), np.arange(20)
    now = np.full(20, 1.3 * DAY)
    comes = availability.comes(clients, now, np.inf)
    leaves = availability.leaves(clients, comes, np.inf)
    assert (comes >= now).all()
    assert (leaves > comes).all()
    assert availability.look(clients, comes)[0].all()
    assert availability.look(clients, (comes + leaves) / 2)[0].all()
    assert availability.look(clients, np.nextafter(leaves, 0) - 1e-6)[0].all()
    assert not availability.look(clients, leaves)[0].any()
    assert not availability.look(clients, (now + comes) / 2)[0][comes > now].any()


def test_limit_ends_the_look_ahead():
    availability = built(name="always")
    assert np.isinf(availability.leaves(np.arange(3), np.zeros(3), 100.0)).all()


@pytest.mark.parametrize(("settings", "part"), [(KINDS[1], 0.6), (KINDS[4], 5 / 8)], ids=["bernoulli", "markov"])
def test_part_of_the_time(settings: dict[str, Any], part: float):
    availability, clients = built(2000, **settings), np.arange(2000)
    for time in (0.0, 7777.0, 3 * DAY):
        assert abs(availability.there(clients, time).mean() - part) < 0.04


def test_markov_stays_as_long_as_it_should():
    availability, clients = built(2000, **KINDS[4]), np.arange(2000)
    comes = availability.comes(clients, np.full(2000, DAY), np.inf)
    changed = availability.comes(clients, availability.leaves(clients, comes, np.inf), np.inf)
    stays = availability.leaves(clients, changed, np.inf) - changed
    assert abs(stays.mean() / 5000 - 1) < 0.07
    assert abs(np.median(stays) / (5000 * np.log(2)) - 1) < 0.1


def test_diurnal_hours_by_hand():
    availability = built(1, name="diurnal", start_hour=22, hours=8, jitter_hours=0, chance=1)
    one = np.zeros(1, np.int64)
    at = lambda hour: bool(availability.there(one, hour * HOUR)[0])  # noqa: E731
    assert [at(hour) for hour in (0, 5.9, 6, 12, 21.9, 22, 29.9, 30)] == [
        True, True, False, False, False, True, True, False,
    ]  # fmt: skip
    assert availability.comes(one, np.array([7 * HOUR]), np.inf).tolist() == [22 * HOUR]
    assert availability.leaves(one, np.array([23 * HOUR]), np.inf).tolist() == [30 * HOUR]


def test_diurnal_zones_shift_the_hours():
    availability = built(50, name="diurnal", start_hour=12, hours=2, jitter_hours=0, chance=1, zones=[3])
    assert availability.there(np.arange(50), 9.5 * HOUR).all()  # 12.30 where clocks are three hours ahead
    assert not availability.there(np.arange(50), 12.5 * HOUR).any()


def test_shifts_by_hand():
    availability = built(1, name="shifts", shifts=[[6, 14], [22, 30]], days=5)
    one, week = np.zeros(1, np.int64), 7 * 24
    at = lambda hour: bool(availability.there(one, hour * HOUR)[0])  # noqa: E731
    assert not at(0)  # the night shift of Sunday does not work
    assert [at(h) for h in (6, 13.9, 14, 22, 29.9)] == [True, True, False, True, True]
    assert at(4 * 24 + 29)  # Friday's night shift, on Saturday morning
    assert not at(5 * 24 + 7)  # Saturday
    assert at(week + 6)
    assert availability.leaves(one, np.array([22 * HOUR]), np.inf).tolist() == [38 * HOUR]  # night and day shift touch


def test_shifts_around_the_clock_never_end():
    availability = built(1, name="shifts", shifts=[[0, 24]], days=7)
    assert availability.leaves(np.zeros(1, np.int64), np.zeros(1), 100 * DAY)[0] > 100 * DAY


def test_plants_of_other_zones_work_at_other_hours():
    availability = built(10, name="shifts", shifts=[[6, 14]], plants=2, zones=[0, 8])
    assert availability.there(np.arange(10), 24 * HOUR + 7 * HOUR).tolist() == [True] * 5 + [False] * 5
    assert availability.there(np.arange(10), 24 * HOUR - 1 * HOUR).tolist() == [False] * 5 + [True] * 5


def test_outages_take_whole_groups():
    availability = built(400, name="always", outages={"groups": 40, "mean_days_between": 1, "mean_hours": 24})
    there = availability.there(np.arange(400), 5 * DAY).reshape(40, 10)
    assert (there.all(axis=1) | ~there.any(axis=1)).all()
    assert 8 <= there.all(axis=1).sum() <= 32


def test_trace_by_hand(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text("client,begin,end\n5,10,20\n5,20,30\n9,0,5\n5,50,60\n")
    availability = built(2, name="trace", path=str(path), assign="order")
    at = lambda client, time: bool(availability.there(np.array([client]), time)[0])  # noqa: E731
    assert [at(0, t) for t in (0, 10, 25, 30, 55, 60, 1e9)] == [False, True, True, False, True, False, False]
    assert [at(1, t) for t in (0, 4.9, 5, 100)] == [True, True, False, False]
    assert availability.leaves(np.array([0]), np.array([12.0]), np.inf).tolist() == [30]
    assert availability.comes(np.array([0, 1]), np.array([61.0, 6.0]), np.inf).tolist() == [np.inf, np.inf]


def test_trace_begins_anew(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text("client,begin,end\n0,0,10\n0,90,100\n")
    availability = built(1, name="trace", path=str(path), period_s=100)
    one = np.zeros(1, np.int64)
    assert availability.leaves(one, np.array([95.0]), np.inf).tolist() == [110]  # over the end of the period
    assert availability.comes(one, np.array([250.0]), np.inf).tolist() == [290]


def test_fedscale_trace(tmp_path: Path):
    path = tmp_path / "client_behave_trace"
    device = {"duration": 50, "inactive": [30, 90], "finish_time": 100, "active": [10, 70], "model": "phone"}
    path.write_bytes(pickle.dumps({4: device}))
    availability = built(1, name="fedscale", path=str(path))
    at = lambda time: bool(availability.there(np.zeros(1, np.int64), time)[0])  # noqa: E731
    assert [at(t) for t in (0, 10, 29, 30, 70, 90, 110, 130)] == [False, True, True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("client,begin\n1,2\n", "has no column 'end'"),
        ("client,begin,end\n1,5,5\n", "row 1: an interval from 5 to 5"),
        ("client,begin,end\n1,0,500\n", "period_s is 100, but .* has an interval up to 500"),
    ],
)
def test_wrong_trace_is_one_sentence(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        built(2, name="trace", path=str(path), period_s=100)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "diurnal", "hours": 20, "jitter_hours": 3}, "hours and twice jitter_hours must stay below 24"),
        ({"name": "shifts", "shifts": [[14, 6]]}, r"shifts has \[14, 6\]"),
        ({"name": "bernoulli", "chance": 1}, "chance"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        built(**settings)
