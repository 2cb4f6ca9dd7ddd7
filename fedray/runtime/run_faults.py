"""Faults of the run itself, carried out from the driver."""

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import ray

from fedray.messages import Fault
from fedray.runtime.answers import Place, get
from fedray.runtime.chaos import ChaosActors, strike_here
from fedray.runtime.lost import ActorDied
from fedray.simulation.faults.event import FaultEvent, Note
from fedray.simulation.watch import Watch


class RunFaults:
    """Carries out faults of the run.

    Args:
        folder: The run folder.
        watch: Told what the process that started Ray has to do itself.
    """

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch, self._chaos = folder, watch, ChaosActors()

    def carry_out(self, fault: Fault, note: Note) -> None:
        """Does what a fault says, or notes why not."""
        here = Place(node=ray.get_runtime_context().get_node_id(), pid=os.getpid())
        if fault.kind == "kill_driver":
            _kill_driver(fault, note, here, self._chaos)
        elif fault.kind == "kill_node":
            _kill_node(fault, note, here, self._chaos)
        elif fault.kind == "tracking_away":
            self._stop_delivery(fault, note)
        else:
            event = FaultEvent.of(fault, f"planned: {fault.kind}; asked of the process that started Ray")
            note(replace(event, injected_at=time.time()))
            self._watch.tell(fault.kind)

    def _stop_delivery(self, fault: Fault, note: Note) -> None:
        """Has the process that delivers to MLflow stopped for some seconds: as if the server did not answer it."""
        command = {"fedray.tracking.follow", str(self._folder.resolve())}
        for process in psutil.process_iter(["cmdline"]):
            if command <= set(process.info["cmdline"] or []):
                note(replace(FaultEvent.of(fault, "planned: tracking_away", process.pid), injected_at=time.time()))
                self._watch.tell("tracking_away", pid=process.pid, seconds=fault.seconds)
                return
        note(FaultEvent.of(fault, "not carried out: nothing of this run is delivered to MLflow"))


def _kill_driver(fault: Fault, note: Note, here: Place, chaos: ChaosActors) -> None:
    """Notes it first, since there is no after."""
    actor = chaos.on(here.node)
    with contextlib.suppress(ActorDied):
        get(actor.take.remote())  # it has started, so that the signal follows the note at once
    event = FaultEvent.of(fault, f"planned: kill_driver {fault.at}", here.pid)
    note(replace(event, node=here.node, injected_at=time.time()))
    strike_here(actor, fault)


def _kill_node(fault: Fault, note: Note, here: Place, chaos: ChaosActors) -> None:
    """Ends one of the other nodes."""
    others = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here.node)
    if not others:
        note(FaultEvent.of(fault, "not carried out: the only node is the driver's own"))
        return
    node = others[(fault.id + fault.round) % len(others)]
    note(replace(FaultEvent.of(fault, "planned: kill_node"), node=node, injected_at=time.time()))
    with contextlib.suppress(ActorDied):  # with its node: it cannot say that it is done
        get(chaos.on(node).end_node.remote())
