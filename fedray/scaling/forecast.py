"""What the model says of clusters and cohorts that were not measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedray import seeds
from fedray.scaling.bootstrap import interval
from fedray.scaling.cost import Cost, Load
from fedray.scaling.grid import Setup
from fedray.scaling.model import CostModel, Parts
from fedray.scaling.request import Target

LARGER = 16
"""How many times the largest measured cluster is predicted where nobody asks for another."""
_MOST_ACTORS = 1_000_000

BlocksOf = Callable[[int], int]
"""The number of blocks of a cohort of so many clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A prediction.

    Attributes:
        load: What is predicted.
        parts: The time of a round by component.
        low_s: 5 % of what the round may take, given the noise of the measurements and the model's errors.
        high_s: 95 % of it.
        efficiency: Against one actor by the same model.
    """

    load: Load
    parts: Parts
    low_s: float
    high_s: float
    efficiency: float


def targets(setups: Sequence[Setup]) -> list[Target]:
    """By default: the largest cohort, and one as many times larger, on a cluster larger than the largest measured."""
    actors, clients = max(setup.actors for setup in setups), max(setup.clients for setup in setups)
    many = LARGER * actors
    return [Target(actors=many, clients=clients), Target(actors=many, clients=LARGER * clients)]


def load_of(target: Target, costs: Mapping[Setup, Cost], blocks_of: BlocksOf) -> Load:
    """The load of a target: machines whose cores all train, if there is more than one actor."""
    largest = costs[max(costs)].load
    crowding = max(cost.load.crowding for cost in costs.values())
    return Load(
        clients=target.clients,
        examples=target.clients * largest.examples / largest.clients,
        blocks=blocks_of(target.clients),
        actors=target.actors,
        slots=target.actors,
        crowding=crowding if target.actors > 1 else 0.0,
    )


def forecast(
    target: Target,
    costs: Mapping[Setup, Cost],
    blocks_of: BlocksOf,
    model: CostModel,
    drawn: Sequence[CostModel],
    ratios: Sequence[float],
    seed: int,
) -> Forecast:
    """Predicts a round.

    Args:
        target: What to predict.
        costs: What was measured.
        blocks_of: Cuts a cohort.
        model: The fit.
        drawn: Fits to measurements drawn again.
        ratios: Measured over predicted times, of setups that the model had not seen where there are such.
        seed: Decides how errors are put on the fits.
    """
    load = load_of(target, costs, blocks_of)
    parts = model.predict(load)
    one = load_of(Target(actors=1, clients=target.clients), costs, blocks_of)
    key = int(seeds.keys(seed, "scaling forecast", 0, [target.actors * 1_000_003 + target.clients])[0])
    chosen = np.random.default_rng(key).choice(np.array(ratios), size=len(drawn))
    low_s, high_s = interval([m.predict(load).round_s * r for m, r in zip(drawn, chosen, strict=True)])
    return Forecast(
        load=load,
        parts=parts,
        low_s=min(low_s, parts.round_s),
        high_s=max(high_s, parts.round_s),
        efficiency=model.predict(one).round_s / (target.actors * parts.round_s),
    )


def crossover(model: CostModel, load: Load) -> int | None:
    """From how many actors on the training takes less of a round than all else; None: it never does.

    Args:
        model: The fit.
        load: The cohort.
    """

    def is_over(actors: int) -> bool:
        parts = model.predict(replace(load, actors=actors, slots=actors))
        return parts.train_s <= parts.transfer_s + parts.driver_s

    if not is_over(_MOST_ACTORS):
        return None
    low, high = 0, _MOST_ACTORS  # training only gets shorter with more actors, and all else only longer
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_over(middle) else (middle, high)
    return high
