"""Calling, inside a mapped function, what is written for stacked tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


def over_clients(function: Callable[..., Outputs], *tensors: Tensor) -> Outputs:
    """Calls a function of stacked tensors, clients in front, where `torch.func.vmap` shows those of one client.

    Args:
        function: Takes and gives tensors with clients in front.
        tensors: Its arguments, as one client sees them.
    """
    return _Stacked.apply(function, *tensors)  # pyright: ignore[reportReturnType]


class _Stacked(torch.autograd.Function):
    """Without a map there is one client, and no gradient: that only ever happens when shapes are tried out."""

    @staticmethod
    def forward(function: Callable[..., Outputs], *tensors: Tensor) -> Outputs:
        return tuple(output[0] for output in function(*(tensor[None] for tensor in tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Outputs, Any]:
        function, *tensors = args
        moved = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        )
        outputs = function(*moved)
        return outputs, (0,) * len(outputs)
