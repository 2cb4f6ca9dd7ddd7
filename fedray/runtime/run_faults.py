"""Faults of the run itself, carried out from the driver."""

import os
import threading
import time
from dataclasses import replace

import ray

from fedray.messages import Fault
from fedray.runtime.answers import Place
from fedray.runtime.chaos import ChaosActors
from fedray.simulation.faults.event import FaultEvent, Note


def carry_out(fault: Fault, note: Note) -> None:
    """Does what a fault says to the driver or to a node, or notes why not."""
    here, chaos = Place(node=ray.get_runtime_context().get_node_id(), pid=os.getpid()), ChaosActors()
    if fault.kind == "kill_driver":
        _kill_driver(fault, note, here, chaos)
    elif fault.kind == "kill_node":
        _kill_node(fault, note, here, chaos)
    else:
        note(FaultEvent.of(fault, f"not carried out: {fault.kind} needs a hand on what fedray did not start"))


def _kill_driver(fault: Fault, note: Note, here: Place, chaos: ChaosActors) -> None:
    """Notes it first, since there is no after."""
    actor = chaos.on(here.node)
    ray.get(actor.take.remote())  # it has started, so that the signal follows the note at once
    event = FaultEvent.of(fault, f"planned: kill_driver {fault.at}", here.pid)
    note(replace(event, node=here.node, injected_at=time.time()))
    ray.get(actor.strike.remote(fault, here.pid))
    threading.Event().wait()  # the signal is on its way


def _kill_node(fault: Fault, note: Note, here: Place, chaos: ChaosActors) -> None:
    """Ends one of the other nodes."""
    others = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here.node)
    if not others:
        note(FaultEvent.of(fault, "not carried out: the only node is the driver's own"))
        return
    node = others[(fault.id + fault.round) % len(others)]
    note(replace(FaultEvent.of(fault, "planned: kill_node"), node=node, injected_at=time.time()))
    chaos.on(node).end_node.remote()
