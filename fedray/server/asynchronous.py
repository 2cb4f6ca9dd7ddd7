"""What asynchronous protocols have in common: so many devices are under way at any time, and none is waited for."""

from abc import ABC, abstractmethod
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from fedray.config import Config

Found = TypeVar("Found")


class Asynchronous(Config, ABC):
    """Each device that ends is replaced at once; a step of the server is taken when enough updates are there."""

    name: str
    concurrency: Annotated[int, Field(ge=1)]
    """Devices under way at any time."""
    max_staleness: Annotated[int, Field(ge=0)] = 10
    """An update that is older, in steps of the server, does not count."""
    retry_s: Annotated[float, Field(gt=0)] = 60.0
    """How long the server waits for a device, where those that it asked are away."""

    look_ahead: Annotated[int, Field(ge=1)] = 64
    """Steps that are trained together at most, where all start from models that are there; changes no result."""

    @property
    def lever(self) -> str:
        """The setting to lower where there are too few devices."""
        return "concurrency"

    def least(self, wanted: int) -> int:
        """Devices without which nothing can be done: those under way, and those whose updates are in the buffer."""
        return self.concurrency + wanted


class Schedule(ABC, Generic[Found]):
    """The steps of a server, one after another; one that was passed already is computed again from the start."""

    _steps: list[float]
    """When each step was taken, in virtual time."""

    def step(self, number: int) -> Found:
        """What leads to a step of the server, from 1.

        Raises:
            RoundFailed: In a year of virtual time not enough devices are there.
        """
        if number <= len(self._steps):
            self._rewind()
        while len(self._steps) < number - 1:
            self._next()
        return self._next()

    @abstractmethod
    def _rewind(self) -> None:
        """To the time before the first step."""

    @abstractmethod
    def _next(self) -> Found:
        """The next step."""
