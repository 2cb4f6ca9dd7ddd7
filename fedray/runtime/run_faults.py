"""Faults of the run itself, carried out from the driver: each once, also where the driver dies of it and goes on."""

import os
import threading
import time
from dataclasses import asdict, replace

import ray

from fedray.messages import Fault
from fedray.runtime.answers import Place
from fedray.runtime.chaos import ChaosActors
from fedray.simulation.faults.event import FaultEvent
from fedray.simulation.run_folder import RunFolder


class RunFaults:
    """Carries out faults that befall the driver and the nodes.

    Args:
        folder: The run folder, whose faults.jsonl says which of them have been.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._chaos = ChaosActors()
        self._done = {(line["fault"], line["round"]) for line in folder.lines("faults")}

    def carry_out(self, fault: Fault) -> FaultEvent | None:
        """Does it, or says why not; None where it has been already, before the driver went on."""
        if (fault.id, fault.round) in self._done:
            return None
        self._done.add((fault.id, fault.round))
        here = Place(node=ray.get_runtime_context().get_node_id(), pid=os.getpid())
        if fault.kind == "kill_driver":
            return self._kill_driver(fault, here)
        if fault.kind == "kill_node":
            return self._kill_node(fault, here)
        return FaultEvent.of(fault, f"not carried out: {fault.kind} needs a hand on what fedray did not start")

    def _kill_driver(self, fault: Fault, here: Place) -> FaultEvent:
        """Writes it down first, since there is no after."""
        event = replace(FaultEvent.of(fault, f"planned: kill_driver {fault.at}", here.pid), node=here.node)
        chaos = self._chaos.on(here.node)
        ray.get(chaos.take.remote())  # it has started, so that the signal follows the line at once
        self._folder.append("faults", asdict(replace(event, injected_at=time.time())))
        ray.get(chaos.strike.remote(fault, here.pid))
        threading.Event().wait()  # the signal is on its way
        return event

    def _kill_node(self, fault: Fault, here: Place) -> FaultEvent:
        """Ends one of the other nodes, the same one of those that are there in every run."""
        others = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here.node)
        if not others:
            return FaultEvent.of(fault, "not carried out: the only node is the driver's own")
        node = others[(fault.id + fault.round) % len(others)]
        self._chaos.on(node).end_node.remote()
        return replace(FaultEvent.of(fault, "planned: kill_node"), node=node, injected_at=time.time())
