"""Who takes part in each round: by sampling alone, or by what devices do in virtual time; for each edge by itself.

Shapes: N clients of the population, E edges, P parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from fedray import seeds
from fedray.client.training import TrainingConfig
from fedray.errors import ConfigError
from fedray.messages import Array, Ints
from fedray.population.devices import Devices
from fedray.server.buffered import Buffered, Queue
from fedray.server.hierarchy import Hierarchy, Tree, shares
from fedray.server.links import travel
from fedray.server.sampling import CohortConfig, choose
from fedray.server.synchronous import plan_round
from fedray.server.trips import Demand
from fedray.simulation.chosen import Chosen, Wide, joined, sampled, timed
from fedray.simulation.plan import Plan

_NUMBER = 4
"""Bytes of a parameter."""
_COPIES = 3
"""Parameters, gradients and the update, which a device keeps while it trains; an optimizer's state comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """Who trains for one server: all clients, where there is no hierarchy.

    Attributes:
        clients: Client ids, sorted.
        sizes: Training examples of each.
        cohort: How many take part in a round, and how they are chosen.
        seed: What its random choices follow from.
        demand: What is asked of devices, where they are simulated.
    """

    clients: Ints
    sizes: Ints
    cohort: CohortConfig
    seed: int
    demand: Demand | None = None


class Rounds:
    """Chooses the clients of each round.

    Args:
        plan: The experiment.
        sizes: Training examples of each client, shape (N,).
        num_parameters: P.

    Raises:
        ConfigError: Devices or hierarchy do not fit the experiment.
    """

    def __init__(self, plan: Plan, sizes: Ints, num_parameters: int) -> None:
        self._plan, self._num_bytes = plan, num_parameters * _NUMBER
        self.tree: Tree | None = None
        self._devices: Devices | None = None
        seed = plan.workload.seed
        everybody = _Edge(clients=np.arange(len(sizes)), sizes=sizes, cohort=plan.cohort, seed=seed)
        self._edges = [everybody]
        self._pause_s = 0.0 if isinstance(plan.protocol, Buffered) else plan.protocol.pause_s
        if plan.hierarchy is not None:
            self.tree = plan.hierarchy.build(plan.num_clients)
            self._edges = _edges(everybody, plan.hierarchy, self.tree, plan.cohort_size)
        if plan.devices is not None:
            self._devices = plan.devices.build(plan.num_clients, seed)
            demand = _demand(plan, self._devices, sizes, num_parameters)
            self._edges = [_asked(plan, edge, demand) for edge in self._edges]
            if isinstance(plan.protocol, Buffered):
                self._queue = Queue(plan.protocol, self._devices, self._edges[0].demand or demand, seed)

    @property
    def begin_s(self) -> tuple[float, ...]:
        """When each edge begins to select the first round's clients, in virtual time, shape (E,)."""
        return (0.0,) * len(self._edges)

    def choose(self, round: int, now_s: Sequence[float]) -> Chosen:
        """The clients of a round.

        Args:
            round: Round number, from 1.
            now_s: When each edge begins to select them, in virtual time, shape (E,).

        Raises:
            RoundFailed: In a year of virtual time not enough devices are there.
        """
        if isinstance(self._plan.protocol, Buffered):
            return self._buffered(round, self._plan.protocol)
        parts = [self._of_edge(edge, round, now) for edge, now in zip(self._edges, now_s, strict=True)]
        chosen = parts[0]
        if self._plan.hierarchy is not None and self.tree is not None:
            chosen = self._reported(joined(parts), round, self._plan.hierarchy, self.tree)
        return replace(chosen, next_s=tuple(end + self._pause_s for end in chosen.next_s))

    def _buffered(self, round: int, protocol: Buffered) -> Chosen:
        times = self._queue.step(round)
        return timed(times, protocol.scale(round - 1 - times.version[times.counts]))

    def _of_edge(self, edge: _Edge, round: int, now: float) -> Chosen:
        if self._devices is None or edge.demand is None or isinstance(self._plan.protocol, Buffered):
            return sampled(edge.clients[choose(edge.cohort, edge.sizes, edge.seed, round)], round)
        times = plan_round(self._plan.protocol, self._devices, edge.demand, edge.seed, round, now)
        return timed(times, np.ones(int(times.counts.sum())))

    def _reported(self, chosen: Chosen, round: int, hierarchy: Hierarchy, tree: Tree) -> Chosen:
        """The round with what is reported upwards after it, and the time that takes."""
        way = travel(hierarchy, tree, round, np.array(chosen.next_s), self._num_bytes)
        chosen = replace(chosen, wide=Wide(reached=way.reached, up=way.up, down=way.down))
        if chosen.times is None:
            return chosen
        return replace(chosen, next_s=tuple(way.next_s.tolist()), times=replace(chosen.times, end=way.end))


def _edges(everybody: _Edge, hierarchy: Hierarchy, tree: Tree, wanted: int) -> list[_Edge]:
    """The edges of a hierarchy: each chooses from its own clients, and draws its own random numbers."""
    clients = list(tree.clients())
    if wanted < len(clients):
        raise ConfigError(
            f"a round has {wanted} clients, but hierarchy.levels has {len(clients)} servers, each of which wants one; "
            "set cohort.size higher"
        )
    sizes = shares(wanted, np.array([len(mine) for mine in clients]))
    return [
        _Edge(
            clients=mine,
            sizes=everybody.sizes[mine],
            cohort=everybody.cohort.model_copy(update={"size": size, "fraction": None}),
            seed=everybody.seed if number == 0 else seeds.torch_seed(everybody.seed, "edge", 0, number),
        )
        for number, (mine, size) in enumerate(zip(clients, sizes.tolist(), strict=True))
    ]


def _asked(plan: Plan, edge: _Edge, demand: Demand) -> _Edge:
    """An edge with what it asks of its devices.

    Raises:
        ConfigError: It has not as many as a round needs.
    """
    wanted = edge.cohort.resolve(len(edge.clients))
    able = demand.able if len(edge.clients) == len(demand.passes) else np.intersect1d(demand.able, edge.clients)
    least = plan.protocol.least(wanted)
    if len(able) < least:
        where = "" if plan.hierarchy is None else f" at the {plan.hierarchy.levels[0].name} of client {edge.clients[0]}"
        raise ConfigError(
            f"protocol {plan.protocol.name} needs {least} devices, but {len(able)} have memory enough{where}; "
            f"lower cohort.size or protocol.{plan.protocol.lever}"
        )
    return replace(edge, demand=replace(demand, wanted=wanted, able=able))


def _demand(plan: Plan, devices: Devices, sizes: Ints, num_parameters: int) -> Demand:
    slots = sum(state.dim() > 0 for state in plan.workload.training.optimizer.start(torch.zeros(1)).values())
    return Demand(
        wanted=plan.cohort_size,
        passes=passes(plan.workload.training, sizes),
        down=plan.workload.compression.down_bytes(num_parameters),
        up=plan.workload.compression.up_bytes(num_parameters),
        able=devices.able(num_parameters * _NUMBER * (_COPIES + slots)),
        weights=sizes.astype(np.float64) if plan.cohort.sampling == "weighted" else None,
    )


def passes(training: TrainingConfig, sizes: Ints) -> Array:
    """Examples that each client trains on in a round, each counted as often as it is seen, float64, shape (N,)."""
    unique, kind = np.unique(sizes, return_inverse=True)
    return np.array([float(training.passes(int(size))) for size in unique])[kind]
