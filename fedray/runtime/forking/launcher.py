"""What Ray runs in the place of Python to start a worker: hands it over to the nursery, and ends.

Runs by its path, with `python -I -S` and nothing but the standard library, so that it takes milliseconds. Whatever goes
wrong, it becomes the plain worker that Ray asked for.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

_BACKLOG = 1024
_TIMEOUT_S = 120.0
"""How long the nursery may take to start and to answer."""
_ATTEMPTS = 3
"""How many nurseries are asked."""
_LENGTH = 4
"""Bytes of the length in front of a message."""
_NURSERY_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""No threads before the fork, and few memory arenas after it."""


def main(arguments: Sequence[str]) -> None:
    """Starts the worker with these arguments: the script and its options."""
    try:
        _fork(arguments)
    except Exception as error:  # a worker must start, whatever happened
        print(f"fedray: no fork from the nursery ({error!r}); starting plain Python", file=sys.stderr, flush=True)  # noqa: T201
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def _fork(arguments: Sequence[str]) -> None:
    """Asks a nursery for the fork; another one where it was killed before it answered."""
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(ConnectionError), _nursery(arguments) as connection:
            return _hand_over(connection, arguments)
    with _nursery(arguments) as connection:
        return _hand_over(connection, arguments)


def _nursery(arguments: Sequence[str]) -> socket.socket:
    """A connection to the nursery of this job on this node, which is started where there is none."""
    address = _address(arguments)
    if Path(f"{address}.failed").exists():
        raise RuntimeError("the nursery cannot fork here")
    _make_private(address.parent)
    with contextlib.suppress(OSError):
        return _connected(address)
    with open(f"{address}.lock", "w") as lock:
        _lock(lock.fileno())
        try:
            return _connected(address)
        except OSError:
            _start_nursery(address, arguments)
            return _connected(address)


def _lock(file: int) -> None:
    """Waits for a lock; the alarm is switched off, since it would outlive this program in the one that follows it.

    Raises:
        TimeoutError: Who holds it hangs.
    """
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, _TIMEOUT_S)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _late(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError("another launcher keeps the lock")


def _address(arguments: Sequence[str]) -> Path:
    """The socket's path: one for each job on each node, and for each way to find modules."""
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument[:2] == "--" and "=" in argument)
    finding = [os.environ.get(name, "") for name in ("RAY_RAYLET_PID", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH")]
    parts = [options["node-id"], os.environ["RAY_JOB_ID"], sys.executable, *finding]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return Path(options["temp-dir"], options["session-name"], f"fedray-{os.getuid()}", name)


def _make_private(folder: Path) -> None:
    """Makes a folder that nobody else can enter; Ray's session folder may be open to all.

    Raises:
        PermissionError: It is somebody else's, or open to others.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077 or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder} is not a folder of this user alone")


def _connected(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_TIMEOUT_S)
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


def _start_nursery(address: Path, arguments: Sequence[str]) -> None:
    """Starts the nursery with a socket that already listens, so that all launchers can connect at once."""
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(address))
        listening.listen(_BACKLOG)
        if os.fork() == 0:
            os.setsid()
            _become_nursery(listening, address, arguments)


def _become_nursery(listening: socket.socket, address: Path, arguments: Sequence[str]) -> None:
    try:
        file = address.parent.parent / "logs" / f"fedray-nursery-{address.name}.log"
        log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.set_inheritable(listening.fileno(), True)
        command = [sys.executable, "-m", "fedray.runtime.forking.nursery", str(listening.fileno())]
        os.execve(sys.executable, command, {**os.environ, **_NURSERY_ENVIRONMENT})  # noqa: S606
    finally:
        os._exit(1)


def _hand_over(connection: socket.socket, arguments: Sequence[str]) -> None:
    """Sends all that makes this process, and waits until the fork lives."""
    worker = {
        "arguments": list(arguments),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
    }
    message = json.dumps(worker).encode()
    socket.send_fds(connection, [len(message).to_bytes(_LENGTH, "big")], [0, 1, 2])
    connection.sendall(message)
    if not connection.recv(1):
        raise ConnectionError("the nursery ended")


if __name__ == "__main__":
    main(sys.argv[1:])
