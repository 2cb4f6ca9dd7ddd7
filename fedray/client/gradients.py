"""Gradients of many clients at once: by hand for chains of dense layers, by `torch.func` for other modules.

Shapes: C clients, B examples in a batch, K outputs; weights and gradients are one tensor a slot of the layout, each
with the clients in front: (C, *shape).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fedray.models.base import Layout
from fedray.models.scaled import Scaled
from fedray.models.tasks import Task


class Gradients(Protocol):
    """Mean loss and gradients of each client of a stack."""

    def __call__(
        self, weights: Sequence[Tensor], x: Tensor, y: Tensor, filled: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        """Gradients of each client's mean loss.

        Args:
            weights: One tensor a trainable slot, (C, *shape).
            x: Features, (C, B, *features).
            y: Targets, (C, B).
            filled: 1 where a place holds an example, (C, B); None: everywhere.

        Returns:
            Gradients like `weights`, and the mean loss, (C,).
        """
        ...


def shares(task: Task, outputs: Tensor, y: Tensor, filled: Tensor | None) -> Tensor:
    """What each example's loss counts in the mean of its client: outputs (C, B, K), y (C, B); gives (C, B)."""
    weights = task.weights(outputs.flatten(0, 1), y.flatten()).view(y.shape)
    present = torch.ones_like(weights) if filled is None else filled
    return present / (weights * present).sum(dim=1, keepdim=True)


_SLOPES: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    nn.ReLU: (torch.relu, lambda after: after > 0),
    nn.Tanh: (torch.tanh, lambda after: 1 - after * after),
}
"""Activation to function and derivative, the derivative from what the function gave."""


def dense_chain(module: nn.Module) -> list[nn.Module] | None:
    """The layers of a chain of dense layers and activations, or None where the module is something else."""
    inner = module.module if isinstance(module, Scaled) else module
    if not isinstance(inner, nn.Sequential):
        return None
    layers = [layer for layer in inner if not isinstance(layer, nn.Flatten)]
    known = all(isinstance(layer, nn.Linear) or type(layer) in _SLOPES for layer in layers)
    bare = not any(isinstance(layer, nn.Flatten) for layer in list(inner)[1:])
    trains = all(parameter.requires_grad for parameter in module.parameters())
    return layers if known and bare and trains else None


class DenseGradients:
    """A chain of dense layers as batched matrix products, with the backward pass written by hand.

    Args:
        module: A module for which `dense_chain` gives layers.
        task: Loss of the task.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        layers = dense_chain(module)
        assert layers is not None  # the engine asked before
        self._task = task
        self._scale = module.scale if isinstance(module, Scaled) else 1.0
        self._layers = [(type(layer), len(list(layer.parameters())) == 2) for layer in layers]

    @torch.no_grad()
    def __call__(
        self, weights: Sequence[Tensor], x: Tensor, y: Tensor, filled: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        seen = self._forward(weights, x.flatten(2))
        outputs = seen[-1] * self._scale if self._scale != 1 else seen[-1]
        losses, slope = self._task.output_gradient(outputs.flatten(0, 1), y.flatten())
        share = shares(self._task, outputs, y, filled)
        flow = slope.view(outputs.shape) * (share * self._scale)[..., None]
        return self._backward(weights, seen, flow), (losses.view(y.shape) * share).sum(dim=1)

    def _forward(self, weights: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """The input, and what each layer gave."""
        seen, slot = [x], 0
        for kind, has_bias in self._layers:
            if kind is not nn.Linear:
                seen.append(_SLOPES[kind][0](seen[-1]))
                continue
            matrix = weights[slot].transpose(1, 2)
            bias = weights[slot + 1][:, None] if has_bias else None
            seen.append(torch.bmm(seen[-1], matrix) if bias is None else torch.baddbmm(bias, seen[-1], matrix))
            slot += 2 if has_bias else 1
        return seen

    def _backward(self, weights: Sequence[Tensor], seen: list[Tensor], flow: Tensor) -> list[Tensor]:
        """Gradients of all slots, from the gradient of the outputs."""
        found: list[Tensor] = []
        slot = len(weights)
        for position in range(len(self._layers) - 1, -1, -1):
            kind, has_bias = self._layers[position]
            if kind is not nn.Linear:
                flow = flow * _SLOPES[kind][1](seen[position + 1])
                continue
            slot -= 2 if has_bias else 1
            if has_bias:
                found.append(flow.sum(dim=1))
            found.append(torch.bmm(flow.transpose(1, 2), seen[position]))
            if slot:
                flow = torch.bmm(flow, weights[slot])
        return found[::-1]


class MappedGradients:
    """Any suitable module, by `torch.func`: one client's gradient, mapped over the stack.

    Args:
        module: The model; it has no buffers.
        task: Loss of the task.
    """

    def __init__(self, module: nn.Module, task: Task) -> None:
        self._module, self._task = module, task
        self._names = [slot.name for slot in Layout(module).slots]
        self._mapped = vmap(grad_and_value(self._loss))

    def __call__(
        self, weights: Sequence[Tensor], x: Tensor, y: Tensor, filled: Tensor | None
    ) -> tuple[list[Tensor], Tensor]:
        present = torch.ones(y.shape) if filled is None else filled
        gradients, losses = self._mapped(tuple(weights), x, y, present)
        return list(gradients), losses.detach()

    def _loss(self, weights: tuple[Tensor, ...], x: Tensor, y: Tensor, present: Tensor) -> Tensor:
        """Mean loss of one client: x (B, *features), y (B,), present (B,)."""
        outputs = functional_call(self._module, dict(zip(self._names, weights, strict=True)), (x,))
        counted = (self._task.weights(outputs, y) * present).sum()
        return (self._task.losses(outputs, y) * present).sum() / counted
