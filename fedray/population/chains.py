"""Availability by two-state Markov chains, of each device or of whole lines and plants.

Shapes: C clients, N devices or groups.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray import seeds
from fedray.config import Config
from fedray.messages import Ints
from fedray.population.availability import DAY, HOUR, Availability, AvailabilityConfig, Bools, Times, later
from fedray.population.calendars import group_of


class Markov(AvailabilityConfig):
    """Each device comes and goes by itself: times there and away are exponential, with these means."""

    name: Literal["markov"] = "markov"
    mean_there_s: Annotated[float, Field(gt=0)] = 4 * HOUR
    """Mean time that a device is there."""
    mean_away_s: Annotated[float, Field(gt=0)] = 2 * HOUR
    """Mean time that it is away."""

    def build(self, num_devices: int, seed: int) -> Availability:
        return Chains(num_devices, seed, "available", self.mean_there_s, self.mean_away_s)


class Chains(Availability):
    """One chain for each of N; in its steady state from the start.

    Where a chain is depends on all its steps before, so each is kept at the last time it was asked for, and begins anew
    when asked for an earlier one. Answers do not depend on what was asked before.

    Args:
        num: N.
        seed: The experiment's seed.
        purpose: What the chains are for: others have other streams.
        mean_there_s: Mean time there.
        mean_away_s: Mean time away.
    """

    def __init__(self, num: int, seed: int, purpose: str, mean_there_s: float, mean_away_s: float) -> None:
        self._seed, self._purpose = seed, purpose
        self._mean_s = np.array([mean_away_s, mean_there_s])
        self._step = np.full(num, -1, np.int32)
        self._there = np.zeros(num, bool)
        self._since, self._until = np.zeros(num), np.zeros(num)

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        there, until = np.empty(len(clients), bool), np.empty(len(clients))
        for wave in _waves(clients, times):
            there[wave], until[wave] = self._look(clients[wave], times[wave])
        return there, until

    def _look(self, chains: Ints, times: Times) -> tuple[Bools, Times]:
        self._begin(chains[(self._step[chains] < 0) | (times < self._since[chains])])
        pending = times >= self._until[chains]
        while pending.any():
            self._advance(chains[pending])
            pending = times >= self._until[chains]
        return self._there[chains], later(times, self._until[chains])

    def _begin(self, chains: Ints) -> None:
        """To time 0: there with the probability of the steady state, for as long as from any moment on."""
        keys = seeds.keys(self._seed, self._purpose, 0, chains)
        self._there[chains] = seeds.uniform_at(keys, np.zeros_like(chains)) < self._mean_s[1] / self._mean_s.sum()
        self._step[chains], self._since[chains], self._until[chains] = 0, 0.0, 0.0
        self._draw(chains, keys)

    def _advance(self, chains: Ints) -> None:
        """To the next change."""
        self._there[chains] = ~self._there[chains]
        self._step[chains] += 1
        self._since[chains] = self._until[chains]
        self._draw(chains, seeds.keys(self._seed, self._purpose, 0, chains))

    def _draw(self, chains: Ints, keys: seeds.Words) -> None:
        """How long it stays so."""
        uniform = seeds.uniform_at(keys, self._step[chains].astype(np.int64) + 1)
        self._until[chains] += self._mean_s[self._there[chains].astype(np.intp)] * -np.log1p(-uniform)


def _waves(chains: Ints, times: Times) -> list[Ints]:
    """Positions in groups in which no chain is twice, and later groups ask each chain for later times."""
    order = np.lexsort((times, chains))
    is_first = np.diff(chains[order], prepend=-1) != 0
    if is_first.all():
        return [order]
    starts = np.flatnonzero(is_first)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return [order[rank == wave] for wave in range(int(rank.max()) + 1)]


class Outages(Config):
    """Whole lines or plants drop out for some time, whatever their devices do otherwise."""

    groups: Annotated[int, Field(ge=1)]
    """Lines or plants; neighbours by client id are in the same one."""
    mean_days_between: Annotated[float, Field(gt=0)] = 30.0
    """Mean time from the end of an outage of a group to its next."""
    mean_hours: Annotated[float, Field(gt=0)] = 4.0
    """Mean length of an outage."""

    def over(self, inner: Availability, num_devices: int, seed: int) -> Availability:
        """Availability with these outages on top."""
        return _WithOutages(self, inner, num_devices, seed)


class _WithOutages(Availability):
    def __init__(self, settings: Outages, inner: Availability, num_devices: int, seed: int) -> None:
        self._inner, self._group = inner, group_of(num_devices, settings.groups).astype(np.int32)
        num = min(settings.groups, num_devices)
        self._works = Chains(num, seed, "outages", settings.mean_days_between * DAY, settings.mean_hours * HOUR)

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        there, until = self._inner.look(clients, times)
        asked, place = np.unique(np.stack([self._group[clients], times]), axis=1, return_inverse=True)
        works, stays = self._works.look(asked[0].astype(np.int64), asked[1])
        place = place.reshape(-1)
        return there & works[place], np.minimum(until, stays[place])
