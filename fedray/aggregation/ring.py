"""Sums in integers: updates as fixed-point numbers in the ring of integers modulo 2^64.

Integer addition is associative, so updates merge in any order, on any tree, after any retry, to the same bits. An
update is bounded so that a whole cohort of them cannot wrap; one that does not fit is refused, never wrapped silently.

Shapes: P parameters, C clients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedray.messages import Array, Ints, Partial
from fedray.models.tensors import as_tensor

_PIECE = 1 << 18
"""Numbers that are encoded at once: two megabytes of float64."""
_PIECE_ON_GPU = 1 << 24
"""The same where updates are on a GPU, which is filled by large pieces."""
_SMALL = 2.0**51
_SHIFT = 1.5 * 2.0**52
"""A float64 of magnitude below 2^51 plus this is rounded to an integer that stands in its low bits."""
_SHIFT_BITS = int(np.float64(_SHIFT).view(np.int64))


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
        fits_C, scale_C, is_small = self._measure(delta_CP, weights_C)
        scaled = delta_CP.double() * scale_C[:, None]
        if not bool(fits_C.all()):
            scaled = torch.where(fits_C[:, None], scaled, 0.0)
        return _rounded(scaled, is_small), fits_C

    def add(self, delta_CP: Tensor, weights_C: Tensor, total_P: Tensor) -> Tensor:
        """Adds weighted deltas to a sum: what `encode` gives, summed over clients, without holding it.

        Works through the parameters in pieces that stay in the processor's cache. Updates on a GPU are summed there, to
        the same bits: each operation on float64 is one of IEEE 754, correctly rounded and not fused with the next, and
        sums of int64 are exact modulo 2^64.

        Args:
            delta_CP: What local training changed, float32, shape (C, P).
            weights_C: Weight of each client, shape (C,).
            total_P: The sum, int64, shape (P,), on the processor; changed in place.

        Returns:
            Which updates fit and were added, bool, shape (C,), on the processor.
        """
        device = delta_CP.device
        fits_C, scale_C, is_small = self._measure(delta_CP, weights_C)
        if not bool(fits_C.all()):
            delta_CP, scale_C = delta_CP[fits_C], scale_C[fits_C]
        piece_size = _PIECE if device.type == "cpu" else _PIECE_ON_GPU
        width = min(max(1, piece_size // max(1, len(delta_CP))), len(total_P))
        buffer = torch.empty(len(delta_CP), width, dtype=torch.float64, device=device)  # one: it stays in the cache
        for start in range(0, len(total_P), width):
            piece = delta_CP[:, start : start + width]
            scaled = buffer[:, : piece.shape[1]].copy_(piece).mul_(scale_C[:, None])
            total_P[start : start + width] += _sum_rounded(scaled, is_small).cpu()
        return fits_C.cpu()

    def _measure(self, delta_CP: Tensor, weights_C: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Which updates fit, what each is multiplied by, and whether those that fit are all small; NaN never fits."""
        scale_C = weights_C.to(delta_CP.device).double() * 2.0**self.fraction_bits
        largest_C = torch.maximum(-delta_CP.amin(dim=1), delta_CP.amax(dim=1)).double() * scale_C
        fits_C = largest_C <= self.bound
        return fits_C, scale_C, bool((largest_C[fits_C] < _SMALL).all())

    def decode(self, total_P: Ints) -> Array:
        """A sum of encoded updates as float64, shape (P,)."""
        return total_P * 2.0**-self.fraction_bits

    def mean(self, partial: Partial) -> Array:
        """The weighted mean of all updates in `partial`, float64, shape (P,): formed once, at the root."""
        total = as_tensor(partial.total).double()
        return total.mul_(1.0 / (partial.weight * 2.0**self.fraction_bits)).numpy()

    def largest(self, weight: int) -> float:
        """The largest change of one parameter that an update of this weight can carry."""
        return self.bound / 2.0**self.fraction_bits / weight


def _rounded(scaled: Tensor, is_small: bool) -> Tensor:
    """Float64 to the nearest int64, ties to even; overwrites its argument."""
    if is_small:  # five times faster than a conversion, to the same bits
        return scaled.add_(_SHIFT).view(torch.int64).sub_(_SHIFT_BITS)
    return scaled.round_().to(torch.int64)


