"""The points of a study, and the order in which they are measured."""

from dataclasses import dataclass

import numpy as np

from fedray import seeds
from fedray.errors import ConfigError
from fedray.scaling.request import Request


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Setup:
    """What is measured, as often as the study repeats it.

    Attributes:
        clients: Clients in a round.
        actors: Client actors.
        nodes: Ray nodes.
    """

    clients: int
    actors: int
    nodes: int = 1

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"c{self.clients}-a{self.actors}-n{self.nodes}"

    def __str__(self) -> str:
        nodes = "" if self.nodes == 1 else f" on {self.nodes} nodes"
        return f"{self.clients:,} clients, {self.actors} actor{'' if self.actors == 1 else 's'}{nodes}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Point:
    """One measurement: one run.

    Attributes:
        setup: What is measured.
        repeat: Which time, from 1.
    """

    setup: Setup
    repeat: int

    @property
    def name(self) -> str:
        """Short and unique; the name of its run."""
        return f"{self.setup.name}-r{self.repeat}"


def setups(request: Request) -> tuple[Setup, ...]:
    """The grid; a node without an actor is no point of it.

    Raises:
        ConfigError: No point is left.
    """
    found = {
        Setup(clients=clients * actors if request.mode == "weak" else clients, actors=actors, nodes=nodes)
        for clients in request.clients
        for actors in request.actors
        for nodes in request.nodes
        if nodes <= actors
    }
    if not found:
        raise ConfigError(
            f"--nodes {min(request.nodes)} is more than --actors {max(request.actors)}, so that every point would have "
            "nodes without an actor; raise --actors"
        )
    return tuple(sorted(found))


def points(request: Request) -> tuple[Point, ...]:
    """All points in the order of their measurement.

    One repeat of the whole grid follows the other, each in an order of its own, so that a disturbance of the machine
    does not fall on the repeats of one setup alone.
    """
    grid = setups(request)
    ordered: list[Point] = []
    for repeat in range(1, request.repeats + 1):
        keys = seeds.keys(request.seed, "scaling", repeat, np.arange(len(grid)))
        ordered += [Point(setup=grid[position], repeat=repeat) for position in np.argsort(keys)]
    return tuple(ordered)
