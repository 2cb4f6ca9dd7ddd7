"""The nursery: a preloaded process that forks workers for the launchers of one job on one node.

One thread, one loop. It ends with its raylet, and some time after its last fork.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from fedray.runtime.forking.preload import preload
from fedray.runtime.forking.rest import rest_when_idle

_LENGTH = 4
_IDLE_S = 60.0
"""How long a nursery without living forks waits for the next launcher."""
_GRACE_S = 5.0
"""How long forks may take to end after their raylet has."""
_POLL_MS = 2000
_MESSAGE_S = 10.0
"""How long a launcher may take to send its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a launcher handed over: everything that makes its process.

    Attributes:
        arguments: The worker's script, and its options.
        environment: Its variables.
        folder: Its working directory.
        oom_score_adj: How early the kernel ends it where memory runs out.
        files: Its standard input, output and error.
    """

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    oom_score_adj: str
    files: list[int]


@dataclass(slots=True)
class Nursery:
    """The loop.

    Args:
        listening: The socket that launchers connect to.
        raylet: The process id of Ray's node daemon.
    """

    listening: socket.socket
    raylet: int
    children: set[int] = field(default_factory=set[int])

    def serve(self) -> Worker | None:
        """Forks until there is no more to do; returns a worker in each fork, and None in the nursery."""
        raylet = os.pidfd_open(self.raylet)
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, _wake)
        poll = select.poll()
        for descriptor in (self.listening.fileno(), raylet, wake_read):
            poll.register(descriptor, select.POLLIN)
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < _IDLE_S:
            ready = {descriptor for descriptor, _ in poll.poll(_POLL_MS)}
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            self._reap()
            if raylet in ready:
                self._end_children()
                return None
            if self.listening.fileno() in ready:
                worker = self._answer()
                if worker is not None:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (raylet, wake_read, wake_write):
                        os.close(descriptor)
                    self.listening.close()
                    return worker
            if self.children:
                idle_since = time.monotonic()
        return None

    def _answer(self) -> Worker | None:
        """Forks for one launcher; the worker in the fork, None in the nursery."""
        connection, _ = self.listening.accept()
        with connection:
            try:
                worker = _received(connection)
            except (OSError, ValueError, KeyError) as error:
                print(f"nursery: a launcher was turned away ({error!r})", file=sys.stderr, flush=True)  # noqa: T201
                return None
            child = os.fork()
            if child == 0:
                return worker
            self.children.add(child)
            for descriptor in worker.files:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                connection.sendall(b"1")
        return None

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while child := os.waitpid(-1, os.WNOHANG)[0]:
                self.children.discard(child)

    def _end_children(self) -> None:
        """Workers end by themselves when their raylet has ended; those that do not are killed."""
        until = time.monotonic() + _GRACE_S
        while self.children and time.monotonic() < until:
            time.sleep(0.1)
            self._reap()
        for child in self.children:
            os.kill(child, signal.SIGKILL)


def _wake(signum: int, frame: FrameType | None) -> None:
    """Python must handle a signal for the wake-up to be written."""


def _received(connection: socket.socket) -> Worker:
    connection.settimeout(_MESSAGE_S)
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != os.getuid():
        raise PermissionError(f"user {uid} is not {os.getuid()}")
    head, files, _, _ = socket.recv_fds(connection, _LENGTH, 3)
    length = int.from_bytes(head, "big")
    message = b""
    while len(message) < length:
        part = connection.recv(length - len(message))
        if not part:
            raise ConnectionError("the launcher ended")
        message += part
    return Worker(files=files, **json.loads(message))


def become(worker: Worker) -> None:
    """Makes this fork what the launcher was, and runs the worker's script."""
    import runpy

    os.setsid()
    os.chdir(worker.folder)
    for target, source in enumerate(worker.files):
        os.dup2(source, target)
        os.close(source)
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX") if name in os.environ}
    os.environ.clear()
    os.environ.update({**kept, **worker.environment})
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(worker.oom_score_adj)
    script = next(i for i, argument in enumerate(worker.arguments) if not argument.startswith("-"))
    sys.argv = worker.arguments[script:]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    rest_when_idle()
    runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> None:
    """Serves on the socket whose file descriptor is the one argument."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    listening.set_inheritable(False)
    preload()
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        Path(f"{listening.getsockname()}.failed").touch()
        sys.exit(f"nursery: {threads} threads run after the preload, so that no fork would be sound")
    worker = Nursery(listening, int(os.environ["RAY_RAYLET_PID"])).serve()
    if worker is not None:
        become(worker)


if __name__ == "__main__":
    main()
