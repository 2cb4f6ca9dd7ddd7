"""Drawing without replacement, from the seed alone.

Shapes: M things to draw from.
"""

import numpy as np

from fedray import seeds
from fedray.messages import Array, Ints

_LEAST = 1e-300
"""What a weight counts at least: nothing is drawn last of all, but drawn."""


def draw(weights: Array, num: int, seed: int, round: int, purpose: str = "cohort") -> Ints:
    """Positions that are drawn in proportion to their weights, one after another, in that order, shape (num,).

    Args:
        weights: At least 0, shape (M,).
        num: How many, at most M.
        seed: The experiment's seed.
        round: Round number, from 1.
        purpose: What is drawn.
    """
    clocks = _clocks(weights, seed, round, purpose)
    first = np.argpartition(clocks, num - 1)[:num] if num else np.zeros(0, np.int64)
    return first[np.argsort(clocks[first], kind="stable")].astype(np.int64)


def in_weighted_order(weights: Array, seed: int, round: int) -> Ints:
    """All positions, in the order in which they would be drawn in proportion to their weights, without replacement."""
    return np.argsort(_clocks(weights, seed, round, "cohort"), kind="stable").astype(np.int64)


def _clocks(weights: Array, seed: int, round: int, purpose: str) -> Array:
    """Efraimidis and Spirakis 2006, https://doi.org/10.1016/j.ipl.2005.11.003: the smallest exponential clocks win."""
    return seeds.generator(seed, purpose, round).exponential(size=len(weights)) / np.maximum(weights, _LEAST)


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
