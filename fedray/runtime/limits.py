"""What this machine lets one user have: threads and open files, and how many actors fit.

The figures for an actor are measured with Ray 2.60 on Linux: `experiments/scalability/actors.py` prints them.
"""

import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

THREADS_PER_ACTOR = 28
"""Threads of an actor's process, and what the raylet and the driver start for it."""
FILES_PER_ACTOR = 6
"""Open files that the raylet, and other processes of Ray, have for each actor; its own are counted by process."""
_THREADS_OF_RAY = 300
"""Threads of everything else in a Ray that starts here."""
_FILES_OF_RAY = 400
"""Open files of the raylet before the first actor."""
_UNBOUNDED = 2**62
"""Larger limits are none: the kernel writes them for "unlimited"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of this machine.

    Attributes:
        what: What is limited.
        value: The limit.
        used: How much of it is gone, and what Ray itself takes.
        per_actor: What one actor takes.
        remedy: How it is raised.
    """

    what: str
    value: int
    used: int
    per_actor: int
    remedy: str

    @property
    def num_actors(self) -> int:
        """How many actors fit."""
        return max(0, self.value - self.used) // self.per_actor


def limits_here() -> tuple[Limit, ...]:
    """The limits of this machine and of this user, without those that are unlimited."""
    return tuple(limit for limit in (*_thread_limits(), _file_limit()) if 0 <= limit.value < _UNBOUNDED)


def raise_open_files() -> None:
    """Raises the soft limit of open files to the hard one, for the processes that this one starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _file_limit() -> Limit:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limit(
        what="open files of a process (ulimit -Hn)",
        value=_UNBOUNDED if hard == resource.RLIM_INFINITY else hard,
        used=_FILES_OF_RAY,
        per_actor=FILES_PER_ACTOR,
        remedy="raise the hard limit (ulimit -n, LimitNOFILE, docker run --ulimit nofile)",
    )


def _thread_limits() -> Iterator[Limit]:
    mine, everyone = _running_threads()
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.getuid() != 0:  # the kernel does not hold root to it
        yield _threads("threads of a user (ulimit -u)", soft, mine, "raise it with ulimit -u or LimitNPROC")
    for name in ("threads-max", "pid_max"):
        value = _number(Path("/proc/sys/kernel", name))
        yield _threads(f"threads of the machine (kernel.{name})", value, everyone, f"raise it: sysctl kernel.{name}")
    for folder in _cgroups():
        value, used = _number(folder / "pids.max"), _number(folder / "pids.current")
        remedy = "raise it (docker run --pids-limit, TasksMax, podPidsLimit)"
        yield _threads(f"threads of this container ({folder}/pids.max)", value, max(0, used), remedy)


def _threads(what: str, value: int, used: int, remedy: str) -> Limit:
    return Limit(what=what, value=value, used=used + _THREADS_OF_RAY, per_actor=THREADS_PER_ACTOR, remedy=remedy)


def _running_threads() -> tuple[int, int]:
    """Threads of this user and of all."""
    mine = everyone = 0
    for process in psutil.process_iter(["num_threads", "uids"]):
        threads = process.info["num_threads"] or 0
        everyone += threads
        mine += threads if process.info["uids"] and process.info["uids"].real == os.getuid() else 0
    return mine, everyone


def _cgroups() -> Iterator[Path]:
    """The folders of this process's control group that may limit threads, and of all above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = Path("/sys/fs/cgroup", "pids" if controllers else "")
        if controllers in ("", "pids"):
            inner = root / path.lstrip("/")
            yield from (folder for folder in (inner, *inner.parents) if (folder / "pids.max").exists())


def _number(file: Path) -> int:
    """A number in a file of the kernel; a large one for "max", and where there is none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return _UNBOUNDED
    return int(text) if text.isdecimal() else _UNBOUNDED
