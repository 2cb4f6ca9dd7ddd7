"""Tiers of devices that are about equally fast: synchronous within, asynchronous among each other.

Chai et al. 2021, FedAT, algorithm 1, https://arxiv.org/abs/2010.05958: each tier runs rounds of its own, at its pace;
when one is over the server puts the newest models of all tiers together, and the tier goes on from that. The faster a
tier, the more often it reports; so the model of the slowest weighs as much as the fastest has reported, and so on.

Shapes: N clients of the population, M tiers, P parameters.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from fedray import seeds
from fedray.config import Config
from fedray.messages import Array, Floats, Ints
from fedray.population.devices import Devices
from fedray.server.asynchronous import Schedule
from fedray.server.strategy import EdgeState, ServerState, Strategy, advance
from fedray.server.synchronous import Synchronous, plan_round
from fedray.server.trips import Demand, Timeline, legs


class FedAT(Config):
    """Each tier waits for its own devices only; a step of the server is taken whenever a tier's round is over."""

    name: Literal["fedat"] = "fedat"
    tiers: Annotated[int, Field(ge=1)] = 5
    """Tiers, as large as each other: by how long devices take, the fastest first."""
    rounds: Synchronous = Synchronous()
    """How the rounds of a tier are run; `cohort.size` updates are wanted in each."""

    look_ahead: Annotated[int, Field(ge=1)] = 64
    """Steps that are trained together at most, where all start from models that are there; changes no result."""

    @property
    def lever(self) -> str:
        """The setting to lower where there are too few devices."""
        return "tiers"

    def least(self, wanted: int) -> int:
        """Devices without which nothing can be done."""
        return self.tiers * self.rounds.least(wanted)


def tiers_of(duration_s: Array, able: Ints, num: int) -> list[Ints]:
    """The devices of each tier, sorted, those that take the least time first.

    Args:
        duration_s: How long each device of `able` takes for a round, shape (len(able),).
        able: Devices that can take part.
        num: M.
    """
    order = able[np.lexsort((able, duration_s))]
    return [np.sort(part) for part in np.array_split(order, num)]


class TierQueue(Schedule[tuple[int, Timeline]]):
    """The rounds of all tiers, one after the other as they end.

    All follows from (settings, devices, seed). A step is the tier that takes it, and the round that leads to it.

    Args:
        config: The settings.
        devices: The population's.
        demand: What is asked of them.
        seed: The experiment's seed.
    """

    def __init__(self, config: FedAT, devices: Devices, demand: Demand, seed: int) -> None:
        self._config, self._devices = config, devices
        duration_s = np.sum(legs(devices, demand, demand.able), axis=0)
        self._demands = [
            replace(demand, able=tier, wanted=min(demand.wanted, len(tier)))
            for tier in tiers_of(duration_s, demand.able, config.tiers)
        ]
        self._seeds = [seeds.torch_seed(seed, "tier", 0, tier) for tier in range(config.tiers)]
        self._rewind()

    def _rewind(self) -> None:
        self._steps, self._rounds = list[float](), [0] * self._config.tiers
        self._coming = [self._plan(tier, 0.0) for tier in range(self._config.tiers)]

    def _plan(self, tier: int, now: float) -> Timeline:
        """The next round of a tier."""
        self._rounds[tier] += 1
        round, seed = self._rounds[tier], self._seeds[tier]
        return plan_round(self._config.rounds, self._devices, self._demands[tier], seed, round, now)

    def _next(self) -> tuple[int, Timeline]:
        tier = min(range(len(self._coming)), key=lambda tier: (self._coming[tier].end, tier))
        found = self._coming[tier]
        version = self._version(found)
        self._steps.append(found.end)
        self._coming[tier] = self._plan(tier, found.end + self._config.rounds.pause_s)
        step = len(self._steps)
        later = {self._version(coming) for coming in self._coming}
        versions = tuple(sorted(version for version in later if version < step))
        return tier, replace(found, version=np.full(len(found.clients), version), versions=versions)

    def _version(self, timeline: Timeline) -> int:
        """Steps that were taken before the model was sent, of those that are known."""
        return int(np.searchsorted(np.array(self._steps), timeline.begin, side="right"))


def together(models: Sequence[Floats], reports: Sequence[int]) -> Array:
    """The models of all tiers put together, float64, shape (P,).

    Args:
        models: The newest of each tier, the fastest first.
        reports: How often each has reported, at least once in all; the first weighs as the last has, and so on.
    """
    total = np.zeros(len(models[0]))
    for model, weight in zip(models, reversed(reports), strict=True):
        total += weight * model.astype(np.float64)
    return total / sum(reports)


def begin_tiers(state: ServerState, num: int) -> ServerState:
    """The state before the first step: all tiers have the initial model, and have not reported."""
    return replace(state, below=((EdgeState(parameters=state.parameters),) * num,))


def step_of_tier(
    state: ServerState, strategy: Strategy, tier: int, start: Floats, mean: Array, num_trainable: int
) -> ServerState:
    """The state after a tier's round.

    Args:
        state: Before it.
        strategy: What to do with the change from the server's model to that of all tiers together.
        tier: Which.
        start: What its devices started from, shape (P,).
        mean: The weighted mean of their changes, float64, shape (P,).
        num_trainable: T.
    """
    tiers = list(state.below[0])
    model = (start.astype(np.float64) + mean).astype(np.float32)
    tiers[tier] = EdgeState(parameters=model, weight=tiers[tier].weight + 1)
    wanted = together([each.parameters for each in tiers], [each.weight for each in tiers])
    return replace(advance(strategy, state, wanted - state.parameters, num_trainable), below=(tuple(tiers),))
