"""What the round loop tells while it runs, and how it is asked to stop."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from fedray.errors import FedrayError


class Interrupted(FedrayError):
    """The run was asked to stop; what is done is saved, and `resume` goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a person who watches wants to see.

    Attributes:
        kind: "starting", "block", "round", "baseline", "saved", "pool" or "warning".
        values: Plain values, by name.
    """

    kind: str
    values: dict[str, Any]


class Watch:
    """Events of a run, taken away by whoever displays them, and the wish to stop. Used from two threads."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=100_000)
        self._stop = threading.Event()

    def tell(self, kind: str, **values: Any) -> None:
        """Adds an event."""
        self._events.append(Event(kind=kind, values=values))

    def take(self) -> list[Event]:
        """Events since the last call, oldest first."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def stop(self) -> None:
        """Asks the run to stop as soon as it can without losing what is done."""
        self._stop.set()

    def check(self) -> None:
        """Called often by everything that takes long.

        Raises:
            Interrupted: Somebody asked to stop.
        """
        if self._stop.is_set():
            raise Interrupted("stopped on request")
