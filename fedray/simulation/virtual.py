"""Rounds in virtual time: who is chosen and whose update counts, before anybody trains.

Shapes: N clients of the population, S selected in a round, P parameters.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fedray.client.training import TrainingConfig
from fedray.errors import ConfigError
from fedray.messages import Array, Failure, Ints
from fedray.population.devices import Devices
from fedray.server.sampling import choose
from fedray.server.synchronous import LATE, REPORTED, VANISHED, WHY, Demand, Timeline, plan_round
from fedray.simulation.plan import Plan

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
        times: What they do in virtual time, where devices are simulated.
    """

    cohort: Ints
    training: Ints
    missed: dict[int, Failure] = field(default_factory=dict[int, Failure])
    times: Timeline | None = None

    @property
    def committed(self) -> bool:
        """Whether the round changes the model."""
        return self.times is None or self.times.committed


class Rounds:
    """Chooses the clients of each round: by sampling alone, or by what devices do in virtual time.

    Args:
        plan: The experiment.
        sizes: Training examples of each client, shape (N,).
        num_parameters: P.

    Raises:
        ConfigError: The devices do not fit the experiment.
    """

    def __init__(self, plan: Plan, sizes: Ints, num_parameters: int) -> None:
        self._plan, self._sizes = plan, sizes
        self._devices: Devices | None = None
        if plan.devices is not None:
            self._devices = plan.devices.build(plan.num_clients, plan.workload.seed)
            self._demand = _demand(plan, self._devices, sizes, num_parameters)

    def choose(self, round: int, now: float) -> Chosen:
        """The clients of a round, from 1, whose selection begins at a virtual time."""
        plan, seed = self._plan, self._plan.workload.seed
        if self._devices is None:
            cohort = choose(plan.cohort, self._sizes, seed, round)
            return Chosen(cohort=cohort, training=cohort)
        times = plan_round(plan.protocol, self._devices, self._demand, seed, round, now)
        return Chosen(cohort=times.clients, training=times.reported, missed=_missed(times), times=times)

    def after(self, chosen: Chosen) -> float:
        """When the selection of the next round begins; 0 without virtual time."""
        return 0.0 if chosen.times is None else chosen.times.end + self._plan.protocol.pause_s


def _demand(plan: Plan, devices: Devices, sizes: Ints, num_parameters: int) -> Demand:
    slots = sum(state.dim() > 0 for state in plan.workload.training.optimizer.start(torch.zeros(1)).values())
    able = devices.able(num_parameters * _NUMBER * (_COPIES + slots))
    least = plan.protocol.least(plan.cohort_size)
    if len(able) < least:
        raise ConfigError(
            f"a round needs {least} devices, but only {len(able)} of {len(devices)} have memory enough; "
            "lower cohort.size or protocol.min_reports, or raise devices.profile.memory_mb"
        )
    return Demand(
        wanted=plan.cohort_size,
        passes=passes(plan.workload.training, sizes),
        down=num_parameters * _NUMBER,
        up=num_parameters * _NUMBER,
        able=able,
        weights=sizes.astype(np.float64) if plan.cohort.sampling == "weighted" else None,
    )


def passes(training: TrainingConfig, sizes: Ints) -> Array:
    """Examples that each client trains on in a round, each counted as often as it is seen, float64, shape (N,)."""
    unique, kind = np.unique(sizes, return_inverse=True)
    return np.array([float(training.passes(int(size))) for size in unique])[kind]


def _missed(times: Timeline) -> dict[int, Failure]:
    """Those whose updates do not count."""
    missed = dict[int, Failure]()
    for place in np.flatnonzero((times.fate != REPORTED) | (not times.committed)).tolist():
        client, fate = int(times.clients[place]), int(times.fate[place])
        if fate == VANISHED:
            missed[client] = Failure(fate="vanished", cause=WHY[int(times.why[place])])
        elif fate == LATE:
            missed[client] = Failure(fate="late", cause="the round was over before its update was there")
        else:
            missed[client] = Failure(fate="abandoned", cause="too few updates came, and the round changed nothing")
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
        "device_s": float((times.until - times.begin).sum()),
    }


def columns(times: Timeline, clients: Ints) -> dict[str, Array]:
    """Columns of the ledger.

    Args:
        times: The round.
        clients: Its clients, in the order of the ledger.
    """
    place = np.searchsorted(times.clients, clients)
    return {
        "begin_s": np.full(len(clients), times.begin),
        "until_s": times.until[place],
        "download_s": times.download_s[place].astype(np.float32),
        "compute_s": times.compute_s[place].astype(np.float32),
        "upload_s": times.upload_s[place].astype(np.float32),
        "bytes_down": times.down[place].astype(np.int64),
        "bytes_up": times.up[place].astype(np.int64),
        "joules": times.joules[place].astype(np.float32),
    }
