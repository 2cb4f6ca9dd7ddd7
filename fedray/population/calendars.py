"""Availability by the clock: devices that are there at night, plants that work in shifts.

Time 0 is a Monday, midnight UTC. Shapes: C clients.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from fedray import seeds
from fedray.messages import Array, Ints
from fedray.population.availability import DAY, HOUR, Availability, AvailabilityConfig, Bools, Times, later
from fedray.population.profiles import picked

_WEEK = 7 * DAY

Zones = Annotated[tuple[Annotated[float, Field(ge=-12, le=14)], ...], Field(min_length=1)]


class Diurnal(AvailabilityConfig):
    """Every day for some hours, as phones that charge at night (Bonawitz et al. 2019, https://arxiv.org/abs/1902.01046)."""

    name: Literal["diurnal"] = "diurnal"
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 22.0
    """Hour of its own day at which a device comes."""
    hours: Annotated[float, Field(gt=0, lt=24)] = 8.0
    """How long it stays."""
    jitter_hours: Annotated[float, Field(ge=0, lt=12)] = 2.0
    """It comes up to so much sooner or later, another time each day."""
    chance: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Probability that it comes at all on a day."""
    zones: Zones = (0.0,)
    """Hours by which the clocks of devices are ahead of UTC; each device has one of them, by chance."""

    @model_validator(mode="after")
    def _one_a_day(self) -> "Diurnal":
        if self.hours + 2 * self.jitter_hours >= 24:
            raise ValueError(
                f"hours is {self.hours:g} and jitter_hours is {self.jitter_hours:g}, so that one day could reach into "
                "the next; hours and twice jitter_hours must stay below 24"
            )
        return self

    def build(self, num_devices: int, seed: int) -> Availability:
        return _Diurnal(self, num_devices, seed)


class _Diurnal(Availability):
    def __init__(self, settings: Diurnal, num_devices: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        zones = np.array(settings.zones)[picked(num_devices, seed, "zone", len(settings.zones))]
        self._first_s = ((settings.start_hour - settings.jitter_hours - zones) * HOUR).astype(np.float32)

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        first_s = self._first_s[clients].astype(np.float64)
        day = np.floor((times - first_s) / DAY)  # the only one whose hours can be these
        comes, leaves, is_day = self._hours(clients, first_s, day)
        there = is_day & (comes <= times) & (times < leaves)
        tomorrow = first_s + (day + 1) * DAY
        until = np.where(there, leaves, np.where(is_day & (times < comes), comes, tomorrow))
        return there, later(times, until)

    def _hours(self, clients: Ints, first_s: Times, day: Times) -> tuple[Times, Times, Bools]:
        """When each comes and leaves on a day, and whether it does."""
        places = 2 * (day.astype(np.int64) + 2)  # day -1 is the first, where clocks are ahead of UTC
        keys = seeds.keys(self._seed, "available", 0, clients)
        comes = first_s + day * DAY + 2 * self._settings.jitter_hours * HOUR * seeds.uniform_at(keys, places)
        is_day = seeds.uniform_at(keys, places + 1) < self._settings.chance
        return comes, comes + self._settings.hours * HOUR, is_day


class Shifts(AvailabilityConfig):
    """Machines are there while their plant works; all of a plant come and go together."""

    name: Literal["shifts"] = "shifts"
    shifts: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)] = ((6.0, 14.0), (14.0, 22.0))
    """Hours of the day at which shifts begin and end; a night shift ends above 24: [22, 30]."""
    days: Annotated[int, Field(ge=1, le=7)] = 5
    """Working days of a week, from Monday on."""
    plants: Annotated[int, Field(ge=1)] = 1
    """Plants; neighbours by client id are in the same one."""
    zones: Zones = (0.0,)
    """Hours by which the clocks of plants are ahead of UTC: the first is that of the first plant, and so on in turn."""

    @model_validator(mode="after")
    def _hours_of_a_day(self) -> "Shifts":
        for begin, end in self.shifts:
            if not (0 <= begin < 24 and begin < end <= begin + 24):
                raise ValueError(
                    f"shifts has [{begin:g}, {end:g}]; a shift begins at 0 to 24 and ends up to 24 hours later"
                )
        return self

    def build(self, num_devices: int, seed: int) -> Availability:
        return _Shifts(self, num_devices)


class _Shifts(Availability):
    def __init__(self, settings: Shifts, num_devices: int) -> None:
        plant = group_of(num_devices, settings.plants)
        self._zone_s = (np.array(settings.zones)[plant % len(settings.zones)] * HOUR).astype(np.float32)
        spans = [
            (week * _WEEK + (day * 24 + begin) * HOUR, week * _WEEK + (day * 24 + end) * HOUR)
            for week in (-1, 0, 1)
            for day in range(settings.days)
            for begin, end in settings.shifts
        ]
        self._begins, self._ends = joined(spans)

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        zone_s = self._zone_s[clients].astype(np.float64)
        week = np.floor((times + zone_s) / _WEEK)
        clock = times + zone_s - week * _WEEK
        last = np.searchsorted(self._begins, clock, side="right") - 1
        there = clock < self._ends[last]
        change = np.where(there, self._ends[last], self._begins[np.minimum(last + 1, len(self._begins) - 1)])
        return there, later(times, change + week * _WEEK - zone_s)


def group_of(num_devices: int, num_groups: int) -> Ints:
    """The group of each device, neighbours together, groups as equal as can be, shape (N,)."""
    return np.arange(num_devices) * min(num_groups, num_devices) // num_devices


def joined(spans: list[tuple[float, float]]) -> tuple[Array, Array]:
    """Where spans begin and end, in order, those that touch put together."""
    begins, ends = list[float](), list[float]()
    for begin, end in sorted(spans):
        if ends and begin <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            begins.append(begin)
            ends.append(end)
    return np.array(begins), np.array(ends)
