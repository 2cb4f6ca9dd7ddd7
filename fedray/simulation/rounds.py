"""Who takes part in each round: by sampling alone, or by what devices do in virtual time; for each edge by itself.

Shapes: N clients of the population, E edges, P parameters.
"""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import torch

from fedray import seeds
from fedray.client.training import TrainingConfig
from fedray.errors import ConfigError
from fedray.messages import Array, Ints
from fedray.population.devices import Devices
from fedray.server.asynchronous import Asynchronous
from fedray.server.buffered import Buffered, Queue
from fedray.server.fedasync import FedAsync
from fedray.server.hierarchy import Hierarchy, Tree, shares
from fedray.server.links import travel
from fedray.server.protocols import Protocol
from fedray.server.synchronous import Synchronous, plan_round
from fedray.server.tiers import FedAT, TierQueue
from fedray.server.trips import Demand, legs
from fedray.simulation.chosen import Chosen, Wide, joined, sampled, timed
from fedray.simulation.plan import Plan
from fedray.simulation.selecting import Selecting

_NUMBER = 4
"""Bytes of a parameter."""
_COPIES = 3
"""Parameters, gradients and the update, which a device keeps while it trains; an optimizer's state comes on top."""


class Losses(typing.Protocol):
    """Asks clients of an edge for the loss of the model that they would get."""

    def __call__(self, clients: Ints, edge: int) -> Array:
        """Mean losses on their own examples, shape (C,); NaN where one has none to tell."""
        ...


