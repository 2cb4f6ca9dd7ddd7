"""Uniform quantisation by the largest magnitude of a bucket, rounded to nearest.

Shapes: C clients, B buckets, N coordinates of a bucket.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fedray.compression.buckets import Bucketed
from fedray.seeds import Words


class Int8(Bucketed):
    """Symmetric uniform quantisation: no coordinate is off by more than half a step, scale / (2^bits - 2).

    Zero and the largest magnitude are exact, and nothing is drawn; so the error has no mean of 0.
    """

    name: Literal["int8"] = "int8"
    bits: Annotated[int, Field(ge=2, le=8)] = 8
    """Bits of a coordinate; 8 have 255 values from -127 to 127."""

    @property
    def largest(self) -> int:
        return 2 ** (self.bits - 1) - 1

    def relative_error(self, num_parameters: int) -> float:
        """Half a step in each coordinate; and none is off by more than itself, the largest by nothing."""
        size = self._size(num_parameters)
        return min(size / (2 * self.largest) ** 2, 1 - 1 / size)

    def scales(self, delta_CBN: Tensor) -> Tensor:
        return delta_CBN.abs().amax(dim=2, keepdim=True)

    def round(self, steps_CBN: Tensor, keys_C: Words, first: int) -> Tensor:
        return steps_CBN.round_().add_(0.0)  # -0 becomes 0
