"""Lanes: a socket between the driver and a client actor on its node, for small calls.

A call through Ray and its answer take one to three milliseconds and wake a dozen threads; through a socket, a tenth of
that. While small calls come by the lane, the actor is inside one call of Ray's, `serve_lane`. Before any other call of
Ray's it is told to leave the lane. So it still answers everything in the order in which it was asked, in one thread,
and Ray still says when and why it died.
"""

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from fedray.runtime.frames import pack, peer_uid, receive, send

_STUCK_S = 30.0
"""How long a piece may take from one process to the other, once it is under way."""
_LEAVE = b""


class LaneRef:
    """An answer to come by a lane.

    Args:
        lane: The lane.
    """

    def __init__(self, lane: "Lane") -> None:
        self.lane = lane
        self.packed: bytearray | None = None
        """The answer, once it is there."""

    @property
    def is_done(self) -> bool:
        """Whether it is there, or will never be."""
        return self.packed is not None or self.lane.is_broken


class Lane:
    """The driver's end.

    Args:
        name: The name under which the actor waits.
        serve: Makes the call of Ray's in which the actor serves the lane.

    Raises:
        OSError: There is no such name on this machine.
    """

    def __init__(self, name: str, serve: Callable[[], Any]) -> None:
        self._serve, self._coming = serve, deque[LaneRef]()
        self.served: Any = None
        """Ray's reference of the call in which the actor serves the lane now."""
        self.is_broken = False
        """Whether the other end is gone."""
        self._line = socket.socket(socket.AF_UNIX)
        self._line.settimeout(_STUCK_S)
        try:
            self._line.connect(f"\0{name}")
            if peer_uid(self._line) != os.getuid():
                raise PermissionError("another user listens there")
        except OSError:
            self._line.close()
            raise

    def call(self, method: str, args: tuple[Any, ...]) -> LaneRef:
        """Sends a call."""
        if self.served is None:
            self.served = self._serve()
        self._coming.append(LaneRef(self))
        self._send(pack((method, args)))
        return self._coming[-1]

    def leave(self) -> None:
        """Has the actor go on with what Ray brings, once it has answered what it was asked here."""
        if self.served is not None and not self.is_broken:
            self._send(_LEAVE)
            self.served = None

    def _send(self, frame: bytes) -> None:
        try:
            send(self._line, frame)
        except OSError:
            self.is_broken = True

    def fileno(self) -> int:
        """The socket's, for polling."""
        return self._line.fileno()

    def take(self) -> None:
        """Takes the next answer, which has begun to come."""
        try:
            packed = receive(self._line)
        except OSError:
            self.is_broken = True
        else:
            self._coming.popleft().packed = packed

    def close(self) -> None:
        """Gives the lane up."""
        self.is_broken = True
        self._line.close()


def take_what_came(lanes: Iterable[Lane], timeout_s: float) -> None:
    """Takes an answer from each lane on which one is coming; waits for the first.

    Args:
        lanes: Not broken.
        timeout_s: How long to wait.
    """
    poll, by_number = select.poll(), {lane.fileno(): lane for lane in lanes}
    for number in by_number:
        poll.register(number, select.POLLIN)
    for number, _ in poll.poll(1000 * timeout_s):
        by_number[number].take()
