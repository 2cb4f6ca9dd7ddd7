"""Who is in the cohort of a round: a function of (seed, round) and the population alone.

Shapes: N clients in the population, K in the cohort.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from fedray import seeds
from fedray.config import Config
from fedray.errors import ConfigError
from fedray.messages import Array, Ints


class CohortConfig(Config):
    """How many clients take part in a round, and how they are chosen."""

    size: Annotated[int, Field(ge=1)] | None = None
    """Clients in a round."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Clients in a round as a part of the population, instead of a size; 0.1 where neither is given."""
    sampling: Literal["uniform", "without_replacement", "weighted"] = "uniform"
    """uniform: every round draws anew; without_replacement: one round after the other takes the next of a random order,
    and a new order begins when fewer are left than a round takes (they sit out); weighted: in proportion to the number
    of examples. Within a round nobody is drawn twice."""

    @model_validator(mode="after")
    def _size_or_fraction(self) -> "CohortConfig":
        if self.size is not None and self.fraction is not None:
            raise ValueError(f"size is {self.size} and fraction is {self.fraction}; set only one of them")
        return self

    def resolve(self, num_clients: int) -> int:
        """Clients in a round, for a population of `num_clients`.

        Raises:
            ConfigError: The cohort is larger than the population.
        """
        if self.size is None:
            return max(1, round((0.1 if self.fraction is None else self.fraction) * num_clients))
        if self.size > num_clients:
            raise ConfigError(
                f"cohort.size is {self.size}, but the population has only {num_clients} clients; "
                f"set cohort.size to at most {num_clients}"
            )
        return self.size


def choose(config: CohortConfig, sizes: Ints, seed: int, round: int) -> Ints:
    """The cohort of a round, as sorted client ids, shape (K,).

    Args:
        config: How to choose.
        sizes: Examples of each client, shape (N,).
        seed: The experiment's seed.
        round: Round number, from 1.
    """
    num_clients, size = len(sizes), config.resolve(len(sizes))
    if config.sampling == "without_replacement":
        return np.sort(_cyclic(num_clients, size, seed, round))
    if config.sampling == "weighted":
        return np.sort(_weighted(sizes, size, seed, round))
    draw = seeds.generator(seed, "cohort", round)
    return np.sort(draw.choice(num_clients, size, replace=False, shuffle=False)).astype(np.int64)


def _cyclic(num_clients: int, size: int, seed: int, round: int) -> Ints:
    """Consecutive pieces of a random order of all clients; a new order when it is used up."""
    rounds_per_cycle = num_clients // size
    cycle, place = divmod(round - 1, rounds_per_cycle)
    return permute(np.arange(place * size, (place + 1) * size), num_clients, seed, cycle)


def _weighted(sizes: Ints, size: int, seed: int, round: int) -> Ints:
    return np.argpartition(_clocks(sizes, seed, round), size - 1)[:size].astype(np.int64)


def in_weighted_order(weights: Array, seed: int, round: int) -> Ints:
    """All positions, in the order in which they would be drawn in proportion to their weights, without replacement."""
    return np.argsort(_clocks(weights, seed, round), kind="stable").astype(np.int64)


def _clocks(weights: Array, seed: int, round: int) -> Array:
    """Efraimidis and Spirakis 2006, https://doi.org/10.1016/j.ipl.2005.11.003: the smallest exponential clocks win."""
    return seeds.generator(seed, "cohort", round).exponential(size=len(weights)) / weights


def permute(positions: Ints, num: int, seed: int, cycle: int) -> Ints:
    """Where a random permutation of range(num) sends some positions, without storing the permutation.

    A Feistel network on the next power of four, walked until the result is in range (Black and Rogaway 2002,
    https://doi.org/10.1007/3-540-45760-7_9).
    """
    half = max(1, -(-(num - 1).bit_length() // 2))
    mask = np.uint64(2**half - 1)
    values, outside = positions.astype(np.uint64), np.ones(len(positions), bool)
    while outside.any():
        values[outside] = _feistel(values[outside], np.uint64(half), mask, seed, cycle)
        outside = values >= num
    return values.astype(np.int64)


def _feistel(values: seeds.Words, half: np.uint64, mask: np.uint64, seed: int, cycle: int) -> seeds.Words:
    left, right = values >> half, values & mask
    for step in range(6):
        left, right = right, left ^ (seeds.keys(seed, f"permutation {step}", cycle, right) & mask)
    return left << half | right
