"""Stochastic quantisation (QSGD: Alistarh et al. 2017, https://arxiv.org/abs/1610.02132, section 3.1).

Shapes: C clients, B buckets, N coordinates of a bucket.
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedray.compression.buckets import Bucketed
from fedray.compression.lanes import lanes
from fedray.seeds import Words


class Qsgd(Bucketed):
    """Each coordinate goes up or down to a multiple of norm / levels, at random, so that it is right in the mean.

    It is right to 2^-24 of a step, the resolution of the numbers drawn. A code takes ceil(log2(2 * levels + 1)) bits.
    The paper's Elias coding is not used: its length depends on the numbers, and virtual time must know the bytes before
    anybody trains. A bucket whose L2 norm is beyond float32 decodes to NaN.
    """

    name: Literal["qsgd"] = "qsgd"
    levels: Annotated[int, Field(ge=1, le=2**15 - 1)] = 127
    """Steps from 0 to the L2 norm of a bucket, the paper's s: 1 takes 2 bits a coordinate, 7 take 4, 127 take 8."""

    @property
    def largest(self) -> int:
        return self.levels

    def relative_error(self, num_parameters: int) -> float:
        """The paper's lemma 3.1: min(n / s^2, sqrt(n) / s) for buckets of n coordinates."""
        size = self._size(num_parameters)
        return min(size / self.levels**2, size**0.5 / self.levels)

    def scales(self, delta_CBN: Tensor) -> Tensor:
        """L2 norms: squares added by halves, in an order that is a function of the bucket's size alone."""
        squares = delta_CBN.double().square_()
        while (width := squares.shape[2]) > 1:
            half = (width + 1) // 2
            squares[:, :, : width - half] += squares[:, :, half:]
            squares = squares[:, :, :half]
        return squares.sqrt().float()

    def round(self, steps_CBN: Tensor, keys_C: Words, first: int) -> Tensor:
        _, num_buckets, size = steps_CBN.shape
        below_CBN = steps_CBN.floor()
        drawn = lanes(keys_C, slice(first, first + num_buckets * size)) >> np.uint32(8)
        uniforms = torch.from_numpy(drawn.view(np.int32)).to(steps_CBN.device).float().mul_(2.0**-24)
        goes_up_CBN = uniforms.view_as(steps_CBN) < steps_CBN.sub_(below_CBN)
        return below_CBN.add_(goes_up_CBN)
