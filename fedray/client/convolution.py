"""Convolutions of many clients at once: windows laid out as rows of a matrix (im2col), then batched products.

`torch.func` maps a convolution to a grouped one, which is slow on a processor, and whose bits depend on how many
clients there are.

Shapes: C clients, B batch, I and O channels in and out, D dimensions of space, X and Y size of the inputs and outputs
in space, K size of the kernel.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fedray.client.products import dense, padded, wide
from fedray.client.stacked import over_clients

Sizes = tuple[int, ...]


class StackedConv(nn.Module):
    """Takes the place of a convolution, with its parameters.

    Args:
        source: A convolution without groups, padded with zeros.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, source: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            self.register_parameter(name, getattr(source, name))
        self._stride, self._dilation = tuple(source.stride), tuple(source.dilation)
        self._padding = _padding(source)

    @staticmethod
    def obstacle(layer: nn.Module) -> str | None:
        """Why a convolution cannot be stacked, or None."""
        if not isinstance(layer, nn.Conv1d | nn.Conv2d):
            return f"{type(layer).__name__} layers cannot be stacked"
        if layer.groups != 1 or layer.padding_mode != "zeros":
            return f"{type(layer).__name__} layers with groups, or padded with other than zeros, cannot be stacked"
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, I, *X) to (B, O, *Y)."""
        bias = self.weight.new_zeros(self.weight.shape[0]) if self.bias is None else self.bias
        return over_clients(self._run, x, self.weight, bias)[0]

    def _run(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor]:
        geometry = Geometry(tuple(weight.shape[3:]), self._stride, self._padding, self._dilation)
        columns: Tensor = _Columns.apply(x, geometry)  # pyright: ignore[reportAssignmentType]
        matrix = padded(weight.movedim(2, -1), columns.shape[-1]).flatten(2)
        sizes = columns.shape[2 : 2 + len(geometry.kernel)]
        outputs = dense(columns.reshape(len(x), -1, matrix.shape[-1]), matrix, bias)
        return (
            outputs.view(*x.shape[:2], *sizes, -1).movedim(-1, 2).contiguous(),
        )  # sums over other layouts depend on C


def _padding(source: nn.Conv1d | nn.Conv2d) -> tuple[tuple[int, int], ...]:
    """Zeros before and after, in each dimension of space."""
    if source.padding == "same":
        extra = [d * (k - 1) for d, k in zip(source.dilation, source.kernel_size, strict=True)]
        return tuple((e // 2, e - e // 2) for e in extra)
    if isinstance(source.padding, str):
        return ((0, 0),) * len(source.kernel_size)
    return tuple((p, p) for p in source.padding)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Of a convolution: in each dimension of space its kernel, stride, zeros around and dilation."""

    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes

    def sizes(self, space: Sizes) -> Sizes:
        """Y, from the size of the padded inputs."""
        each = zip(space, self.kernel, self.stride, self.dilation, strict=True)
        return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in each)

    def around(self, x: Tensor) -> Tensor:
        """(C, B, I, *X) as (C, B, *X, I), with zeros around, and channels padded as products want them."""
        space = [size + sum(zeros) for size, zeros in zip(x.shape[3:], self.padding, strict=True)]
        channels = wide(x.shape[2]) if x.shape[2] > 4 else x.shape[2]  # few: cheaper to pad all of a window's at once
        whole = x.new_zeros(*x.shape[:2], *space, channels)
        self.within(whole, x.shape).copy_(x.movedim(2, -1))
        return whole

    def within(self, whole: Tensor, shape: Sizes) -> Tensor:
        """The part of what `around` gives that is not padding, (C, B, *X, I)."""
        for dim, ((before, _), size) in enumerate(zip(self.padding, shape[3:], strict=True)):
            whole = whole.narrow(2 + dim, before, size)
        return whole[..., : shape[2]]

    def windows(self, whole: Tensor) -> Tensor:
        """A view of every window, (C, B, *Y, *K, I)."""
        strides, sizes = whole.stride(), self.sizes(tuple(whole.shape[2:-1]))
        moves = [strides[2 + dim] * step for dim, step in enumerate(self.stride)]
        steps = [strides[2 + dim] * step for dim, step in enumerate(self.dilation)]
        shape = (*whole.shape[:2], *sizes, *self.kernel, whole.shape[-1])
        return whole.as_strided(shape, (*strides[:2], *moves, *steps, strides[-1]))

    def folded(self, columns: Tensor, shape: Sizes) -> Tensor:
        """Sums windows where they overlap: one addition for each element of the kernel."""
        total, dims = columns.new_zeros(shape), len(self.kernel)
        sizes = columns.shape[2 : 2 + dims]
        for place in itertools.product(*(range(k) for k in self.kernel)):
            spans = zip(place, sizes, self.stride, self.dilation, strict=True)
            target = tuple(slice(at * d, at * d + s * (n - 1) + 1, s) for at, n, s, d in spans)
            total[(slice(None), slice(None), *target)] += columns[(slice(None),) * (2 + dims) + place]
        return total


class _Columns(torch.autograd.Function):
    """(C, B, I, *X) as windows, (C, B, *Y, *K, I), with I padded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry) -> Tensor:
        whole = geometry.around(x)
        ctx.geometry, ctx.shapes = geometry, (x.shape, whole.shape)
        return geometry.windows(whole).contiguous()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        shape, whole_shape = ctx.shapes
        total = ctx.geometry.folded(grads[0], whole_shape)
        return ctx.geometry.within(total, shape).movedim(-1, 2), None
