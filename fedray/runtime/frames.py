"""Values in one piece of bytes, and such pieces through a socket."""

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")
_UID = struct.Struct("iII")
"""What the kernel says of a socket's peer: process, user, group."""


def pack(value: Any) -> bytes:
    """A small argument or result as one piece of bytes: Ray takes half a millisecond for some objects with arrays."""
    return pickle.dumps(value, protocol=5)


def unpack(packed: bytes | bytearray) -> Any:
    """What was packed, by another process of this run."""
    return pickle.loads(packed)  # noqa: S301


def send(line: socket.socket, frame: bytes) -> None:
    """Sends one piece; raises OSError where the other side is gone or does not take it in the socket's time."""
    line.sendall(_LENGTH.pack(len(frame)) + frame)


def receive(line: socket.socket) -> bytearray:
    """The next piece; raises OSError where the other side is gone or stops in the middle of it."""
    return _exactly(line, _LENGTH.unpack(_exactly(line, _LENGTH.size))[0])


def _exactly(line: socket.socket, size: int) -> bytearray:
    taken = bytearray(size)
    rest = memoryview(taken)
    while rest:
        count = line.recv_into(rest)
        if not count:
            raise ConnectionResetError("the other side closed the socket")
        rest = rest[count:]
    return taken


def peer_uid(line: socket.socket) -> int:
    """The user of the process at the other end of a Unix socket, as the kernel knows it."""
    return _UID.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UID.size))[1]