def _sum_rounded(scaled_CP: Tensor, is_small: bool) -> Tensor:
    """The sum over clients of what `_rounded` gives, (P,); overwrites its argument."""
    if len(scaled_CP) == 1:
        return _rounded(scaled_CP, is_small)[0]
    if not is_small:
        return _rounded(scaled_CP, is_small).sum(dim=0)
    shifts = len(scaled_CP) * _SHIFT_BITS  # taken off once, modulo 2^64, instead of from each
    total_P = scaled_CP.add_(_SHIFT).view(torch.int64).sum(dim=0)
    return total_P.sub_((shifts + 2**63) % 2**64 - 2**63)


class RunningSum:
    """A sum of updates that grows in place; `partial()` is what leaves the process.

    Args:
        num_parameters: P.
        into: Which of the round's sums it is a part of.
    """

    def __init__(self, num_parameters: int, into: int = 0) -> None:
        self._num_parameters, self._into = num_parameters, into
        self._total: Ints | None = None
        self._is_mine = False
        self._weight, self._num_updates = 0, 0
        self._blocks: tuple[int, ...] = ()

    def add(self, ring: Ring, delta_CP: Tensor, weights_C: Ints) -> NDArray[np.bool_]:
        """Adds weighted deltas, shapes (C, P) and (C,); gives which of them fit, shape (C,): others are left out."""
        fits_C = ring.add(delta_CP, torch.from_numpy(weights_C), torch.from_numpy(self._own())).numpy()
        self._weight += int(weights_C[fits_C].sum())
        self._num_updates += int(fits_C.sum())
        return fits_C

    def name(self, *blocks: int) -> None:
        """Says that these blocks are in the sum.

        Raises:
            ValueError: One is in it already, and would be counted twice.
        """
        twice = set(self._blocks) & set(blocks)
        if twice:
            raise ValueError(f"block {min(twice)} is already in the sum; it would be counted twice")
        self._blocks = tuple(sorted((*self._blocks, *blocks)))

    def include(self, partial: Partial) -> None:
        """Adds another sum, which is not changed.

        Raises:
            ValueError: It holds a block that is already in this sum, which would count it twice.
        """
        self.name(*partial.blocks)
        if self._total is None:
            self._total = partial.total
        elif self._is_mine:
            np.add(self._total, partial.total, out=self._total)
        else:
            self._total, self._is_mine = self._total + partial.total, True
        self._weight += partial.weight
        self._num_updates += partial.num_updates

    def partial(self) -> Partial:
        """The sum so far, without a copy: add nothing afterwards."""
        total = np.zeros(self._num_parameters, np.int64) if self._total is None else self._total
        return Partial(
            total=total, weight=self._weight, num_updates=self._num_updates, blocks=self._blocks, into=self._into
        )

    def _own(self) -> Ints:
        """The sum as an array that nobody else has."""
        if self._total is None:
            self._total = np.zeros(self._num_parameters, np.int64)
        elif not self._is_mine:
            self._total = self._total.copy()
        self._is_mine = True
        return self._total


class RunningSums:
    """The sums of a round, of which most have one: a block says which of them its updates go into.

    Args:
        num_parameters: P.
    """

    def __init__(self, num_parameters: int) -> None:
        self._num_parameters = num_parameters
        self._sums: dict[int, RunningSum] = {}

    def into(self, place: int) -> RunningSum:
        """One of them."""
        if place not in self._sums:
            self._sums[place] = RunningSum(self._num_parameters, place)
        return self._sums[place]

    def include(self, partials: Sequence[Partial]) -> None:
        """Adds other sums, each to its own.

        Raises:
            ValueError: One holds a block that is already there.
        """
        for partial in partials:
            self.into(partial.into).include(partial)

    def partials(self) -> tuple[Partial, ...]:
        """The sums so far, in order, without a copy: add nothing afterwards."""
        return tuple(total.partial() for _, total in sorted(self._sums.items()))


def merge(*parts: Sequence[Partial]) -> tuple[Partial, ...]:
    """The sums of several parts of a round; the order does not matter."""
    sums: RunningSums | None = None
    for partials in filter(None, parts):
        sums = sums or RunningSums(len(partials[0].total))
        sums.include(partials)
    return sums.partials() if sums else ()
