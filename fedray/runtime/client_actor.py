"""What a client actor is: a host of clients, with a way in for small calls, and with what the fault plan does to it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray

from fedray.client.host import Host, Work
from fedray.client.workload import Workload
from fedray.data.base import FederatedData
from fedray.messages import Block, Fault, Floats
from fedray.runtime.answers import Place
from fedray.runtime.chaos import strike_here
from fedray.runtime.frames import pack, unpack
from fedray.runtime.lane_end import LaneEnd
from fedray.runtime.lost import AnswerLost
from fedray.simulation.faults.kinds import DELAYS, LOSSES, PROCESS

_PIECE = 64 * 2**20
"""Memory is taken in pieces of so many bytes."""


class ClientActor(Host):
    """A host whose methods can be called with all arguments in one piece of bytes; `pool.py` makes actors of it."""

    def __init__(self, workload: Workload, data: FederatedData) -> None:
        super().__init__(workload, data)
        if sys.platform == "linux":  # who trains does not push aside who wakes it, and has others to wake
            with contextlib.suppress(OSError):  # a sandbox may refuse; then rounds are only slower
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def place(self) -> Place:
        """Where it is, once it can work."""
        self._lane = LaneEnd()
        return Place(node=ray.get_runtime_context().get_node_id(), pid=os.getpid(), lane=self._lane.name)

    def serve_lane(self) -> None:
        """Answers calls of `Host` that come by the lane, until the driver has another for this actor."""
        self._lane.serve(self._answer)

    def call(self, method: str, packed: bytes) -> bytes:
        """Calls a method of `Host` with packed arguments, and packs its answer."""
        return pack(self._answer(method, unpack(packed)))

    def _answer(self, method: str, args: tuple[Any, ...]) -> Any:
        return getattr(self, method)(*args)

    def train_struck(
        self,
        parameters: Floats,
        blocks: Sequence[Block],
        hand_over: bool = False,
        kept: Floats | None = None,
        cohort: int | None = None,
        chaos: Sequence[Any] = (),
    ) -> Work:
        """As `train`, with the planned faults of these blocks: of several that lose an attempt, the first alone.

        Args:
            parameters: As in `train`, like the next four.
            blocks: Which clients.
            hand_over: Give the sums away.
            kept: What they have kept.
            cohort: The round by which the sums are collected.
            chaos: The chaos actor of this node, in a sequence so that Ray hands over the actor itself.

        Raises:
            AnswerLost: The plan loses the answer.
        """
        planned = [fault for block in blocks for fault in block.faults if fault.kind in PROCESS]
        losses = [fault for fault in planned if fault.kind in LOSSES]
        strikes = _Strikes([*losses[:1], *(fault for fault in planned if fault.kind in DELAYS)], chaos[0])
        strikes.before()
        work = self.train(parameters, blocks, hand_over, kept, cohort)
        strikes.after()
        return work


class _Strikes:
    """The faults that befall this process while it trains a block.

    Args:
        faults: What is planned.
        chaos: The chaos actor of this node.
    """

    def __init__(self, faults: Sequence[Fault], chaos: Any) -> None:
        self._faults, self._chaos = faults, chaos
        self._beside: list[threading.Thread] = []
        self._taken: list[Any] = []

    def before(self) -> None:
        """What happens before the training, and what is set going to happen in it."""
        for fault in self._faults:
            if fault.kind == "exhaust_memory":
                self._exhaust(fault)
            elif fault.kind == "slow" or (fault.kind in ("kill", "hang") and fault.at == "before"):
                self._strike(fault)
            elif fault.kind in ("kill", "hang") and fault.at == "during":
                self._beside.append(threading.Thread(target=self._strike, args=(fault,), daemon=True))
                self._beside[-1].start()

    def after(self) -> None:
        """What happens between the training and the answer.

        Raises:
            AnswerLost: The answer is lost.
        """
        for thread in self._beside:
            thread.join()
        for fault in self._faults:
            if fault.kind in ("kill", "hang") and fault.at == "after":
                self._strike(fault)
            elif fault.kind == "delay_result":
                self._strike(fault)
                threading.Event().wait(fault.seconds)
            elif fault.kind == "lose_result":
                self._strike(fault)
                raise AnswerLost(f"planned: the answer with block {fault.block} is lost")

    def _strike(self, fault: Fault) -> None:
        strike_here(self._chaos, fault)

    def _exhaust(self, fault: Fault) -> None:
        """Takes real memory. Who is not killed for it, or is refused more, ends as the system's own killer ends it."""
        self._strike(fault)
        with contextlib.suppress(MemoryError):
            for start in range(0, int(fault.amount), _PIECE):
                self._taken.append(np.ones(min(_PIECE, int(fault.amount) - start), np.uint8))
        os.kill(os.getpid(), signal.SIGKILL)
