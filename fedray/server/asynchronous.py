"""What asynchronous protocols have in common: so many devices are under way at any time, and none is waited for."""

from abc import ABC
from typing import Annotated

from pydantic import Field

from fedray.config import Config


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
