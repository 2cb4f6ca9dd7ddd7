"""When devices are there: always, or by chance from one period to the next.

Shapes: C clients. Times are virtual seconds since the start of the run, float64.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedray import seeds
from fedray.config import Config
from fedray.messages import Ints

Times = NDArray[np.float64]
Bools = NDArray[np.bool_]
HOUR = 3600.0
DAY = 24 * HOUR


class Availability(ABC):
    """Whether devices are there: a function of (seed, client, time) alone."""

    @abstractmethod
    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        """Whether each client is there at a time, and until when that surely stays so.

        Args:
            clients: Client ids, shape (C,).
            times: A time for each, shape (C,).

        Returns:
            Whether it is there, and a later time before which that does not change; infinite: never. Both (C,).
        """

    def there(self, clients: Ints, time: float) -> Bools:
        """Whether each client is there at a time, shape (C,)."""
        return self.look(clients, np.full(len(clients), time))[0]

    def leaves(self, clients: Ints, times: Times, limit: float) -> Times:
        """When each client leaves that is there at a time.

        Args:
            clients: Client ids, shape (C,).
            times: A time for each, shape (C,).
            limit: How far to look; may be infinite where everybody leaves at last, or never does.

        Returns:
            Times, shape (C,); that of the question where a client is not there, one beyond the limit where it stays.
        """
        return self._until_not(True, clients, times, limit)

    def comes(self, clients: Ints, times: Times, limit: float) -> Times:
        """When each client is there for the first time from a time on; shapes and limit as in `leaves`."""
        return self._until_not(False, clients, times, limit)

    def _until_not(self, wanted: bool, clients: Ints, times: Times, limit: float) -> Times:
        found, pending = times.astype(np.float64), np.arange(len(clients))
        while len(pending):
            there, until = self.look(clients[pending], found[pending])
            same = there == wanted
            pending = pending[same]
            found[pending] = until[same]
            pending = pending[found[pending] <= limit] if np.isfinite(limit) else pending[np.isfinite(found[pending])]
        return found


class AvailabilityConfig(Config, ABC):
    """Settings of availability; also its builder."""

    name: str

    @abstractmethod
    def build(self, num_devices: int, seed: int) -> Availability:
        """The availability of a population.

        Raises:
            ConfigError: A file cannot be read, or holds what cannot be.
        """


class _Always(Availability):
    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        return np.ones(len(clients), bool), np.full(len(clients), np.inf)


class Always(AvailabilityConfig):
    """Everybody is always there."""

    name: Literal["always"] = "always"

    def build(self, num_devices: int, seed: int) -> Availability:
        return _Always()


class Bernoulli(AvailabilityConfig):
    """In each period each device is there or not, by chance."""

    name: Literal["bernoulli"] = "bernoulli"
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Probability that a device is there in a period."""
    period_s: Annotated[float, Field(gt=0)] = HOUR
    """Length of a period."""

    def build(self, num_devices: int, seed: int) -> Availability:
        return _Bernoulli(self, seed)


class _Bernoulli(Availability):
    def __init__(self, settings: Bernoulli, seed: int) -> None:
        self._settings, self._seed = settings, seed

    def look(self, clients: Ints, times: Times) -> tuple[Bools, Times]:
        period = np.floor(times / self._settings.period_s)
        keys = seeds.keys(self._seed, "available", 0, clients)
        there = seeds.uniform_at(keys, period.astype(np.int64)) < self._settings.chance
        return there, later(times, (period + 1) * self._settings.period_s)


def later(times: Times, until: Times) -> Times:
    """The second, made later than the first where rounding made it none."""
    return np.maximum(until, np.nextafter(times, np.inf))
