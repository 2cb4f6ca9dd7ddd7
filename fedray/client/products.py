"""Batched products of many clients whose bits do not depend on how many clients there are.

MKL treats the last rows and columns of a product differently when the memory of a matrix does not begin at a multiple
of 16 bytes, as that of every second client may, and a single product with a vector differently from several. On a
grid of sizes up to 700, with one thread, both were seen only where inputs are not a multiple of 4 wide, or where there
is one output; with more threads a single product may differ, too. So
products are padded with zeros, which change no sum.

Shapes: C clients, R rows, I inputs, O outputs.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedray.client.stacked import over_clients


def wide(size: int) -> int:
    """The width to which inputs are padded: a multiple of 4."""
    return -(-size // 4) * 4


def padded(x: Tensor, size: int) -> Tensor:
    """Zeros after the last dimension, up to a size."""
    return x if x.shape[-1] == size else functional.pad(x, (0, size - x.shape[-1]))


def cut(x: Tensor, size: int) -> Tensor:
    """The first ones of the last dimension, without what `padded` put there."""
    return x if x.shape[-1] == size else x[..., :size]


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A dense layer.

    Args:
        x: Inputs, (C, R, I).
        weight: Weights, (C, O, I).
        bias: Biases, (C, O).

    Returns:
        Outputs, (C, R, O).
    """
    num_outputs, width = weight.shape[1], wide(weight.shape[2])
    x, weight = padded(x, width), padded(weight, width)
    if num_outputs == 1:
        weight, bias = functional.pad(weight, (0, 0, 0, 1)), functional.pad(bias, (0, 1))
    outputs: Tensor = _Dense.apply(x, weight, bias)  # pyright: ignore[reportAssignmentType]
    return cut(outputs, num_outputs)


class _Dense(torch.autograd.Function):
    """Torch's own backward pass multiplies transposed matrices, whose memory is not the one that was padded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        flow = grads[0].contiguous()
        to_x = torch.bmm(flow, weight) if ctx.needs_input_grad[0] else None
        return to_x, torch.bmm(flow.transpose(1, 2), x), flow.sum(dim=1)


class StackedLinear(nn.Module):
    """Takes the place of a dense layer, with its parameters.

    Args:
        source: The layer.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(source, name))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., I) to (..., O)."""
        bias = self.weight.new_zeros(self.weight.shape[0]) if self.bias is None else self.bias
        return over_clients(_linear, x, self.weight, bias)[0]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
    outputs = dense(x.reshape(len(x), -1, x.shape[-1]), weight, bias)
    return (outputs.reshape(*x.shape[:-1], -1),)
