"""Rounds in virtual time: who is chosen and whose update counts, before anybody trains.

Shapes: N clients of the population, S selected in a round, P parameters.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from fedray.client.training import TrainingConfig
from fedray.errors import ConfigError
from fedray.messages import Array, Failure, Ints
from fedray.population.devices import Devices
from fedray.server.buffered import Buffered, Queue
from fedray.server.selection.base import Losses, nobody_asked
from fedray.server.synchronous import plan_round
from fedray.server.trips import LATE, REPORTED, WHY, Demand, Timeline, legs
from fedray.simulation.blocks import Group
from fedray.simulation.plan import Plan
from fedray.simulation.selecting import Selecting

_NUMBER = 4
"""Bytes of a parameter."""
_COPIES = 3
"""Parameters, gradients and the update, which a device keeps while it trains; an optimizer's state comes on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The clients of a round.

    Attributes:
        cohort: All of them, sorted; each has a fate at the end.
        training: Those whose updates count, sorted.
        missed: The others, and why.
        version: After which round each of `training` was sent the model.
        scale: What the update of each is multiplied by.
        later: Versions of the model before this round's end that clients of later rounds start from.
        times: What all do in virtual time, where devices are simulated.
    """

    cohort: Ints
    training: Ints
    version: Ints
    scale: Array
    missed: dict[int, Failure] = field(default_factory=dict[int, Failure])
    later: tuple[int, ...] = ()
    times: Timeline | None = None

    @property
    def committed(self) -> bool:
        """Whether the round changes the model."""
        return self.times is None or self.times.committed

    @property
    def versions(self) -> list[int]:
        """The versions that clients of this round start from, oldest first."""
        return np.unique(self.version).tolist()

    def groups(self, absent: Container[int]) -> list[Group]:
        """Those to train, by what they start from, without some."""
        present = np.array([client not in absent for client in self.training.tolist()], bool) if absent else True
        return [
            Group(clients=self.training[mine], start_from=place, scale=float(self.scale[mine][0]))
            for place, version in enumerate(self.versions)
            if (mine := (self.version == version) & present).any()
        ]


class Rounds:
    """Chooses the clients of each round: by sampling alone, or by what devices do in virtual time.

    Args:
        plan: The experiment.
        sizes: Training examples of each client, shape (N,).
        num_parameters: P.

    Attributes:
        selecting: Chooses among those that can take part, and learns from what becomes of them.

    Raises:
        ConfigError: The devices do not fit the experiment.
    """

    def __init__(self, plan: Plan, sizes: Ints, num_parameters: int) -> None:
        self._plan, seed = plan, plan.workload.seed
        self._everybody, self._devices, duration_s = np.arange(len(sizes)), None, None
        if plan.devices is not None:
            self._devices = plan.devices.build(plan.num_clients, seed)
            self._demand = _demand(plan, self._devices, sizes, num_parameters)
            duration_s = np.sum(legs(self._devices, self._demand, self._everybody), axis=0)
            if isinstance(plan.protocol, Buffered):
                self._queue = Queue(plan.protocol, self._devices, self._demand, seed)
        self.selecting = Selecting(plan.cohort.sampling, sizes, plan.cohort_size, seed, duration_s)

    def choose(self, round: int, now: float, losses: Losses = nobody_asked) -> Chosen:
        """The clients of a round, from 1, whose selection begins at a virtual time.

        Args:
            round: Its number.
            now: The time.
            losses: Asks clients for the loss of the round's model, where the selection wants to know.

        Raises:
            RoundFailed: In a year of virtual time not enough devices are there.
        """
        plan, seed = self._plan, self._plan.workload.seed
        if self._devices is None:
            cohort = self.selecting.select(self._everybody, plan.cohort_size, round, losses)
            return Chosen(cohort=cohort, training=cohort, version=np.full(len(cohort), round - 1), scale=_ones(cohort))
        if isinstance(plan.protocol, Buffered):
            times = self._queue.step(round)
            version = times.version[times.counts]
            return _chosen(times, version, plan.protocol.scale(round - 1 - version))
        pick = partial(self.selecting.select, round=round, losses=losses) if self.selecting.learns else None
        times = plan_round(plan.protocol, self._devices, self._demand, seed, round, now, pick)
        version = times.version[times.counts]
        return _chosen(times, version, _ones(version))

    def after(self, chosen: Chosen) -> float:
        """When the selection of the next round begins; 0 without virtual time."""
        if chosen.times is None:
            return 0.0
        protocol = self._plan.protocol
        return chosen.times.end + (0.0 if isinstance(protocol, Buffered) else protocol.pause_s)


def _ones(clients: Ints) -> Array:
    return np.ones(len(clients))


def _chosen(times: Timeline, version: Ints, scale: Array) -> Chosen:
    return Chosen(
        cohort=times.clients,
        training=times.clients[times.counts],
        version=version,
        scale=scale,
        missed=_missed(times),
        later=times.versions,
        times=times,
    )


def _demand(plan: Plan, devices: Devices, sizes: Ints, num_parameters: int) -> Demand:
    slots = sum(state.dim() > 0 for state in plan.workload.training.optimizer.start(torch.zeros(1)).values())
    able = devices.able(num_parameters * _NUMBER * (_COPIES + slots))
    least = plan.protocol.least(plan.cohort_size)
    if len(able) < least:
        raise ConfigError(
            f"protocol {plan.protocol.name} needs {least} devices, but there are {len(able)} with memory enough; lower "
            f"cohort.size or protocol.{plan.protocol.lever}"
        )
    return Demand(
        wanted=plan.cohort_size,
        passes=passes(plan.workload.training, sizes),
        down=num_parameters * _NUMBER,
        up=num_parameters * _NUMBER,
        able=able,
        weights=sizes.astype(np.float64) if plan.cohort.sampling.name == "weighted" else None,
    )


def passes(training: TrainingConfig, sizes: Ints) -> Array:
    """Examples that each client trains on in a round, each counted as often as it is seen, float64, shape (N,)."""
    unique, kind = np.unique(sizes, return_inverse=True)
    return np.array([float(training.passes(int(size))) for size in unique])[kind]


def _missed(times: Timeline) -> dict[int, Failure]:
    """Those whose updates do not count."""
    missed = dict[int, Failure]()
    for place in np.flatnonzero(~times.counts).tolist():
        client, fate, why = int(times.clients[place]), int(times.fate[place]), WHY[int(times.why[place])]
        if fate == REPORTED:
            missed[client] = Failure(fate="abandoned", cause="too few updates came, and the round changed nothing")
        else:
            missed[client] = Failure(fate="late" if fate == LATE else "vanished", cause=why)
    return missed


def record(times: Timeline) -> dict[str, Any]:
    """What the record of a round says of virtual time."""
    return {
        "selecting_s": times.selecting,
        "begin_s": times.begin,
        "end_s": times.end,
        "committed": times.committed,
        "bytes": {"down": float(times.down.sum()), "up": float(times.up.sum()), "lost": float(times.lost.sum())},
        "joules": float(times.joules.sum()),
        "device_s": float((times.until - times.trips.started).sum()),
    }


def columns(times: Timeline, clients: Ints) -> dict[str, Array]:
    """Columns of the ledger.

    Args:
        times: The round.
        clients: Its clients, in the order of the ledger.
    """
    place = np.searchsorted(times.clients, clients)
    trips = times.trips.take(place)
    return {
        "started_s": trips.started,
        "until_s": times.until[place],
        "download_s": trips.download_s.astype(np.float32),
        "compute_s": trips.compute_s.astype(np.float32),
        "upload_s": trips.upload_s.astype(np.float32),
        "version": times.version[place].astype(np.int32),
        "bytes_down": times.down[place].astype(np.int64),
        "bytes_up": times.up[place].astype(np.int64),
        "joules": times.joules[place].astype(np.float32),
    }
