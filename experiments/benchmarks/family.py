"""Which processes belong to a run, and what they weigh; found by a mark in their environment, Ray's daemons too."""

import os
import time
from pathlib import Path

import psutil

from experiments.watching import Watching

MARK = "FEDRAY_BENCH_ID"
"""Environment variable that every process of a run inherits, however far it detaches itself."""


_REST = 5
"""A sample may take a sixth of one processor: the kernel walks all pages of a process to weigh it."""


def members(mark: str, known: dict[int, bool]) -> list[int]:
    """Process ids of a run.

    Args:
        mark: The run's value of `MARK`.
        known: What earlier calls found out about each process id; changed.
    """
    wanted, alive = f"{MARK}={mark}".encode(), [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for pid in alive:
        if pid not in known:
            known[pid] = wanted in _environment(pid)
    return [pid for pid in alive if known[pid]]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or belongs to somebody else
        return []


def pss_bytes(pid: int) -> int:
    """Proportional set size: private pages, and each shared page divided by the number of its users."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def name(pid: int) -> str:
    """What a process is called; Ray's actors say what they are."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "ended"
    title = next((word for word in words[1:] if word.endswith(".py") or word.startswith("experiments.")), words[0])
    return title.rpartition("/")[2] or "ended"


class Scales(Watching):
    """Weighs a run from outside while it is open: the peak over time of the sum over its processes.

    Args:
        mark: The run's value of `MARK`.
        every_s: Least seconds between two samples.

    Attributes:
        peak_bytes: Largest sum of proportional set sizes.
        processes: Name and proportional set size of each process at that moment, the largest first.
    """

    def __init__(self, mark: str, every_s: float = 0.15) -> None:
        self.peak_bytes, self.processes = 0, list[tuple[str, int]]()
        self._mark, self._every_s, self._known = mark, every_s, dict[int, bool]()
        super().__init__()

    def _watch(self) -> None:
        pause_s = self._every_s
        while not self._closed.wait(pause_s):
            began = time.perf_counter()
            sizes = {pid: pss_bytes(pid) for pid in members(self._mark, self._known)}
            if sum(sizes.values()) > self.peak_bytes:
                self.peak_bytes = sum(sizes.values())
                self.processes = sorted(((name(pid), size) for pid, size in sizes.items()), key=lambda p: -p[1])
            pause_s = max(self._every_s, _REST * (time.perf_counter() - began))


def end(mark: str, patience_s: float = 10.0) -> int:
    """Ends what is left of a run, by process id; first asks, then insists.

    Returns:
        How many processes had to be ended.
    """
    until = time.monotonic() + patience_s
    while (left := members(mark, {})) and time.monotonic() < until:
        time.sleep(0.2)  # Ray's daemons end by themselves soon after their driver
    for insist in (False, True):
        processes = [psutil.Process(pid) for pid in members(mark, {}) if psutil.pid_exists(pid)]
        for process in processes:
            try:
                process.kill() if insist else process.terminate()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=5)
    return len(left)
