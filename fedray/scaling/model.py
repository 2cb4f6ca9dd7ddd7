"""The cost model of a round, and its fit.

A round is training, then transfer, then the driver's own work:

    busy     = train_block * blocks + train_example * examples + crowding * examples * crowded
    train    = longest path of the blocks over the slots + train_fixed + turn * ceil(blocks / slots)
    transfer = transfer_fixed + transfer_actor * actors
    driver   = driver_fixed + driver_client * clients

Blocks have about the same work, so the longest path is ceil(blocks / slots) mean blocks, where it is between the bounds
of any list schedule (Graham 1969, https://doi.org/10.1137/0117039): at least the mean of the slots and the longest
block, at most the mean and one longest block but for its part on the slot itself.

All bytes of a study are parameters of one model, so that they grow with actors and blocks in fixed steps: nothing
could tell a price of bytes from that of an actor or a block. `transfer_actor` and `turn` hold it.

Each component is fitted by non-negative least squares on relative errors. Blocks and examples grow nearly alike, so
that noise could be taken for a price of blocks and spoil every extrapolation: `train_block` and `crowding` are used
only where they explain more than the noise of the measurements, by Akaike's criterion (1974,
https://doi.org/10.1109/TAC.1974.1100705), and never so that blocks are most of the training of a setup.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fedray.scaling.cost import Cost, Load

COEFFICIENTS = {
    "train_block": "training: a block",
    "train_example": "training: an example",
    "crowding": "training: an example, extra on full cores",
    "train_fixed": "training: start and end",
    "turn": "training: handing a slot its next block",
    "transfer_fixed": "parameters and sums: a round",
    "transfer_actor": "parameters and sums: an actor",
    "driver_fixed": "driver: a round",
    "driver_client": "driver: a client",
}
"""What each coefficient is, in seconds."""
_LEAST_NOISE = 0.02
"""Measurements are never taken for better than this: relative standard error of a training time."""
_MOST_BLOCKS = 0.5
"""Largest part of a setup's training that is taken for a price of its blocks and not of their examples."""
_LEAST_PART = 0.01
"""A component smaller than this part of a round need not be fitted closer than that part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A round by component, in seconds."""

    train_s: float
    transfer_s: float
    driver_s: float

    @property
    def round_s(self) -> float:
        """The whole round."""
        return self.train_s + self.transfer_s + self.driver_s


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """A fitted model.

    Attributes:
        seconds: The coefficients, by the names of `COEFFICIENTS`.
        longest: How many times the mean block the longest one takes.
    """

    seconds: dict[str, float]
    longest: float

    def predict(self, load: Load) -> Parts:
        """The time of a round."""
        s = self.seconds
        busy_s = (
            s["train_block"] * load.blocks
            + s["train_example"] * load.examples
            + s["crowding"] * load.examples * load.crowding
        )
        path_s = longest_path(busy_s, load, self.longest * busy_s / load.blocks)
        return Parts(
            train_s=path_s + s["train_fixed"] + s["turn"] * load.turns,
            transfer_s=s["transfer_fixed"] + s["transfer_actor"] * load.actors,
            driver_s=s["driver_fixed"] + s["driver_client"] * load.clients,
        )


def longest_path(busy_s: float, load: Load, longest_s: float) -> float:
    """How long the slots train, from the work of all blocks.

    Args:
        busy_s: The work of all blocks together.
        load: Blocks and slots.
        longest_s: The work of the longest block.
    """
    slots = min(load.slots, load.blocks)
    mean_s = busy_s / slots
    most_s = mean_s + longest_s * (1 - 1 / slots)
    return float(np.clip(load.turns * busy_s / load.blocks, min(max(mean_s, longest_s), most_s), most_s))


def fit(costs: Sequence[Cost]) -> CostModel:
    """Fits the model.

    Args:
        costs: One for each setup, at least one; what they cannot tell apart goes to one of the coefficients.
    """
    loads = [cost.load for cost in costs]
    ratio = _longest(costs)
    paths_s = [longest_path(cost.busy_s, cost.load, ratio * cost.busy_s / cost.load.blocks) for cost in costs]
    busy = {
        "train_block": [load.blocks for load in loads],
        "train_example": [load.examples for load in loads],
        "crowding": [load.examples * load.crowding for load in loads],
    }
    waits_s = [cost.train_s - path_s for cost, path_s in zip(costs, paths_s, strict=True)]
    rounds_s = [cost.round_s for cost in costs]
    ones = [1.0] * len(costs)
    seconds = _explained(busy, costs)
    seconds |= _solve({"train_fixed": ones, "turn": [load.turns for load in loads]}, waits_s, rounds_s)
    transfer = {"transfer_fixed": ones, "transfer_actor": [load.actors for load in loads]}
    seconds |= _solve(transfer, [cost.transfer_s for cost in costs], rounds_s)
    driver = {"driver_fixed": ones, "driver_client": [load.clients for load in loads]}
    seconds |= _solve(driver, [cost.driver_s for cost in costs], rounds_s)
    return CostModel(seconds=seconds, longest=ratio)


def _explained(columns: Mapping[str, Sequence[float]], costs: Sequence[Cost]) -> dict[str, float]:
    """Training time from examples, and from blocks and crowding where they explain more than noise."""
    noise = max(_LEAST_NOISE, math.sqrt(float(np.mean([cost.noise**2 for cost in costs]))))
    busy_s = [cost.busy_s for cost in costs]
    best, least = dict.fromkeys(columns, 0.0), math.inf
    for extra in ((), ("crowding",), ("train_block",), ("crowding", "train_block")):
        used = {name: columns[name] for name in ("train_example", *extra)}
        found = _solve(used, busy_s, busy_s)
        fitted = sum(found[name] * np.array(used[name]) for name in used)
        blocks_s = found.get("train_block", 0.0) * np.array(columns["train_block"])
        if np.any(blocks_s > _MOST_BLOCKS * fitted):
            continue
        errors = (fitted / np.maximum(busy_s, 1e-9) - 1) / noise
        criterion = float(errors @ errors) + 2 * len(used)
        if criterion < least:
            best, least = {**dict.fromkeys(columns, 0.0), **found}, criterion
    return best


def _longest(costs: Sequence[Cost]) -> float:
    """How many times the mean block the longest one takes, in the median setup."""
    found = [
        cost.longest_s * cost.load.blocks / cost.busy_s for cost in costs if cost.longest_s is not None and cost.busy_s
    ]
    return max(1.0, float(np.median(found))) if found else 1.0


def _solve(
    columns: Mapping[str, Sequence[float]], values_s: Sequence[float], rounds_s: Sequence[float]
) -> dict[str, float]:
    """Non-negative coefficients that make the relative errors small.

    Columns are scaled to the same length first, so that the solver's tolerance treats them alike.
    """
    matrix = np.array(list(columns.values()), dtype=float).T
    values = np.array(values_s, dtype=float)
    weights = 1 / np.maximum(np.maximum(values, _LEAST_PART * np.array(rounds_s)), 1e-9)
    weighted = matrix * weights[:, None]
    lengths = np.array([math.hypot(*column) or 1.0 for column in weighted.T])
    found, _ = nnls(weighted / lengths, values * weights)
    return dict(zip(columns, (float(value) for value in found / lengths), strict=True))
