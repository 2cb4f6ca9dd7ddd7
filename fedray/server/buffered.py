"""Buffered asynchronous aggregation in virtual time: a queue of events, many at once.

Nguyen et al. 2022, Federated learning with buffered asynchronous aggregation (FedBuff), https://arxiv.org/abs/2106.06639:
so many devices are under way at any time; each that ends is replaced at once; when a buffer of updates is full, the
server takes a step, and goes on. An update is weighted down by its staleness, the steps that were taken since its
device was sent the model.

When devices start and end does not depend on what they learn, so the whole schedule is known before anybody trains.
Events are taken in bulk: all that ends before the buffer is full, then what was started in their places and ends before
it is full, too, until nothing does.

Shapes: N clients of the population, F devices under way. Times are virtual seconds since the start of the run.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray.errors import RoundFailed
from fedray.messages import Array, Ints
from fedray.population.availability import DAY, Times
from fedray.population.devices import Devices
from fedray.server.asynchronous import Asynchronous, Schedule
from fedray.server.draws import permute
from fedray.server.trips import LATE, LONGEST_WAIT_S, REPORTED, STALE, VANISHED, Demand, Timeline, account, send

_ASKED = 20
"""Devices that are asked to take a place, one after another, before the server waits."""
_AHEAD = 4096
"""Devices whose order is drawn at once."""


class Buffered(Asynchronous):
    """The server takes a step whenever `cohort.size` updates are there, and waits for nobody."""

    name: Literal["fedbuff"] = "fedbuff"
    staleness_power: Annotated[float, Field(ge=0)] = 0.5
    """An update of staleness t counts 1 / (1 + t) to this power."""

    def scale(self, staleness: Ints) -> Array:
        """What updates are multiplied by, float64."""
        return (1.0 + staleness) ** -self.staleness_power


class Queue(Schedule[Timeline]):
    """The devices under way, from one step of the server to the next.

    All follows from (settings, devices, seed).

    Args:
        config: The settings.
        devices: The population's.
        demand: What is asked of them.
        seed: The experiment's seed.

    Attributes:
        num_events: Devices that have ended, so far.
    """

    def __init__(self, config: Asynchronous, devices: Devices, demand: Demand, seed: int) -> None:
        self._config, self._devices, self._demand, self._seed = config, devices, demand, seed
        self._rewind()

    def _rewind(self) -> None:
        nothing = send(self._devices, self._demand, np.zeros(0, np.int64), np.zeros(0), 0.0, self._seed, _none())
        self._trips, self._is_replaced = nothing, np.zeros(0, bool)
        self._steps: list[float] = []
        self._places = np.zeros(self._config.concurrency)
        """When each place that is not taken is to be given away."""
        self._is_busy = np.zeros(len(self._devices), bool)
        self._next_asked, self._drawn = np.zeros(0, np.int64), 0
        self._started, self.num_events = 0, 0

    def _next(self) -> Timeline:
        number = len(self._steps) + 1
        began = self._steps[-1] if self._steps else 0.0
        end, last = self._end(number)
        while True:
            ends = self._trips.ends
            free = ~self._is_replaced & (ends < end)
            due = self._places < end
            if not free.any() and not due.any():
                if math.isfinite(end):
                    break
                raise RuntimeError("no device is under way, and no place is free: a defect of fedray")
            self._is_replaced |= free
            starts = np.concatenate([self._places[due], ends[free]])
            self._places = self._places[~due]
            self._fill(starts)
            if min(starts) > began + LONGEST_WAIT_S:
                raise RoundFailed(
                    f"step {number}: within {LONGEST_WAIT_S / DAY:g} days of virtual time fewer than "
                    f"{self._demand.wanted} updates came; lower cohort.size, raise protocol.max_staleness, or change "
                    "devices.availability"
                )
            end, last = self._end(number)
        return self._take(number, began, end, last)

    def _end(self, number: int) -> tuple[float, int]:
        """When the buffer is full, by those under way, and whose update fills it; infinite where it is not."""
        counts = np.flatnonzero(self._trips.comes & (self._staleness(number) <= self._config.max_staleness))
        if len(counts) < self._demand.wanted:
            return math.inf, -1
        order = counts[np.lexsort((self._trips.clients[counts], self._trips.done[counts]))]
        last = int(order[self._demand.wanted - 1])
        return float(self._trips.done[last]), last

    def _staleness(self, number: int) -> Ints:
        return number - 1 - self._version()

    def _version(self) -> Ints:
        """Steps that were taken before each device was sent the model."""
        return np.searchsorted(np.array(self._steps), self._trips.started, side="right").astype(np.int64)

    def _fill(self, starts: Times) -> None:
        """Gives places to devices that are there, in the order of time; where too many are away, later."""
        pending, num = np.sort(starts), len(starts)
        for _ in range(_ASKED):
            if not len(pending):
                return
            asked = self._candidates(len(pending))
            first = np.zeros(len(asked), bool)
            first[np.unique(asked, return_index=True)[1]] = True
            takes = first & ~self._is_busy[asked] & self._devices.availability.look(asked, pending)[0]
            self._send(asked[takes], pending[takes])
            pending = pending[~takes]
        again = pending + self._config.retry_s
        if len(pending) == num:  # it may be night for all of them
            able, first = self._demand.able, float(pending[0])
            limit = first + 2 * LONGEST_WAIT_S  # nobody at all: the step gives up
            comes = self._devices.availability.comes(able, np.full(len(able), first), limit)
            again = np.maximum(again, min(float(comes.min()), limit))
        self._places = np.concatenate([self._places, again])

    def _candidates(self, num: int) -> Ints:
        """The next devices to ask: all in a random order, then all in another one."""
        while len(self._next_asked) < num:
            self._look_ahead()
        asked, self._next_asked = self._next_asked[:num], self._next_asked[num:]
        return asked

    def _look_ahead(self) -> None:
        """Draws the order of some more devices: a few at a time would take many times as long."""
        able = self._demand.able
        turn, place = divmod(self._drawn, len(able))
        places = np.arange(place, min(place + _AHEAD, len(able)))
        self._drawn += len(places)
        drawn = able[permute(places, len(able), self._seed, turn)]
        self._next_asked = np.concatenate([self._next_asked, drawn])

    def _send(self, clients: Ints, starts: Times) -> None:
        draw = np.arange(self._started, self._started + len(clients))
        self._started += len(clients)
        sent = send(self._devices, self._demand, clients, starts, math.inf, self._seed, draw)
        self._trips = self._trips.join(sent)
        self._is_replaced = np.concatenate([self._is_replaced, np.zeros(len(clients), bool)])
        self._is_busy[clients] = True

    def _take(self, number: int, began: float, end: float, last: int) -> Timeline:
        """Takes what has ended by a step off those under way."""
        trips, ends = self._trips, self._trips.ends
        ended = (ends < end) | ((ends == end) & (trips.clients <= trips.clients[last]) & trips.comes)
        order = np.flatnonzero(ended)[np.argsort(trips.clients[ended])]
        version = self._version()
        mine, stale = trips.take(order), number - 1 - version[order] > self._config.max_staleness
        fate = np.where(mine.comes, np.where(stale, LATE, REPORTED), VANISHED).astype(np.int8)
        freed = int(ended.sum() - self._is_replaced[ended].sum())
        self._places = np.concatenate([self._places, np.full(freed, end)])
        self._is_busy[mine.clients] = False
        self._trips, self._is_replaced = trips.take(~ended), self._is_replaced[~ended]
        self._steps.append(end)
        self.num_events += len(order)
        oldest = number - self._config.max_staleness
        left = self._version()
        return account(
            self._devices,
            self._demand,
            mine,
            selecting=began,
            begin=began,
            end=end,
            fate=fate,
            why=np.where(fate == LATE, STALE, mine.why).astype(np.int8),
            version=version[order],
            versions=tuple(v for v in np.unique(left).tolist() if oldest <= v < number),
        )


def _none() -> Ints:
    return np.zeros(0, np.int64)
