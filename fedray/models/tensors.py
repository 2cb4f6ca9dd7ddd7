"""Tensors over arrays of others."""

import warnings

import torch
from torch import Tensor

from fedray.messages import Array, Floats


def as_tensor(values: Floats | Array) -> Tensor:
    """A tensor over the same memory, also where that memory is read-only (Ray's object store); never write to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(values)
