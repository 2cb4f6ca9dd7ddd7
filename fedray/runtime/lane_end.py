"""The client actor's end of a lane."""

import os
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayTaskError

from fedray.runtime.frames import pack, peer_uid, receive, send, unpack

Answer = Callable[[str, tuple[Any, ...]], Any]

_CONNECT_S = 60.0
"""How long the driver's connection may take to be found: the driver makes it before it says so."""


class LaneEnd:
    """Waits for the driver's connection under a name, and answers the calls that come by it.

    The name is the kernel's, not a file's: a process that is killed leaves nothing behind.
    """

    def __init__(self) -> None:
        self.name = ""
        self._line: socket.socket | None = None
        if sys.platform == "linux":
            self.name = f"fedray-{secrets.token_hex(16)}"
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(f"\0{self.name}")
            self._listener.listen(1)

    def serve(self, answer: Answer) -> None:
        """Answers calls in their order, until the driver wants the actor for something else, or is gone.

        Args:
            answer: Gives the answer to a method and its arguments.
        """
        self._line = self._line or self._connected()
        try:
            while frame := receive(self._line):
                send(self._line, _outcome(answer, *unpack(frame)))
        except ConnectionError:
            return  # Ray ends this process, or the driver goes on without it

    def _connected(self) -> socket.socket:
        self._listener.settimeout(_CONNECT_S)
        while True:
            line, _ = self._listener.accept()
            if peer_uid(line) == os.getuid():
                line.settimeout(None)
                self._listener.close()
                return line
            line.close()


def _outcome(answer: Answer, method: str, args: tuple[Any, ...]) -> bytes:
    """An answer, or what Ray would raise for the same call."""
    try:
        return pack(answer(method, args))
    except Exception as error:
        return cloudpickle.dumps(  # pyright: ignore[reportPrivateImportUsage]
            RayTaskError(method, traceback.format_exc(), error)
        )
