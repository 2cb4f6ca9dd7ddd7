"""Measuring one point: a real run, in a run folder of its own."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedray import api
from fedray.config import parse
from fedray.errors import UserError
from fedray.experiment import Experiment
from fedray.report.breakdown import RoundCost, read
from fedray.report.result import Result
from fedray.scaling.grid import Point
from fedray.scaling.measurement import Measurement
from fedray.scaling.request import WARM_UP
from fedray.scaling.stop import Stop
from fedray.simulation.watch import Event

RUNS = "runs"
"""Where below the study folder the run folders are."""
_NEVER_S = 1e9
Session = Callable[[int], AbstractContextManager[str | None]]
"""Gives a cluster of so many nodes while its context lasts, by its address; None: the one of the experiment."""


def settings_of(experiment: Experiment, point: Point, rounds: int, folder: Path) -> dict[str, Any]:
    """The experiment of a point: evaluated only at its end, not tracked and without baselines.

    Args:
        experiment: The study's experiment.
        point: The point.
        rounds: Rounds.
        folder: The study folder.
    """
    settings = experiment.model_dump(mode="json")
    changes: dict[str, dict[str, Any]] = {
        "cohort": {"size": point.setup.clients, "fraction": None},
        "actors": {"num_actors": point.setup.actors, "clients_per_actor": "auto"},
        "evaluation": {"every": rounds, "clients_every": rounds},
        "checkpoint": {"every_s": _NEVER_S},
        "baselines": {"central": False, "local": False},
        "tracking": {"enabled": False},
    }
    settings |= {name: {**settings[name], **change} for name, change in changes.items()}
    return settings | {"name": point.name, "rounds": rounds, "runs": str(folder / RUNS)}


class Runner:
    """Measures points with `fedray.run`.

    Args:
        experiment: The study's experiment.
        rounds: Rounds of a point, warm-up included.
        folder: The study folder.
        tell: Shown warnings.
        session: Gives the cluster of a point.
        stop: Ends a point at once.
    """

    def __init__(
        self,
        experiment: Experiment,
        rounds: int,
        folder: Path,
        tell: Callable[[str], None],
        session: Session,
        stop: Stop,
    ) -> None:
        self._experiment, self._rounds, self._folder, self._tell = experiment, rounds, folder, tell
        self._session, self._stop = session, stop
        self._seen: dict[str, Any] = {}
        self._nodes_are_here = False

    def __call__(self, point: Point) -> Measurement | None:
        """Measures a point; None when it was interrupted, and then its run folder is gone."""
        self._seen, started = {}, time.time()
        settings = settings_of(self._experiment, point, self._rounds, self._folder)
        try:
            with self._session(point.setup.nodes) as address, self._stop.at_once():
                self._nodes_are_here = address is not None
                if address is not None:
                    settings["actors"]["address"] = address
                result = api.run(parse(Experiment, settings, point.name), on_event=self._watch)
        except UserError as error:
            raise type(error)(f"point {point.name}: {error}") from error
        except KeyboardInterrupt:
            self._discard()
            return None
        if result.state != "finished":
            self._discard()
            return None
        return self._measurement(point, result, started)

    def _watch(self, event: Event) -> None:
        if event.kind in ("placement", "folder"):
            self._seen |= event.values
        elif event.kind == "warning":
            self._tell(f"warning      {event.values['text']}")
        elif event.kind == "stopping":
            self._tell("stopping     finished points are saved; Ctrl-C again ends at once")

    def _discard(self) -> None:
        if "path" in self._seen:
            shutil.rmtree(self._seen["path"], ignore_errors=True)

    def _measurement(self, point: Point, result: Result, started: float) -> Measurement:
        cores, machine_cores = _cores(self._seen.get("cluster"), self._nodes_are_here)
        rounds = tuple(self._completed(cost) for cost in read(result.folder)[WARM_UP:])
        return Measurement(
            point=point,
            rounds=rounds,
            digest=result.digest,
            cores=cores,
            machine_cores=machine_cores,
            host=socket.gethostname(),
            folder=str(result.folder.relative_to(self._folder)),
            started=started,
            ended=time.time(),
        )

    def _completed(self, cost: RoundCost) -> RoundCost:
        """A round with what a backend does not tell: slots, blocks and busy time, as far as they are known."""
        placement, plan = self._seen.get("placement"), self._seen["plan"]
        slots = cost.slots or (placement.slots if placement is not None else 1)
        blocks = cost.blocks or -(-max(1, cost.cohort) // plan.block_size)
        busy_s = cost.busy_s if cost.busy_s is not None else cost.seconds.get("train", 0.0) * min(slots, blocks)
        return replace(cost, slots=slots, blocks=blocks, busy_s=busy_s)


def _cores(cluster: Any, nodes_are_here: bool) -> tuple[int, int]:
    """Cores that the actors share, and of one machine; nodes on one machine have no more than it really has."""
    here = len(os.sched_getaffinity(0))
    if cluster is None:
        return 1, here
    if cluster.nodes == 1 or nodes_are_here:
        cores = max(1, min(int(cluster.cpus), here))
        return cores, cores
    return max(1, int(cluster.cpus)), max(1, round(cluster.cpus / cluster.nodes))
