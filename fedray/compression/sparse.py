"""Choosing k of P coordinates: the k largest of P integers, ties by position.

Shapes: C clients, P parameters.
"""

from abc import ABC
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fedray.compression.codec import Codec


class Sparse(Codec, ABC):
    """A codec that sends k float32 values, and zeros for the rest."""

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Part of the coordinates that is sent: k of P, at least one."""

    def num_sent(self, num_parameters: int) -> int:
        """How many coordinates are sent: k."""
        return max(1, round(self.fraction * num_parameters))


def largest(ranks_CP: Tensor, k: int) -> Tensor:
    """Marks the k largest integers of each row; of equal ones those that come first.

    Args:
        ranks_CP: Int32, shape (C, P).
        k: From 1 to P.

    Returns:
        Bool, shape (C, P), exactly k of each row.
    """
    least_C1 = _kth_largest(ranks_CP, k)
    chosen_CP = ranks_CP >= least_C1
    excess_C = chosen_CP.sum(dim=1) - k
    for row in excess_C.nonzero()[:, 0].tolist():
        ties = (ranks_CP[row] == least_C1[row]).nonzero()[:, 0]
        chosen_CP[row, ties[-int(excess_C[row]) :]] = False
    return chosen_CP


def _kth_largest(ranks_CP: Tensor, k: int) -> Tensor:
    """The k-th largest integer of each row, shape (C, 1); on the processor NumPy is 3 to 30 times faster than torch."""
    if ranks_CP.device.type != "cpu":
        return ranks_CP.topk(k, dim=1).values[:, -1:]
    place = ranks_CP.shape[1] - k
    return torch.from_numpy(np.partition(ranks_CP.numpy(), place, axis=1)[:, place : place + 1])