def _nobody_asked(clients: Ints, edge: int) -> Array:
    return np.full(len(clients), np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    """Who trains for one server: all clients, where there is no hierarchy.

    Attributes:
        clients: Client ids, sorted.
        wanted: Updates that a round wants.
        seed: What its random choices follow from.
        selecting: Chooses among those that can take part, and learns from what becomes of them.
        demand: What is asked of devices, where they are simulated.
    """

    clients: Ints
    wanted: int
    seed: int
    selecting: Selecting
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
        self._pause_s = plan.protocol.pause_s if isinstance(plan.protocol, Synchronous) else 0.0
        self.tree = None if plan.hierarchy is None else plan.hierarchy.build(plan.num_clients)
        self._devices = None if plan.devices is None else plan.devices.build(plan.num_clients, plan.workload.seed)
        demand = None if self._devices is None else _demand(plan, self._devices, sizes, num_parameters)
        self._edges = [self._edge(*edge, sizes, demand) for edge in _members(plan, self.tree)]
        if self._devices is not None and demand is not None:
            self._schedule(plan.protocol, self._devices, self._edges[0].demand or demand)

    def _schedule(self, protocol: Protocol, devices: Devices, demand: Demand) -> None:
        """What is known of all rounds before anybody trains, where a protocol has one server that waits for nobody."""
        seed = self._plan.workload.seed
        if isinstance(protocol, FedAT):
            self._tiers = TierQueue(protocol, devices, demand, seed)
        elif isinstance(protocol, Asynchronous):
            self._queue = Queue(protocol, devices, demand, seed)

    def _edge(self, number: int, clients: Ints, wanted: int, sizes: Ints, demand: Demand | None) -> _Edge:
        """An edge: it chooses from its own clients, and draws its own random numbers."""
        seed, duration_s = self._plan.workload.seed, None
        seed = seed if number == 0 else seeds.torch_seed(seed, "edge", 0, number)
        if demand is not None and self._devices is not None:
            demand = _asked(self._plan, demand, clients, wanted)
            duration_s = np.sum(legs(self._devices, demand, clients), axis=0)
        sampling = self._plan.cohort.sampling
        selecting = Selecting(sampling, sizes[clients], wanted, seed, duration_s, clients)
        return _Edge(clients=clients, wanted=wanted, seed=seed, selecting=selecting, demand=demand)

    @property
    def learns(self) -> bool:
        """Whether the clients of a round depend on the ledger of the round before."""
        return self._edges[0].selecting.learns

    def note(self, round: int, columns: Mapping[str, Array]) -> None:
        """Learns from the ledger of a round."""
        for edge in self._edges:
            edge.selecting.note(round, columns)

    def remember(self, ledger: pa.Table | None) -> None:
        """Learns from the ledger of all rounds so far, and forgets what was known before."""
        for edge in self._edges:
            edge.selecting.remember(ledger)

    @property
    def begin_s(self) -> tuple[float, ...]:
        """When each edge begins to select the first round's clients, in virtual time, shape (E,)."""
        return (0.0,) * len(self._edges)

    def choose(self, round: int, now_s: Sequence[float], losses: Losses = _nobody_asked) -> Chosen:
        """The clients of a round.

        Args:
            round: Round number, from 1.
            now_s: When each edge begins to select them, in virtual time, shape (E,).
            losses: Asks clients of an edge for the loss of the model that they would get, where the selection wants to
                know.

        Raises:
            RoundFailed: In a year of virtual time not enough devices are there.
        """
        if not isinstance(self._plan.protocol, Synchronous):
            return self._asynchronous(round, self._plan.protocol)
        parts = [
            self._of_edge(edge, round, now, partial(losses, edge=number))
            for number, (edge, now) in enumerate(zip(self._edges, now_s, strict=True))
        ]
        chosen = parts[0]
        if self._plan.hierarchy is not None and self.tree is not None:
            chosen = self._reported(joined(parts), round, self._plan.hierarchy, self.tree)
        return replace(chosen, next_s=tuple(end + self._pause_s for end in chosen.next_s))

    def _asynchronous(self, round: int, protocol: Buffered | FedAsync | FedAT) -> Chosen:
        if isinstance(protocol, FedAT):
            tier, times = self._tiers.step(round)
            return replace(timed(times, np.ones(int(times.counts.sum()))), tier=tier)
        times = self._queue.step(round)
        staleness = round - 1 - times.version[times.counts]
        if isinstance(protocol, Buffered):
            return timed(times, protocol.scale(staleness))
        return replace(timed(times, np.ones(len(staleness))), mixing=protocol.part(int(staleness[0])))

    def _of_edge(self, edge: _Edge, round: int, now: float, losses: Callable[[Ints], Array]) -> Chosen:
        select = partial(edge.selecting.select, round=round, losses=losses)
        if self._devices is None or edge.demand is None or not isinstance(self._plan.protocol, Synchronous):
            return sampled(select(edge.clients, edge.wanted), round)
        pick = select if self.learns else None
        times = plan_round(self._plan.protocol, self._devices, edge.demand, edge.seed, round, now, pick)
        return timed(times, np.ones(int(times.counts.sum())))

    def _reported(self, chosen: Chosen, round: int, hierarchy: Hierarchy, tree: Tree) -> Chosen:
        """The round with what is reported upwards after it, and the time that takes."""
        way = travel(hierarchy, tree, round, np.array(chosen.next_s), self._num_bytes)
        chosen = replace(chosen, wide=Wide(reached=way.reached, up=way.up, down=way.down))
        if chosen.times is None:
            return chosen
        return replace(chosen, next_s=tuple(way.next_s.tolist()), times=replace(chosen.times, end=way.end))


def _members(plan: Plan, tree: Tree | None) -> list[tuple[int, Ints, int]]:
    """The number of each edge, its clients and how many updates it wants of a round; one edge without a hierarchy."""
    if tree is None or plan.hierarchy is None:
        return [(0, np.arange(plan.num_clients), plan.cohort_size)]
    clients, wanted = list(tree.clients()), plan.cohort_size
    if wanted < len(clients):
        raise ConfigError(
            f"a round has {wanted} clients, but hierarchy.levels has {len(clients)} servers, each of which wants one; "
            "set cohort.size higher"
        )
    share = shares(wanted, np.array([len(mine) for mine in clients])).tolist()
    return [(number, *edge) for number, edge in enumerate(zip(clients, share, strict=True))]


def _asked(plan: Plan, demand: Demand, clients: Ints, wanted: int) -> Demand:
    """What an edge asks of its devices.

    Raises:
        ConfigError: It has not as many as a round needs.
    """
    able = demand.able if plan.hierarchy is None else np.intersect1d(demand.able, clients)
    least = plan.protocol.least(wanted)
    if len(able) < least:
        where = "" if plan.hierarchy is None else f" at the {plan.hierarchy.levels[0].name} of client {clients[0]}"
        raise ConfigError(
            f"protocol {plan.protocol.name} needs {least} devices, but {len(able)} have memory enough{where}; lower "
            f"cohort.size or protocol.{plan.protocol.lever}"
        )
    return replace(demand, wanted=wanted, able=able)


def _demand(plan: Plan, devices: Devices, sizes: Ints, num_parameters: int) -> Demand:
    slots = sum(state.dim() > 0 for state in plan.workload.training.optimizer.start(torch.zeros(1)).values())
    return Demand(
        wanted=plan.cohort_size,
        passes=passes(plan.workload.training, sizes),
        down=plan.workload.compression.down_bytes(num_parameters),
        up=plan.workload.compression.up_bytes(num_parameters),
        able=devices.able(num_parameters * _NUMBER * (_COPIES + slots)),
        batch=_of_sizes(plan.workload.training.effective_batch, sizes),
        weights=sizes.astype(np.float64) if plan.cohort.sampling.name == "weighted" else None,
    )


def passes(training: TrainingConfig, sizes: Ints) -> Array:
    """Examples that each client trains on in a round, each counted as often as it is seen, float64, shape (N,)."""
    return _of_sizes(training.passes, sizes)


def _of_sizes(figure: Callable[[int], float], sizes: Ints) -> Array:
    """A figure of each client that follows from its number of examples, float64, shape (N,)."""
    unique, kind = np.unique(sizes, return_inverse=True)
    return np.array([float(figure(int(size))) for size in unique])[kind]
