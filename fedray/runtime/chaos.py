"""The chaos actor of a node: real signals to real processes, as the fault plan says, and to actors that hang."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedray.messages import Fault
from fedray.runtime.answers import Ref, get
from fedray.runtime.lost import ActorDied

_TURN_S = 0.05
"""A process that is slowed down runs and stands still in turns of about this length."""
_SIGNALS = {"kill": signal.SIGKILL, "kill_driver": signal.SIGKILL, "hang": signal.SIGSTOP}
_ON_ITS_WAY_S = 5.0
"""How long a signal may take that was sent."""
_ATTEMPTS = 2
"""How many chaos actors are asked to end a process: one that does not answer is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What was done to a process.

    Attributes:
        fault: Row of the fault plan.
        round: Round number.
        block: Index of the block that it trained.
        pid: The process.
        time: Epoch seconds.
    """

    fault: int
    round: int
    block: int
    pid: int
    time: float


class Chaos:
    """Sends signals to processes of its node. A plain class; `ChaosActors` makes actors of it."""

    def __init__(self) -> None:
        self._strikes: list[Strike] = []

    def ready(self) -> None:
        """Answers once it can work."""

    def strike(self, fault: Fault, pid: int) -> None:
        """Does to a process what a fault says; what the process does to itself is only noted."""
        self._strikes.append(Strike(fault=fault.id, round=fault.round, block=fault.block, pid=pid, time=time.time()))
        if fault.kind == "slow":
            threading.Thread(target=_slow, args=(pid, fault.amount, fault.seconds), daemon=True).start()
        _send(fault, pid)

    def take(self) -> list[Strike]:
        """What was done since the last call."""
        taken, self._strikes = self._strikes, []
        return taken

    def end(self, pid: int) -> None:
        """Ends an actor's process that does not answer, be it stopped or busy."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.name().startswith("ray::"):
                process.kill()

    def end_node(self) -> None:
        """Ends this node: all of its workers and its raylet, with no time to say so, as when a machine is gone."""
        mine = os.getpid()
        raylet = next(process for process in psutil.Process().parents() if process.name() == "raylet")
        for process in {raylet, *raylet.children(recursive=True), *_forks_of(raylet)}:
            if process.pid != mine:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        os.kill(mine, signal.SIGKILL)


def _forks_of(raylet: psutil.Process) -> list[psutil.Process]:
    """Forked workers of a node and their nursery, which are no children of its raylet; Ray names it to all workers."""
    found = list[psutil.Process]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("RAY_RAYLET_PID") == str(raylet.pid):
                found.append(process)
    return found


def strike_here(chaos: Any, fault: Fault) -> None:
    """Has a chaos actor do to this process what a fault says; where it does not answer, this process does it itself."""
    try:
        get(chaos.strike.remote(fault, os.getpid()))
    except ActorDied:
        _send(fault, os.getpid())
    if _SIGNALS.get(fault.kind) == signal.SIGKILL:
        threading.Event().wait(_ON_ITS_WAY_S)
        _send(fault, os.getpid())


def _send(fault: Fault, pid: int) -> None:
    if fault.kind in _SIGNALS:
        os.kill(pid, _SIGNALS[fault.kind])


def _slow(pid: int, factor: float, seconds: float) -> None:
    """Lets a process run for a part of the time: it takes `factor` times as long."""
    until, runs_s = time.monotonic() + seconds, _TURN_S / factor
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(_TURN_S - runs_s)
            os.kill(pid, signal.SIGCONT)
            time.sleep(runs_s)


class ChaosActors:
    """One chaos actor for each node that needs one; started when first asked for."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 4, "enable_task_events": False}
        self._class: Any = ray.remote(**options)(Chaos)
        self._actors: dict[str, Any] = {}
        self._closed = False
        self._lock = threading.RLock()  # threads that end processes start actors and give them up too

    def on(self, node: str) -> Any:
        """The chaos actor of a node."""
        with self._lock:
            if node not in self._actors:
                here = NodeAffinitySchedulingStrategy(node, soft=False)
                self._actors[node] = self._class.options(scheduling_strategy=here).remote()
            return self._actors[node]

    def start_on(self, nodes: Iterable[str]) -> None:
        """Waits for the chaos actors of some nodes, so that no deadline runs while they start; "" is no node."""
        asked = {node: self.on(node) for node in sorted({*nodes} - {""})}
        self._answers({node: actor.ready.remote() for node, actor in asked.items()})

    def end(self, node: str, pid: int) -> None:
        """Has an actor's process ended, where its node is still there; nobody waits for a node that may be cut off."""
        threading.Thread(target=self._end, args=(node, pid), name="fedray-end", daemon=True).start()

    def _end(self, node: str, pid: int) -> None:
        for _ in range(_ATTEMPTS):
            with self._lock:
                if self._closed:  # nobody would end an actor that is started now
                    return
                asked = {node: self.on(node).end.remote(pid)}
            if self._answers(asked):
                return

    def strikes(self) -> list[Strike]:
        """What was done since the last call, on all nodes."""
        with self._lock:
            asked = {node: actor.take.remote() for node, actor in self._actors.items()}
        taken = self._answers(asked)
        return [strike for strikes in taken.values() for strike in strikes]

    def _answers(self, asked: Mapping[str, Ref]) -> dict[str, Any]:
        """Answers by node, without those that do not answer: they are dead, with their node or alone, or as good as."""
        answers = dict[str, Any]()
        for node, ref in asked.items():
            try:
                answers[node] = get(ref)
            except ActorDied:
                with self._lock:
                    if actor := self._actors.pop(node, None):  # unless another has seen it, or all were ended
                        ray.kill(actor)
        return answers

    def close(self) -> None:
        """Ends all of them."""
        with self._lock:
            self._closed = True
            for actor in self._actors.values():
                ray.kill(actor)
            self._actors = {}
