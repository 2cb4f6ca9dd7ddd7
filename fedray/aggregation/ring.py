"""Sums in integers: updates as fixed-point numbers in the ring of integers modulo 2^64.

Integer addition is associative, so updates merge in any order, on any tree, after any retry, to the same bits. An
update is bounded so that a whole cohort of them cannot wrap; one that does not fit is refused, never wrapped silently.

Shapes: P parameters, C clients.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedray.messages import Array, Ints, Partial


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """How weighted deltas become integers.

    Attributes:
        fraction_bits: Bits behind the point: the resolution of a weighted delta is 2^-fraction_bits.
        cohort: The largest number of updates that are ever summed.
    """

    fraction_bits: int
    cohort: int

    @property
    def bound(self) -> int:
        """The largest magnitude one encoded update may have; `cohort` of them stay below 2^62."""
        return 2**62 // self.cohort

    def encode(self, delta_CP: Tensor, weights_C: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted deltas as integers.

        Args:
            delta_CP: What local training changed, float32, shape (C, P).
            weights_C: Weight of each client, shape (C,).

        Returns:
            The encoded updates, int64, shape (C, P), and which of them fit, bool, shape (C,); rows that do not fit
            (not finite or too large) hold zeros.
        """
        scaled = delta_CP.double() * (weights_C.double() * 2.0**self.fraction_bits)[:, None]
        scaled.round_()
        fits_C = torch.linalg.vector_norm(scaled, ord=float("inf"), dim=1) <= self.bound
        if not bool(fits_C.all()):
            scaled = torch.where(fits_C[:, None], scaled, 0.0)
        return scaled.to(torch.int64), fits_C

    def decode(self, total_P: Ints) -> Array:
        """A sum of encoded updates as float64, shape (P,)."""
        return total_P.astype(np.float64) * 2.0**-self.fraction_bits

    def mean(self, partial: Partial) -> Array:
        """The weighted mean of all updates in `partial`, float64, shape (P,): formed once, at the root."""
        return self.decode(partial.total) / partial.weight

    def largest(self, weight: int) -> float:
        """The largest change of one parameter that an update of this weight can carry."""
        return self.bound / 2.0**self.fraction_bits / weight


class RunningSum:
    """A sum of updates that grows in place; `partial()` is what leaves the process.

    Args:
        num_parameters: P.
    """

    def __init__(self, num_parameters: int) -> None:
        self._total: Ints = np.zeros(num_parameters, np.int64)
        self._weight, self._num_updates = 0, 0
        self._blocks: tuple[int, ...] = ()

    def add(self, update_P: Ints, weight: int, num_updates: int = 1) -> None:
        """Adds an encoded update, or the sum of some."""
        np.add(self._total, update_P, out=self._total)
        self._weight += weight
        self._num_updates += num_updates

    def include(self, partial: Partial) -> None:
        """Adds another sum.

        Raises:
            ValueError: It holds a block that is already in this sum, which would count it twice.
        """
        twice = set(self._blocks) & set(partial.blocks)
        if twice:
            raise ValueError(f"block {min(twice)} is already in the sum; it would be counted twice")
        np.add(self._total, partial.total, out=self._total)
        self._weight += partial.weight
        self._num_updates += partial.num_updates
        self._blocks = tuple(sorted((*self._blocks, *partial.blocks)))

    def partial(self, *blocks: int) -> Partial:
        """The sum so far, without a copy: add nothing afterwards. `blocks` are named as being in it."""
        names = tuple(sorted((*self._blocks, *blocks)))
        return Partial(total=self._total, weight=self._weight, num_updates=self._num_updates, blocks=names)


def merge(*partials: Partial) -> Partial:
    """The sum of partials; the order does not matter."""
    total = RunningSum(len(partials[0].total))
    for partial in partials:
        total.include(partial)
    return total.partial()
