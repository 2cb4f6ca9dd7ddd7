"""Synchronous rounds as the field runs them, in virtual time: selection, configuration and reporting.

Bonawitz et al. 2019, Towards federated learning at scale: system design, https://arxiv.org/abs/1902.01046, sections 2
and 4. What a device does and when is a function of the experiment alone, so who will be late is known before anybody
trains, and only those whose updates count are trained for real.

Shapes: N clients of the population, S selected in a round. Times are virtual seconds since the start of the run.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from fedray.config import Config
from fedray.errors import RoundFailed
from fedray.messages import Ints
from fedray.population.availability import DAY
from fedray.population.devices import Devices
from fedray.server.draws import in_weighted_order, permute
from fedray.server.trips import (
    ALL,
    LATE,
    LONGEST_WAIT_S,
    OVER,
    REPORTED,
    VANISHED,
    Demand,
    Timeline,
    Trips,
    account,
    send,
)

_MARGIN_S = 1e-6
"""What a device that hurries leaves before the deadline, so that no rounding makes it late."""
Pick = Callable[[Ints, int], Ints]
"""Chooses so many of some devices: sorted ids in, sorted ids out."""


class Synchronous(Config):
    """Each round waits for its devices."""

    name: Literal["synchronous"] = "synchronous"
    over_selection: Annotated[float, Field(ge=1)] = 1.3
    """Devices that are selected, by those whose updates are wanted (`cohort.size`): some will be late or go away."""
    selection_s: Annotated[float, Field(gt=0)] = 600.0
    """How long a round waits at most for devices to select from; then it begins with those that are there."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after its begin at which a round ends, even if updates are missing; null: when nobody is left to come."""
    min_reports: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Part of the wanted updates that a round needs; with fewer it is abandoned, and changes nothing."""
    partial_work: bool = False
    """A device that would be late for the deadline trains fewer steps, one at least, and sends what it has. Such an
    update has its full weight, as in FedProx (Li et al. 2020, https://arxiv.org/abs/1812.06127)."""
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    """From the end of a round to the selection of the next."""

    @model_validator(mode="after")
    def _deadline_of_partial_work(self) -> "Synchronous":
        if self.partial_work and self.deadline_s is None:
            raise ValueError("partial_work is for those that are late, but there is no deadline_s; set it")
        return self

    @property
    def lever(self) -> str:
        """The setting to lower where there are too few devices."""
        return "min_reports"

    def least(self, wanted: int) -> int:
        """Updates that a round needs which wants so many."""
        return max(1, math.ceil(self.min_reports * wanted))


def plan_round(
    config: Synchronous,
    devices: Devices,
    demand: Demand,
    seed: int,
    round: int,
    now: float,
    pick: Pick | None = None,
) -> Timeline:
    """All that happens in a round: a pure function of its arguments.

    Args:
        config: How rounds are run.
        devices: The population's.
        demand: What the round asks of them.
        seed: The experiment's seed.
        round: Round number, from 1.
        now: When the selection begins.
        pick: Chooses among all that are there when the round begins; None: the first that are found take part.

    Raises:
        RoundFailed: In a year of virtual time not enough devices are there at once.
    """
    clients, begin = _select(config, devices, demand, seed, round, now)
    if pick is not None:
        clients = pick(demand.able[devices.availability.there(demand.able, begin)], _size(config, demand))
    size = len(clients)
    limit = begin + (math.inf if config.deadline_s is None else config.deadline_s)
    started, draw = np.full(size, begin), np.full(size, round)
    trips, most_steps = send(devices, demand, clients, started, limit, seed, draw), None
    if config.partial_work:
        demand, most_steps = _shortened(devices, demand, trips, limit)
        trips = send(devices, demand, clients, started, limit, seed, draw)
    done = trips.done
    comes = trips.comes & (done <= limit)
    order = np.flatnonzero(comes)[np.lexsort((clients[comes], done[comes]))]
    counted = order[: demand.wanted]
    if len(counted) == demand.wanted:
        end = float(done[counted[-1]])
    else:
        end = limit if math.isfinite(limit) else float(trips.ends.max())
    fate = np.where(trips.gone < np.minimum(done, end), VANISHED, LATE).astype(np.int8)
    fate[counted] = REPORTED
    return account(
        devices,
        demand,
        trips,
        selecting=now,
        begin=begin,
        end=end,
        fate=fate,
        why=np.where(fate == VANISHED, trips.why, OVER).astype(np.int8),
        version=np.full(size, round - 1),
        committed=len(counted) >= config.least(demand.wanted),
        most_steps=most_steps,
    )


def _shortened(devices: Devices, demand: Demand, trips: Trips, limit: float) -> tuple[Demand, Ints]:
    """What is asked of devices, those that would be late training as many whole batches as they have time for.

    Returns:
        The demand, and the steps that each has time for: `ALL` where it is in time, or has not time for one.
    """
    most_steps = np.full(len(trips), ALL)
    if demand.batch is None:
        return demand, most_steps
    clients, batch = trips.clients, demand.batch[trips.clients]
    time_s = np.maximum(0.0, limit - _MARGIN_S - trips.upload_s - trips.received)
    steps = np.floor(time_s * devices.profiles.examples_per_s[clients].astype(np.float64) / batch).astype(np.int64)
    is_short = (trips.done > limit) & (steps >= 1)
    most_steps[is_short] = steps[is_short]
    passes = demand.passes.copy()
    passes[clients[is_short]] = (steps * batch)[is_short]
    return replace(demand, passes=passes), most_steps


def _select(
    config: Synchronous, devices: Devices, demand: Demand, seed: int, round: int, now: float
) -> tuple[Ints, float]:
    """Who takes part, sorted, and when the round begins: when enough are there, or the time to wait is over.

    Who is there at once is taken in random order; then those that come, in the order of their coming.
    """
    size = _size(config, demand)
    least = config.least(demand.wanted)
    waited = 0.0
    while waited <= LONGEST_WAIT_S:
        found, seen = list[Ints](), list[Ints]()
        for some in _candidates(demand, seed, round, size):
            there = devices.availability.there(some, now + waited)
            found.append(some[there])
            seen.append(some[~there])
            if sum(map(len, found)) >= size:
                return np.sort(np.concatenate(found)[:size]), now + waited
        present, away = np.concatenate(found), np.concatenate(seen)
        chosen, begin = _wait(devices, present, away, size, now + waited, now + waited + config.selection_s)
        if len(chosen) >= least:
            return np.sort(chosen), begin
        waited = max(waited + config.selection_s, _idle(devices, demand.able, least, now, begin, config.selection_s))
    raise RoundFailed(
        f"round {round}: within {LONGEST_WAIT_S / DAY:g} days of virtual time there were never {least} of "
        f"{len(demand.able)} devices there at once; lower cohort.size or protocol.min_reports, raise "
        "protocol.selection_s, or change devices.availability"
    )


def _size(config: Synchronous, demand: Demand) -> int:
    """Devices that a round takes, where they are there."""
    return min(len(demand.able), math.ceil(config.over_selection * demand.wanted))


def _idle(devices: Devices, able: Ints, least: int, now: float, since: float, selection_s: float) -> float:
    """How many seconds of selections, from `now` on, can pass over: before their end too few will have come."""
    comes = devices.availability.comes(able, np.full(len(able), since), now + LONGEST_WAIT_S)
    enough = float(np.partition(comes, least - 1)[least - 1])
    return selection_s * max(0.0, math.floor((min(enough, now + 2 * LONGEST_WAIT_S) - now) / selection_s))


def _wait(devices: Devices, present: Ints, away: Ints, size: int, now: float, limit: float) -> tuple[Ints, float]:
    """Who is there when the wait ends: as soon as `size` have come, or at its limit."""
    comes = devices.availability.comes(away, np.full(len(away), now), limit)
    coming = np.lexsort((np.arange(len(away)), comes))[: size - len(present)]
    coming = coming[comes[coming] <= limit]
    is_full = len(present) + len(coming) == size
    begin = float(comes[coming[-1]]) if is_full and len(coming) else limit
    chosen = np.concatenate([present, away[coming]])
    return chosen[devices.availability.there(chosen, begin)], begin


def _candidates(demand: Demand, seed: int, round: int, size: int) -> Iterator[Ints]:
    """All devices that can take part, in the order in which they are asked, some at a time: most rounds need few."""
    if demand.weights is not None:
        yield demand.able[in_weighted_order(demand.weights[demand.able], seed, round)]
        return
    start, num = 0, max(1024, 2 * size)
    while start < len(demand.able):
        stop = min(len(demand.able), start + num)
        yield demand.able[permute(np.arange(start, stop), len(demand.able), seed, round)]
        start, num = stop, 2 * num
