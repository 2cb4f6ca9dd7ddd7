"""What a round of a setup costs, by component: medians, so that single slow rounds do not count."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fedray.report.breakdown import RoundCost
from fedray.scaling.grid import Setup
from fedray.scaling.measurement import Measurement

_TRANSFER = ("put", "aggregate")
_LEFT_OUT = ("evaluate", "checkpoint")
"""Not part of a round of the study: a point is evaluated and saved only at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a round has to do, and with what.

    Attributes:
        clients: Clients.
        examples: Examples trained on.
        blocks: Blocks of the cohort.
        actors: Client actors.
        slots: How many of them train at once.
        crowding: 0 where one actor trains on a machine, 1 where all its cores do.
    """

    clients: int
    examples: float
    blocks: int
    actors: int
    slots: int
    crowding: float

    @property
    def turns(self) -> int:
        """How many blocks the busiest slot trains, one after another."""
        return math.ceil(self.blocks / self.slots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians over the rounds of one setup.

    Attributes:
        load: What the round had to do.
        round_s: Wall time without evaluation and checkpoint.
        train_s: Of it, while clients train.
        transfer_s: Of it, parameters to actors and sums back.
        driver_s: Of it, all else: the driver's own work.
        busy_s: Training time of all blocks together.
        longest_s: Training time of the slowest block, or None.
        bytes: Bytes moved.
        seconds: Wall time by step.
        noise: Relative standard error of `busy_s`.
    """

    load: Load
    round_s: float
    train_s: float
    transfer_s: float
    driver_s: float
    busy_s: float
    longest_s: float | None
    bytes: float
    seconds: dict[str, float]
    noise: float = 0.0

    @property
    def clients_per_s(self) -> float:
        """Clients of a round over its wall time."""
        return self.load.clients / self.round_s


Grouped = dict[Setup, list[Measurement]]


def grouped(measurements: Iterable[Measurement]) -> Grouped:
    """The repeats of each setup, ordered by clients, actors and nodes."""
    found: defaultdict[Setup, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        found[measurement.point.setup].append(measurement)
    return {setup: found[setup] for setup in sorted(found)}


def of_measurements(repeats: Sequence[Measurement]) -> Cost:
    """The cost of a setup from all rounds of all repeats."""
    rounds = [cost for measurement in repeats for cost in measurement.rounds]
    return of_rounds(repeats[0], rounds, noise_of(repeats))


def noise_of(repeats: Sequence[Measurement]) -> float:
    """How far the training time of a setup is off, as a part of it: from its repeats, or the rounds of a single one."""
    seconds = [_median(measurement.rounds, _busy_s) for measurement in repeats]
    if len(seconds) < 2:
        seconds = [_busy_s(cost) for cost in repeats[0].rounds]
    mean = float(np.mean(seconds))
    return float(np.std(seconds, ddof=1)) / mean / math.sqrt(len(seconds)) if len(seconds) > 1 and mean else 0.0


def of_rounds(measurement: Measurement, rounds: Sequence[RoundCost], noise: float = 0.0) -> Cost:
    """The cost of a setup.

    Args:
        measurement: One of its repeats, for the cores.
        rounds: Rounds of it, at least one.
        noise: Relative standard error of its training time.
    """
    setup = measurement.point.setup
    slots = max(1, min(rounds[0].slots or setup.actors, setup.actors))
    load = Load(
        clients=setup.clients,
        examples=_median(rounds, lambda cost: cost.examples),
        blocks=max(1, round(_median(rounds, lambda cost: cost.blocks or slots))),
        actors=setup.actors,
        slots=slots,
        crowding=_crowding(slots, measurement),
    )
    names = dict.fromkeys(name for cost in rounds for name in cost.seconds if name not in _LEFT_OUT)
    longest = [cost.longest_block_s for cost in rounds if cost.longest_block_s is not None]
    return Cost(
        load=load,
        round_s=_median(rounds, _round_s),
        train_s=_median(rounds, lambda cost: cost.seconds.get("train", 0.0)),
        transfer_s=_median(rounds, _transfer_s),
        driver_s=_median(rounds, lambda cost: _round_s(cost) - cost.seconds.get("train", 0.0) - _transfer_s(cost)),
        busy_s=_median(rounds, _busy_s),
        longest_s=float(np.median(longest)) if longest else None,
        bytes=_median(rounds, lambda cost: sum(cost.bytes.values())),
        seconds={name: _median(rounds, _seconds_of(name)) for name in names},
        noise=noise,
    )


def _busy_s(cost: RoundCost) -> float:
    return cost.busy_s or 0.0


def _seconds_of(name: str) -> Callable[[RoundCost], float]:
    return lambda cost: cost.seconds.get(name, 0.0)


def _crowding(slots: int, measurement: Measurement) -> float:
    """Slots on one machine beside the first, as a part of its other cores."""
    machines = max(1.0, measurement.cores / measurement.machine_cores)
    others = measurement.machine_cores - 1
    return min(1.0, max(0.0, slots / machines - 1) / others) if others else 0.0


def _round_s(cost: RoundCost) -> float:
    return max(0.0, cost.wall_s - sum(cost.seconds.get(name, 0.0) for name in _LEFT_OUT))


def _transfer_s(cost: RoundCost) -> float:
    return sum(cost.seconds.get(name, 0.0) for name in _TRANSFER)


def _median(rounds: Sequence[RoundCost], value: Callable[[RoundCost], float]) -> float:
    return max(0.0, float(np.median([value(cost) for cost in rounds])))
