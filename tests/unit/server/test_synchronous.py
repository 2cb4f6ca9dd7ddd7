"""Synchronous rounds in virtual time: three devices by hand, and what holds for all."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedray.config import parse
from fedray.errors import ConfigError, RoundFailed
from fedray.messages import Ints
from fedray.population.availability import Availability, Bools, Times
from fedray.population.devices import Devices, DevicesConfig
from fedray.population.profiles import Profiles, gathered
from fedray.server.synchronous import Pick, Synchronous, plan_round
from fedray.server.trips import ALL, LATE, REPORTED, VANISHED, WHY, Demand, Timeline


class Listed(Availability):
    """Each client is there in one interval."""

    def __init__(self, *intervals: tuple[float, float]) -> None:
        self.begins, self.ends = np.array(intervals).T

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        begins, ends = self.begins[clients], self.ends[clients]
        there = (begins <= times) & (times < ends)
        return there, np.where(there, ends, np.where(times < begins, begins, np.inf))


ALWAYS = (0.0, math.inf)


def profiles(**columns: Any) -> Profiles:
    """10 examples a second, 100 bytes a second down and 50 up, without latency, for three devices."""
    defaults = {
        "examples_per_s": np.full(3, 10.0),
        "download": 100.0,
        "upload": 50.0,
        "latency_s": 0.0,
        "loss": 0.0,
        "memory_bytes": np.inf,
        "joules_per_example": 1.0,
        "joules_per_byte": 0.125,
    }
    return gathered(3, **{**defaults, **{name: np.array(values) for name, values in columns.items()}})


def round_of(
    *there: tuple[float, float],
    wanted: int = 2,
    passes: Sequence[float] = (100, 100, 100),
    now: float = 0.0,
    seed: int = 0,
    weights: Sequence[float] | None = None,
    protocol: dict[str, Any] | None = None,
    pick: Pick | None = None,
    batch: Sequence[float] | None = None,
    **columns: Any,
) -> Timeline:
    """A round of three devices: 1,000 bytes down and 500 up, 10 s each, and 10 s of training."""
    devices = Devices(profiles(**columns), Listed(*there) if there else Listed(ALWAYS, ALWAYS, ALWAYS))
    demand = Demand(
        wanted=wanted,
        passes=np.array(passes, float),
        down=1000,
        up=500,
        able=np.arange(3),
        batch=None if batch is None else np.array(batch, float),
        weights=None if weights is None else np.array(weights, float),
    )
    config = parse(Synchronous, {"over_selection": 3 / wanted, **(protocol or {})})
    return plan_round(config, devices, demand, seed, 1, now, pick)


def test_the_first_two_of_three_count():
    found = round_of(passes=(300, 100, 200))
    assert found.clients.tolist() == [0, 1, 2]
    assert found.fate.tolist() == [LATE, REPORTED, REPORTED]
    assert (found.begin, found.end, found.committed) == (0, 40, True)
    assert found.until.tolist() == [40, 30, 40]
    assert found.trips.compute_s.tolist() == [30, 10, 20]
    assert found.down.tolist() == [1000] * 3
    assert found.up.tolist() == [0, 500, 500]  # client 0 was told at 40 s, when it had just trained
    assert found.joules.tolist() == [300 + 125, 100 + 187.5, 200 + 187.5]
    assert found.clients[found.counts].tolist() == [1, 2]


def test_ties_go_to_the_lower_id():
    assert round_of().fate.tolist() == [REPORTED, REPORTED, LATE]


def test_latency_counts_for_both_transfers():
    found = round_of(latency_s=(1.0, 2.0, 3.0))
    assert (found.begin + found.trips.download_s + found.trips.compute_s + found.trips.upload_s).tolist() == [
        32,
        34,
        36,
    ]
    assert found.end == 34


def test_deadline_with_one_missing():
    found = round_of(passes=(100, 900, 900), protocol={"deadline_s": 60, "min_reports": 0.5})
    assert found.fate.tolist() == [REPORTED, LATE, LATE]
    assert (found.end, found.committed) == (60, True)
    assert found.until.tolist() == [30, 60, 60]
    assert found.joules.tolist() == [100 + 187.5, 500 + 125, 500 + 125]  # told at 60 s, after 50 s of training


def test_late_devices_send_what_they_have_time_for():
    """A deadline of 60 s leaves 40 s for training: 400 examples, so 13 batches of 30, and none of 500."""
    protocol = {"deadline_s": 60, "min_reports": 0.5, "partial_work": True, "over_selection": 1}
    found = round_of(passes=(100, 900, 900), batch=(30, 30, 500), wanted=3, protocol=protocol)
    assert found.fate.tolist() == [REPORTED, REPORTED, LATE]
    assert found.most_steps is not None
    assert found.most_steps.tolist() == [ALL, 13, ALL]
    assert found.trips.compute_s.tolist() == [10, 39, 90]
    assert found.until.tolist() == [30, 59, 60]
    assert (found.end, found.committed) == (60, True)
    assert found.joules.tolist() == [100 + 187.5, 390 + 187.5, 500 + 125]


def test_late_device_that_leaves_is_lost_with_its_partial_work():
    protocol = {"deadline_s": 60, "min_reports": 0.5, "partial_work": True, "over_selection": 1}
    there = (ALWAYS, (0.0, 58.0), (0.0, 59.0))
    found = round_of(*there, passes=(100, 900, 900), batch=(30, 30, 30), wanted=3, protocol=protocol)
    assert found.fate.tolist() == [REPORTED, VANISHED, REPORTED]  # at 59 s both would have sent their 13 batches


def test_partial_work_without_a_deadline_is_refused():
    with pytest.raises(ConfigError, match="there is no deadline_s; set it"):
        parse(Synchronous, {"partial_work": True})


def test_exactly_at_the_deadline_is_in_time():
    assert round_of(protocol={"deadline_s": 30}).fate.tolist() == [REPORTED, REPORTED, LATE]


def test_too_few_at_the_deadline_abandons_the_round():
    found = round_of(passes=(100, 900, 900), protocol={"deadline_s": 60, "min_reports": 1})
    assert (found.committed, found.end) == (False, 60)
    assert found.fate.tolist() == [REPORTED, LATE, LATE]
    assert found.clients[found.counts].tolist() == []


def test_a_device_that_leaves_is_lost():
    found = round_of((0, 15), ALWAYS, ALWAYS)
    assert found.fate.tolist() == [VANISHED, REPORTED, REPORTED]
    assert WHY[int(found.why[0])] == "the device went away"
    assert found.until.tolist() == [15, 30, 30]
    assert found.joules.tolist() == [50 + 125, 287.5, 287.5]


def test_one_that_leaves_at_the_moment_of_its_report_has_reported():
    found = round_of((0, 30), ALWAYS, ALWAYS)
    assert found.fate.tolist() == [REPORTED, REPORTED, LATE]


def test_one_that_leaves_in_the_middle_of_a_transfer_loses_its_bytes():
    found = round_of((0, 5), (0, 25), ALWAYS, protocol={"min_reports": 0.5})
    assert found.fate.tolist() == [VANISHED, VANISHED, REPORTED]
    assert found.down.tolist() == [500, 1000, 1000]
    assert found.up.tolist() == [0, 250, 500]
    assert found.lost.tolist() == [500, 250, 0]
    assert (found.end, found.committed) == (30, True)  # nobody is left to come


def test_without_deadline_a_round_of_nobody_ends_when_the_last_is_gone():
    found = round_of((0, 5), (0, 25), (0, 12))
    assert (found.end, found.committed) == (25, False)


def test_failed_transfers():
    found = round_of(loss=(1.0, 0.0, 0.0))
    assert found.fate.tolist() == [VANISHED, REPORTED, REPORTED]
    assert WHY[int(found.why[0])] == "its download failed"
    assert found.until[0] == pytest.approx(10)
    assert (found.down.tolist(), found.lost.tolist()) == ([1000] * 3, [1000, 0, 0])


def test_a_failed_upload_was_sent_and_is_lost():
    seed = next(
        seed
        for seed in range(1000)
        if round_of(loss=(0.5, 0.0, 0.0), seed=seed).why[0] == 2  # whose first draw is above and second below
    )
    found = round_of(loss=(0.5, 0.0, 0.0), seed=seed)
    assert WHY[int(found.why[0])] == "its upload failed"
    assert (found.up.tolist(), found.lost.tolist()) == ([500] * 3, [500, 0, 0])


def test_selection_waits_for_devices_that_come():
    found = round_of(ALWAYS, (100, math.inf), (200, math.inf))
    assert (found.selecting, found.begin) == (0, 200)
    assert found.clients.tolist() == [0, 1, 2]
    assert found.end == 230


def test_selection_ends_with_those_that_are_there():
    found = round_of(ALWAYS, (100, math.inf), (700, math.inf), protocol={"selection_s": 600})
    assert (found.begin, found.clients.tolist()) == (600, [0, 1])


def test_who_leaves_before_the_round_begins_is_not_in_it():
    found = round_of((0, 50), (100, math.inf), (200, math.inf), wanted=2, protocol={"selection_s": 600})
    assert (found.begin, found.clients.tolist()) == (200, [1, 2])


def test_with_too_few_the_selection_begins_again():
    found = round_of((2000, math.inf), (2000, math.inf), (2000, math.inf), protocol={"selection_s": 600})
    assert (found.begin, found.clients.tolist()) == (2000, [0, 1, 2])


def test_nobody_for_a_year():
    with pytest.raises(RoundFailed, match="round 1: within 366 days of virtual time there were never 2 of 3 devices"):
        round_of((0, 1), (2, 3), (4, 5), now=10, protocol={"selection_s": 86400})


def test_over_selection_decides_how_many_are_asked():
    assert len(round_of(protocol={"over_selection": 1}).clients) == 2
    assert len(round_of(protocol={"over_selection": 1.2}).clients) == 3


def test_weights_decide_who_is_asked():
    chosen = [round_of(wanted=1, weights=(1, 0.001, 8), protocol={"over_selection": 1}, seed=s) for s in range(400)]
    counts = np.bincount([int(found.clients[0]) for found in chosen], minlength=3)
    assert counts[1] < 5
    assert 0.83 < counts[2] / 400 < 0.95


def test_uniform_selection_is_uniform():
    chosen = [round_of(wanted=1, protocol={"over_selection": 1}, seed=seed).clients[0] for seed in range(900)]
    assert (abs(np.bincount(chosen, minlength=3) - 300) < 60).all()


def highest(clients: Ints, num: int) -> Ints:
    """The highest ids."""
    return clients[-num:]


def test_a_selection_picks_among_those_that_are_there():
    one = {"over_selection": 1}
    assert round_of(wanted=1, protocol=one, pick=highest).clients.tolist() == [2]
    assert round_of(ALWAYS, ALWAYS, (50, math.inf), wanted=1, protocol=one, pick=highest).clients.tolist() == [1]


def test_a_selection_picks_among_all_that_come_at_the_same_moment():
    later = (100, math.inf)
    found = round_of((0, 50), later, later, wanted=1, now=60, protocol={"over_selection": 1}, pick=highest)
    assert (found.begin, found.clients.tolist()) == (100, [2])


def test_a_selection_takes_all_where_too_few_are_there():
    found = round_of(ALWAYS, (100, math.inf), (700, math.inf), protocol={"selection_s": 600}, pick=highest)
    assert (found.begin, found.clients.tolist()) == (600, [0, 1])


AVAILABILITY = st.sampled_from(
    [
        {"name": "always"},
        {"name": "bernoulli", "chance": 0.5, "period_s": 40},
        {"name": "diurnal", "jitter_hours": 3},
        {"name": "shifts"},
        {"name": "markov", "mean_there_s": 120, "mean_away_s": 60},
    ]
)
PROTOCOL = st.fixed_dictionaries(
    {
        "over_selection": st.floats(1, 2),
        "selection_s": st.floats(1, 5000),
        "deadline_s": st.none() | st.floats(1, 300),
        "min_reports": st.floats(0.05, 1),
    }
)


@settings(max_examples=100, deadline=None)
@given(
    availability=AVAILABILITY,
    protocol=PROTOCOL,
    loss=st.sampled_from([0.0, 0.2]),
    outages=st.sampled_from([None, {"groups": 5, "mean_days_between": 0.1, "mean_hours": 0.2}]),
    wanted=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    now=st.floats(0, 1e6),
)
def test_what_holds_in_every_round(
    availability: dict[str, Any],
    protocol: dict[str, Any],
    loss: float,
    outages: dict[str, Any] | None,
    wanted: int,
    seed: int,
    now: float,
):
    profile = {"name": "lognormal", "examples_per_s": 5, "speed_spread": 1, "loss": loss}
    everything = {"profile": profile, "availability": availability, "outages": outages}
    devices = parse(DevicesConfig, everything).build(40, seed)
    config = parse(Synchronous, protocol)
    demand = Demand(
        wanted=wanted, passes=np.linspace(10, 400, 40), down=2_000_000, up=1_000_000, able=np.arange(40), weights=None
    )
    if config.deadline_s is not None and seed % 2:
        config, demand = config.model_copy(update={"partial_work": True}), replace(demand, batch=np.full(40, 7.0))
    found = plan_round(config, devices, demand, seed, 1, now)
    again = plan_round(config, parse(DevicesConfig, everything).build(40, seed), demand, seed, 1, now)
    assert np.array_equal(found.until, again.until)
    assert found.end == again.end

    assert now <= found.begin <= found.end  # time never goes back
    assert (found.until >= found.begin).all()
    assert (found.until <= found.end).all()
    assert len(set(found.clients.tolist())) == len(found.clients) <= math.ceil(config.over_selection * wanted)
    there = devices.availability.leaves(found.clients, np.full(len(found.clients), found.begin), found.end)
    assert (there >= found.until).all()  # nobody works while away
    reported = found.fate == REPORTED
    done = found.begin + found.trips.download_s + found.trips.compute_s + found.trips.upload_s
    assert reported.sum() <= wanted
    assert np.array_equal(found.until[reported], done[reported])
    assert (done[found.fate == LATE] >= found.end).all() or reported.sum() == wanted
    assert found.committed == (reported.sum() >= config.least(wanted))
    if found.most_steps is not None:
        hurries = (found.most_steps != ALL) & (found.fate == LATE)
        assert (done[hurries] <= found.begin + config.deadline_s).all()  # it is late because others were enough
        assert ((done[hurries] >= found.end) | (reported.sum() == wanted)).all()

    whole = np.where(reported, demand.down + demand.up, 0)
    received = found.down + found.up - found.lost  # bytes sent are bytes received and bytes lost
    assert (found.lost >= 0).all()
    assert (received >= 0).all()
    assert (found.lost[reported] == 0).all()
    assert np.array_equal(received[reported], whole[reported])
    assert np.isin(received[~reported], (0, demand.down)).all()
    assert (found.joules == 0).all()
